/**
 * The requests this side has made on one connection: sends them, asks credit for large ones, pairs the answers.
 *
 * Every request ends: with its answer, its deadline, the caller's signal or the connection. Requests leave in the order
 * they were made, except that those waiting for credit are overtaken.
 */
import { Bug } from '../core/assert.js';
import type { Clock, Timer } from '../core/environment.js';
import { DfsError, isRefusal } from '../core/errors.js';
import { limits } from '../core/limits.js';
import type { Connection, Frame, FrameType } from '../core/network.js';
import { timing } from '../core/timing.js';
import { object } from './checks.js';
import { type MessageName, messages, type ReplyOf, type RequestOf } from './messages.js';
import { fromRefusalHeader } from './refusal.js';
import type { Answer, RequestOptions } from './session.js';

interface Pending {
  readonly name: MessageName;
  readonly header: object;
  readonly payload: Uint8Array | undefined;
  readonly sums: Uint8Array | undefined;
  readonly timeoutMs: number;
  readonly deadlineMs: number;
  readonly resolve: (answer: Answer<MessageName>) => void;
  readonly reject: (error: DfsError) => void;
  stopListening: (() => void) | undefined;
  state: 'waiting' | 'asking' | 'sent';
}

const replyChecks = Object.fromEntries(
  Object.entries(messages).map(([name, message]) => [name, object(message.reply)]),
) as unknown as { readonly [N in MessageName]: (value: unknown, path: string) => ReplyOf<N> };

export class PendingRequests {
  readonly #clock: Clock;
  readonly #connection: Connection;
  readonly #pending = new Map<number, Pending>();
  /** Made but not begun, because too much is under way. */
  readonly #waiting = new Set<number>();
  #underWay = 0;
  #nextId = 1;
  #timer: Timer | undefined;
  #timerDueMs = Number.POSITIVE_INFINITY;
  #awaitsDrain = false;
  #closedBy: string | undefined;

  constructor(clock: Clock, connection: Connection) {
    this.#clock = clock;
    this.#connection = connection;
  }

  get count(): number {
    return this.#pending.size;
  }

  /** Throws (rejects with) DfsError: see Session.request. */
  request<N extends MessageName>(name: N, header: RequestOf<N>, options: RequestOptions): Promise<Answer<N>> {
    const { payload, sums, signal, timeoutMs = timing.clientTimeoutMs } = options;
    return new Promise<Answer<N>>((resolve, reject) => {
      if (this.#closedBy !== undefined) return reject(this.#lost(name, false));
      if (signal?.aborted) return reject(new DfsError('cancelled', `The caller gave up ${name}`));
      const id = this.#nextId++;
      const deadlineMs = this.#clock.monotonicMs() + timeoutMs;
      this.#pending.set(id, {
        name,
        header,
        payload,
        sums,
        timeoutMs,
        deadlineMs,
        resolve: resolve as (answer: Answer<MessageName>) => void,
        reject,
        stopListening: signal && this.#listen(id, signal),
        state: 'waiting',
      });
      this.#watch(deadlineMs);
      this.#waiting.add(id);
      this.#startWaiting();
    });
  }

  /** Whether a request of this id was ever made: anything else must not be answered. */
  wasMade(id: number): boolean {
    return id > 0 && id < this.#nextId;
  }

  /** Takes a reply or refusal; returns the reason to close the connection when it breaks the protocol. */
  onAnswer(frame: Frame): string | undefined {
    const pending = this.#pending.get(frame.requestId);
    if (!pending) return undefined; // cancelled or timed out meanwhile
    if (frame.kind !== messages[pending.name].kind) return `Request ${frame.requestId} is answered as another kind`;
    if (frame.type === 'reply' && pending.state !== 'sent') return `Request ${frame.requestId} is answered too early`;
    this.#forget(frame.requestId, pending);
    if (frame.type === 'refusal') pending.reject(fromRefusalHeader(frame.header));
    else if (frame.damaged) {
      pending.reject(new DfsError('integrity', `The payload of the answer to ${pending.name} is damaged`));
    } else this.#resolve(pending, frame);
    return undefined;
  }

  #resolve(pending: Pending, frame: Frame): void {
    try {
      const header = replyChecks[pending.name](frame.header, '');
      pending.resolve({ header, payload: frame.payload, sums: frame.sums });
    } catch (error) {
      if (!isRefusal(error)) throw error;
      pending.reject(new DfsError('failed', `The answer to ${pending.name} is malformed: ${error.message}`));
    }
  }

  onCredit(frame: Frame): void {
    const pending = this.#pending.get(frame.requestId);
    if (pending?.state === 'asking') this.#sendRequest(frame.requestId, pending);
  }

  close(reason: string): void {
    this.#closedBy = reason;
    this.#timer?.cancel();
    for (const [id, pending] of [...this.#pending]) {
      this.#forget(id, pending);
      pending.reject(this.#lost(pending.name, pending.state === 'sent'));
    }
  }

  #lost(name: MessageName, sent: boolean): DfsError {
    const message = `The connection to ${this.#connection.remoteAddress} was lost before the answer to ${name}`;
    return new DfsError('connection-lost', `${message}: ${this.#closedBy}`, { details: { sent } });
  }

  #listen(id: number, signal: AbortSignal): () => void {
    const onAbort = (): void => this.#giveUp(id, (name) => new DfsError('cancelled', `The caller gave up ${name}`));
    signal.addEventListener('abort', onAbort, { once: true });
    return () => signal.removeEventListener('abort', onAbort);
  }

  #startWaiting(): void {
    if (this.#closedBy !== undefined) return;
    for (const id of this.#waiting) {
      if (this.#underWay >= limits.requestsInFlightMax) return;
      if (this.#connection.queuedBytes > limits.replyBytesInFlightMax) {
        this.#awaitDrain();
        return;
      }
      this.#waiting.delete(id);
      const pending = this.#pending.get(id);
      if (pending) this.#start(id, pending);
    }
  }

  #awaitDrain(): void {
    if (this.#awaitsDrain) return;
    this.#awaitsDrain = true;
    void this.#connection.drained().then(() => {
      this.#awaitsDrain = false;
      this.#startWaiting();
    });
  }

  #start(id: number, pending: Pending): void {
    this.#underWay++;
    const payloadBytes = pending.payload?.length ?? 0;
    if (payloadBytes <= limits.uncreditedBytesMax) {
      this.#sendRequest(id, pending);
      return;
    }
    pending.state = 'asking';
    this.#sendBare('ask-credit', id, pending, { bytes: payloadBytes, d: this.#remainingMs(pending) });
  }

  #sendRequest(requestId: number, pending: Pending): void {
    pending.state = 'sent';
    const { payload, sums } = pending;
    // A field added to a copy, instead of before it, costs the engine three times as much.
    const header = { d: this.#remainingMs(pending), ...pending.header };
    this.#connection.send({ type: 'request', kind: messages[pending.name].kind, requestId, header, payload, sums });
  }

  #sendBare(type: FrameType, requestId: number, pending: Pending, header: Frame['header']): void {
    const { kind } = messages[pending.name];
    this.#connection.send({ type, kind, requestId, header, payload: undefined, sums: undefined });
  }

  #remainingMs(pending: Pending): number {
    return Math.max(1, Math.round(pending.deadlineMs - this.#clock.monotonicMs()));
  }

  #forget(id: number, pending: Pending): void {
    this.#pending.delete(id);
    if (!this.#waiting.delete(id)) this.#underWay--;
    if (this.#underWay < 0) throw new Bug('More requests ended than began');
    pending.stopListening?.();
    if (this.#waiting.size > 0) this.#startWaiting();
  }

  #giveUp(id: number, reason: (name: MessageName) => DfsError): void {
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#forget(id, pending);
    if (pending.state !== 'waiting') this.#sendBare('cancel', id, pending, {});
    pending.reject(reason(pending.name));
  }

  /** One timer for all: most requests are answered long before it fires. */
  #watch(deadlineMs: number): void {
    if (deadlineMs >= this.#timerDueMs) return;
    this.#timer?.cancel();
    this.#timerDueMs = deadlineMs;
    this.#timer = this.#clock.after(Math.max(0, deadlineMs - this.#clock.monotonicMs()), () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timerDueMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.monotonicMs();
    const remote = this.#connection.remoteAddress;
    for (const [id, { deadlineMs, timeoutMs }] of [...this.#pending]) {
      if (deadlineMs > nowMs) this.#watch(deadlineMs);
      else
        this.#giveUp(id, (name) => new DfsError('timed-out', `${remote} gave no answer to ${name} in ${timeoutMs} ms`));
    }
  }
}
