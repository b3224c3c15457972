/**
 * The requests the other side has made on one connection: checks them, grants credit, runs the handlers, answers.
 *
 * Nothing here grows without bound: large payloads come only after credit, the number of running requests is limited,
 * and while too many small payloads or unread answers are held, the connection is not read.
 */
import { Bug } from '../core/assert.js';
import type { Clock, Log, Timer } from '../core/environment.js';
import { DfsError, isRefusal, refuse, StorageFailure, toDfsError } from '../core/errors.js';
import { limits } from '../core/limits.js';
import type { Connection, Frame } from '../core/network.js';
import { givePayloadMemory } from '../core/payload-memory.js';
import { timing } from '../core/timing.js';
import { count, object, optional } from './checks.js';
import { CreditPool } from './credit.js';
import type { Role } from './message.js';
import { type MessageName, messageNameOf, messages, type RequestOf } from './messages.js';
import { toRefusalHeader } from './refusal.js';
import type { AnyIncoming, Incoming, Outgoing, Serve, Session } from './session.js';

const deadlineMsMax = 24 * 60 * 60 * 1000;
const deadlineCheck = object({ d: optional(count(deadlineMsMax)) });
const askCheck = object({ bytes: count(limits.framePayloadBytesMax), d: optional(count(deadlineMsMax)) });

const requestChecks = Object.fromEntries(
  Object.entries(messages).map(([name, message]) => [name, object(message.request)]),
) as unknown as Readonly<Record<MessageName, (value: unknown, path: string) => object>>;

/** One request from credit asked (or arrival) until its handler has ended. */
class Running {
  readonly kind: number;
  readonly deadlineMs: number;
  grantedBytes: number | undefined;
  hasArrived = false;
  isCancelled = false;
  smallBytes = 0;
  releaseCredit: (() => void) | undefined;
  releaseRoom: (() => void) | undefined;
  stallTimer: Timer | undefined;
  #controller: AbortController | undefined;
  #abortedBy: DfsError | undefined;

  constructor(kind: number, deadlineMs: number) {
    this.kind = kind;
    this.deadlineMs = deadlineMs;
  }

  /** Made only when somebody looks at it: most handlers never do. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#abortedBy) this.#controller.abort(this.#abortedBy);
    }
    return this.#controller.signal;
  }

  abort(error: DfsError): void {
    this.isCancelled = true;
    this.#abortedBy ??= error;
    this.#controller?.abort(error);
  }

  release(): void {
    this.stallTimer?.cancel();
    this.releaseCredit?.();
    this.releaseRoom?.();
  }
}

/** What a handler sees of a Running. */
class Arrived implements Incoming {
  readonly name: MessageName;
  readonly header: RequestOf<MessageName>;
  readonly payload: Uint8Array | undefined;
  readonly sums: Uint8Array | undefined;
  readonly session: Session;
  readonly #running: Running;
  readonly #room: CreditPool;

  constructor(
    name: MessageName,
    header: object,
    frame: Frame,
    owner: { session: Session; room: CreditPool },
    running: Running,
  ) {
    this.name = name;
    this.header = header as RequestOf<MessageName>;
    this.payload = frame.payload;
    this.sums = frame.sums;
    this.session = owner.session;
    this.#room = owner.room;
    this.#running = running;
  }

  get deadlineMs(): number {
    return this.#running.deadlineMs;
  }

  get signal(): AbortSignal {
    return this.#running.signal;
  }

  async replyRoom(bytes: number): Promise<void> {
    // A signal is made only for those that must wait.
    const atOnce = this.#running.isCancelled ? undefined : this.#room.tryAcquire(bytes);
    const release = atOnce ?? (await this.#room.acquire(bytes, this.signal));
    this.#running.releaseRoom?.();
    this.#running.releaseRoom = release;
  }
}

const uploadLookMs = 250;
const uploadLookBytesMin = (limits.uploadBytesPerSecondMin * uploadLookMs) / 1000;

export class RunningRequests {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #connection: Connection;
  readonly #session: Session;
  readonly #serve: Serve | undefined;
  readonly #role: Role;
  readonly #credit: CreditPool;
  readonly #room = new CreditPool(limits.replyBytesInFlightMax);
  readonly #running = new Map<number, Running>();
  readonly #reviewReading = (): void => this.#review();
  /** Of those in #running, how many handlers: reading must go on for the payloads of the others. */
  #handlerCount = 0;
  #isPaused = false;
  #awaitsDrain = false;
  #isClosed = false;

  constructor(
    environment: { readonly clock: Clock; readonly log: Log },
    connection: Connection,
    owner: { session: Session; serve: Serve | undefined; role: Role; credit: CreditPool },
  ) {
    this.#clock = environment.clock;
    this.#log = environment.log;
    this.#connection = connection;
    this.#session = owner.session;
    this.#serve = owner.serve;
    this.#role = owner.role;
    this.#credit = owner.credit;
  }

  get count(): number {
    return this.#running.size;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Why a payload of this size must not be sent with this request; undefined when it may. */
  admit(requestId: number, payloadBytes: number): string | undefined {
    if (payloadBytes <= limits.uncreditedBytesMax) return undefined;
    const granted = this.#running.get(requestId)?.grantedBytes ?? 0;
    return payloadBytes <= granted
      ? undefined
      : `A payload of ${payloadBytes} bytes came with ${granted} bytes of credit`;
  }

  /** Returns the reason to close the connection when the request breaks the protocol. */
  onAskCredit(frame: Frame): string | undefined {
    const { kind, requestId } = frame;
    if (this.#running.has(requestId)) return `Request ${requestId} asks for credit while it runs`;
    try {
      this.#permitted(kind);
      const { bytes, d = timing.clientTimeoutMs } = askCheck(frame.header, '');
      if (this.#running.size - this.#handlerCount >= limits.requestsInFlightMax) {
        refuse('busy', `${limits.requestsInFlightMax} requests of this connection wait for credit already`);
      }
      const running = new Running(kind, this.#clock.monotonicMs() + d);
      this.#running.set(requestId, running);
      void this.#grant(requestId, running, bytes);
    } catch (error) {
      this.#refuse(kind, requestId, error);
    }
    return undefined;
  }

  /** Returns the reason to close the connection when the request breaks the protocol. */
  onRequest(frame: Frame): string | undefined {
    const { kind, requestId } = frame;
    const asked = this.#running.get(requestId);
    if (asked && (asked.hasArrived || asked.grantedBytes === undefined || asked.kind !== kind)) {
      return `Request id ${requestId} is used twice`;
    }
    let running = asked;
    try {
      const name = this.#permitted(kind);
      if (frame.damaged) refuse('integrity', 'The payload was damaged on its way');
      const { d = timing.clientTimeoutMs } = deadlineCheck(frame.header, '');
      const header = requestChecks[name](frame.header, '');
      running ??= this.#begin(frame, d);
      running.hasArrived = true;
      this.#handlerCount++;
      running.stallTimer?.cancel();
      const owner = { session: this.#session, room: this.#room };
      this.#run(requestId, running, new Arrived(name, header, frame, owner, running));
    } catch (error) {
      if (running) this.#forget(requestId, running);
      this.#refuse(kind, requestId, error);
    }
    return undefined;
  }

  onCancel(requestId: number): void {
    const running = this.#running.get(requestId);
    if (!running) return; // answered meanwhile
    running.abort(new DfsError('cancelled', 'The caller gave up'));
    if (!running.hasArrived && running.grantedBytes !== undefined) this.#forget(requestId, running);
  }

  close(reason: string): void {
    this.#isClosed = true;
    this.#credit.offSmallRoom(this.#reviewReading);
    for (const [requestId, running] of [...this.#running]) {
      running.abort(new DfsError('cancelled', `The connection to the caller closed: ${reason}`));
      if (!running.hasArrived && running.grantedBytes !== undefined) this.#forget(requestId, running);
    }
  }

  #permitted(kind: number): MessageName {
    const name = messageNameOf(kind);
    if (name === undefined || this.#serve === undefined) {
      return refuse('unsupported', `Messages of kind ${kind} are not served here`, {
        advice: 'Check that both sides run the same version',
      });
    }
    if (name === 'hello') refuse('invalid', 'Hello is said once, at the beginning');
    const from: readonly Role[] = messages[name].from;
    if (!from.includes(this.#role)) refuse('denied', `A ${this.#role} may not send ${name}`);
    return name;
  }

  #begin(frame: Frame, d: number): Running {
    const running = new Running(frame.kind, this.#clock.monotonicMs() + d);
    running.smallBytes = frame.payload?.length ?? 0;
    this.#credit.takeSmall(running.smallBytes);
    this.#running.set(frame.requestId, running);
    return running;
  }

  async #grant(requestId: number, running: Running, bytes: number): Promise<void> {
    try {
      running.releaseCredit = await this.#credit.acquire(bytes, running.signal);
      if (running.isCancelled) refuse('cancelled', 'The caller gave up');
      if (this.#clock.monotonicMs() > running.deadlineMs)
        refuse('timed-out', 'No memory came free before the deadline');
    } catch (error) {
      this.#forget(requestId, running);
      if (!running.isCancelled) this.#refuse(running.kind, requestId, error);
      return;
    }
    running.grantedBytes = bytes;
    this.#watchUpload(running, { receivedBytes: this.#connection.receivedPayloadBytes, quietMs: 0 });
    const { kind } = running;
    this.#connection.send({ type: 'credit', kind, requestId, header: {}, payload: undefined, sums: undefined });
  }

  /**
   * Memory was set aside for an upload: when next to nothing arrives, its sender is taken for gone, and sooner while
   * other clients wait for memory.
   */
  #watchUpload(running: Running, before: { readonly receivedBytes: number; readonly quietMs: number }): void {
    running.stallTimer = this.#clock.after(uploadLookMs, () => {
      const receivedBytes = this.#connection.receivedPayloadBytes;
      const isQuiet = receivedBytes - before.receivedBytes < uploadLookBytesMin && !this.#isPaused;
      const quietMs = isQuiet ? before.quietMs + uploadLookMs : 0;
      const isUnwelcome = this.#role === 'client' && this.#credit.isWaitedFor;
      const patienceMs = isUnwelcome ? timing.unwelcomeUploadMs : timing.stalledUploadMs;
      if (quietMs < patienceMs) return this.#watchUpload(running, { receivedBytes, quietMs });
      this.#session.close(`Next to nothing of a granted upload arrived for ${quietMs} ms`);
    });
  }

  #run(requestId: number, running: Running, request: Incoming): void {
    const serve = this.#serve as Serve;
    this.#review();
    let answer: Promise<Outgoing>;
    try {
      answer = serve(request as AnyIncoming);
    } catch (error) {
      answer = Promise.reject(error);
    }
    answer.then(
      (outgoing) => this.#reply(requestId, running, outgoing),
      (error: unknown) => {
        // The process must not go on after these; nobody catches them on purpose.
        if (error instanceof Bug || error instanceof StorageFailure) throw error;
        if (!isRefusal(error)) this.#log.error({ error, request: request.name }, 'A handler failed unexpectedly');
        this.#forget(requestId, running);
        if (!running.isCancelled) this.#refuse(running.kind, requestId, error);
      },
    );
  }

  #reply(requestId: number, running: Running, outgoing: Outgoing): void {
    if (running.isCancelled) {
      this.#forget(requestId, running);
      return;
    }
    const { header = {}, payload, sums, givesMemory } = outgoing;
    const { releaseRoom } = running;
    running.releaseRoom = undefined; // held until the answer has left
    this.#forget(requestId, running);
    const frame = {
      type: 'reply',
      kind: running.kind,
      requestId,
      header: header as Frame['header'],
      payload,
      sums,
    } as const;
    const onFlushed = (): void => {
      releaseRoom?.();
      if (givesMemory) givePayloadMemory(payload);
    };
    this.#connection.send(frame, releaseRoom || givesMemory ? onFlushed : undefined);
    this.#review();
  }

  #refuse(kind: number, requestId: number, error: unknown): void {
    if (this.#isClosed) return;
    const header = toRefusalHeader(toDfsError(error));
    this.#connection.send({ type: 'refusal', kind, requestId, header, payload: undefined, sums: undefined });
    this.#review();
  }

  #forget(requestId: number, running: Running): void {
    this.#running.delete(requestId);
    if (running.hasArrived) this.#handlerCount--;
    running.release();
    if (running.smallBytes > 0) this.#credit.releaseSmall(running.smallBytes);
    running.smallBytes = 0;
    this.#review();
  }

  /** Reads on, or stops reading, by what is held now. */
  #review(): void {
    if (this.#isClosed) return;
    const isTakenSlowly = this.#connection.queuedBytes > limits.replyBytesInFlightMax;
    if (isTakenSlowly) this.#awaitDrain();
    if (this.#credit.isSmallFull) this.#credit.onSmallRoom(this.#reviewReading);
    const mustPause = isTakenSlowly || this.#credit.isSmallFull || this.#handlerCount >= limits.requestsInFlightMax;
    if (mustPause === this.#isPaused) return;
    this.#isPaused = mustPause;
    if (mustPause) this.#connection.pauseReading();
    else this.#connection.resumeReading();
  }

  #awaitDrain(): void {
    if (this.#awaitsDrain) return;
    this.#awaitsDrain = true;
    void this.#connection.drained().then(() => {
      this.#awaitsDrain = false;
      this.#review();
    });
  }
}
