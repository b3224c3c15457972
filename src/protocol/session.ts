/**
 * One connection between two programs: hello first, then requests both ways, many at once, answered in any order.
 *
 * This file decides what may come when; pending-requests.ts keeps what this side asked, running-requests.ts what the
 * other side asked, liveness.ts whether the other side is still there. docs/wire-format.md is the same for people.
 */
import { assertDefined } from '../core/assert.js';
import type { Environment, Timer } from '../core/environment.js';
import { isRefusal, refuse } from '../core/errors.js';
import type { Address } from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { Connection, ConnectionHandler, Frame } from '../core/network.js';
import { timing } from '../core/timing.js';
import { software } from '../core/version.js';
import { object } from './checks.js';
import { CreditPool } from './credit.js';
import { Liveness } from './liveness.js';
import type { Role } from './message.js';
import { type MessageName, messages, protocolVersion, type ReplyOf, type RequestOf } from './messages.js';
import { PendingRequests } from './pending-requests.js';
import { toRefusalHeader } from './refusal.js';
import { RunningRequests } from './running-requests.js';

export type HelloRequest = RequestOf<'hello'>;
export type HelloReply = Omit<ReplyOf<'hello'>, 'software'>;

/** Who is at the other end, by its own hello (or its reply to ours). */
export interface Remote {
  readonly role: Role;
  /** "ip:port" of the connection, not where the other side listens. */
  readonly address: Address;
  readonly software: string;
  readonly clusterId?: string;
  readonly peerId?: string;
  readonly storeId?: string;
  readonly incarnation?: number;
  /** Only of who called. */
  readonly generation?: number;
  readonly clientId?: Uint8Array;
  readonly lane?: string;
  /** Only of who answered. */
  readonly clusterMs?: number;
  readonly mapEpoch?: number;
  readonly yourAddress?: string;
}

export interface Answer<N extends MessageName> {
  readonly header: ReplyOf<N>;
  readonly payload: Uint8Array | undefined;
  readonly sums: Uint8Array | undefined;
}

export interface RequestOptions {
  readonly payload?: Uint8Array | undefined;
  /** Block checksums of the payload, when they are known already. */
  readonly sums?: Uint8Array | undefined;
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A handler's answer. */
export interface Outgoing {
  readonly header?: object | undefined;
  readonly payload?: Uint8Array | undefined;
  /** Nobody else uses the memory of the payload: it is given back once the answer has left. */
  readonly givesMemory?: boolean | undefined;
  /** Block checksums of the payload, when they are known already. */
  readonly sums?: Uint8Array | undefined;
}

export interface Incoming<N extends MessageName = MessageName> {
  readonly name: N;
  readonly header: RequestOf<N>;
  /** Undefined also when it is empty. */
  readonly payload: Uint8Array | undefined;
  readonly sums: Uint8Array | undefined;
  readonly session: Session;
  /** By this side's monotonic clock; from then on nobody waits for the answer. */
  readonly deadlineMs: number;
  /** Aborted when the caller gives up or the connection closes. */
  readonly signal: AbortSignal;
  /**
   * Waits until the connection has room for an answer of so many bytes, and keeps it. To be called before the bytes are
   * read from disk. Rejects `cancelled` when nobody waits for them any more.
   */
  replyRoom(bytes: number): Promise<void>;
}

/** A request by its name: `switch (request.name)` tells which header it has. */
export type AnyIncoming = { [N in MessageName]: Incoming<N> }[MessageName];

/** Answers a request or throws a DfsError to refuse it. Called in the order of arrival, within the frame's arrival. */
export type Serve = (request: AnyIncoming) => Promise<Outgoing>;

type Phase = 'hello-awaited' | 'hello-sent' | 'open' | 'refused' | 'closed';

interface SessionOptions {
  readonly serve: Serve | undefined;
  readonly creditPoolFor: (role: Role) => CreditPool;
  readonly onClose: ((reason: string) => void) | undefined;
  /** Only for the side that is called. */
  readonly onHello?: (hello: HelloRequest, session: Session) => HelloReply;
}

const helloKind = messages.hello.kind;
const helloCheck = object(messages.hello.request);
const helloReplyCheck = object(messages.hello.reply);

export class Session {
  readonly #environment: Environment;
  readonly #connection: Connection;
  readonly #options: SessionOptions;
  readonly #pending: PendingRequests;
  readonly #liveness: Liveness;
  #running: RunningRequests | undefined;
  #remote: Remote | undefined;
  #phase: Phase;
  #lastHeardMs: number;
  #violation: string | undefined;
  readonly #helloTimer: Timer;

  constructor(environment: Environment, connection: Connection, options: SessionOptions) {
    const { clock } = environment;
    this.#environment = environment;
    this.#connection = connection;
    this.#options = options;
    this.#phase = options.onHello ? 'hello-awaited' : 'hello-sent';
    this.#lastHeardMs = clock.monotonicMs();
    this.#pending = new PendingRequests(clock, connection);
    this.#liveness = new Liveness(clock, connection, {
      isReading: () => !this.#running?.isPaused,
      lastHeardMs: () => this.#lastHeardMs,
      giveUp: (reason) => this.close(reason),
    });
    this.#helloTimer = clock.after(timing.helloTimeoutMs, () => {
      if (this.#phase === 'hello-awaited') this.close(`No hello came within ${timing.helloTimeoutMs} ms`);
    });
  }

  /** Known from the moment hello was understood. */
  get remote(): Remote {
    return assertDefined(this.#remote, 'Who the other side is was asked before its hello');
  }

  get closed(): boolean {
    return this.#phase === 'closed';
  }

  /** By the monotonic clock: when the last frame of any kind arrived. */
  get lastHeardMs(): number {
    return this.#lastHeardMs;
  }

  /** Requests of both sides that are under way. */
  get requestsUnderWay(): number {
    return this.#pending.count + (this.#running?.count ?? 0);
  }

  /**
   * Asks and resolves with the answer. Rejects with a DfsError: the other side's refusal; `timed-out`; `cancelled` by
   * the signal; `connection-lost`, whose details say whether anything was `sent`; `integrity` for a damaged answer.
   */
  request<N extends MessageName>(name: N, header: RequestOf<N>, options: RequestOptions = {}): Promise<Answer<N>> {
    return this.#pending.request(name, header, options);
  }

  /** Ends everything under way at once. */
  close(reason: string): void {
    if (this.#phase !== 'closed') this.#connection.close(reason);
  }

  /** What the connection calls; made by openSession and acceptSession only. */
  handler(): ConnectionHandler {
    return {
      admit: (frame, payloadBytes) => this.#admit(frame, payloadBytes),
      onFrame: (frame) => this.#onFrame(frame),
      onClose: (reason, isViolation) => this.#onClose(reason, isViolation),
    };
  }

  #open(remote: Remote): void {
    this.#remote = remote;
    this.#phase = 'open';
    this.#helloTimer.cancel();
    this.#running = new RunningRequests(this.#environment, this.#connection, {
      session: this,
      serve: this.#options.serve,
      role: remote.role,
      credit: this.#options.creditPoolFor(remote.role),
    });
  }

  #admit(frame: Omit<Frame, 'payload' | 'sums'>, payloadBytes: number): string | undefined {
    switch (frame.type) {
      case 'request':
        if (this.#phase !== 'open') return payloadBytes > 0 ? 'A payload came before hello' : undefined;
        return this.#running?.admit(frame.requestId, payloadBytes);
      case 'reply':
      case 'refusal':
        if (this.#pending.wasMade(frame.requestId)) return undefined;
        return `An answer came to request ${frame.requestId}, which was never made`;
      default:
        return payloadBytes > 0 ? `A frame of type ${frame.type} came with a payload` : undefined;
    }
  }

  #onFrame(frame: Frame): void {
    this.#lastHeardMs = this.#environment.clock.monotonicMs();
    if (this.#phase === 'closed' || this.#phase === 'refused') return;
    const violation = this.#phase === 'hello-awaited' ? this.#onFirstFrame(frame) : this.#dispatch(frame);
    if (violation === undefined) return;
    this.#violation = violation;
    this.#connection.close(violation);
  }

  /** Returns the reason to close the connection when the frame breaks the protocol. */
  #dispatch(frame: Frame): string | undefined {
    switch (frame.type) {
      case 'reply':
        if (this.#phase === 'hello-sent') this.#onHelloReply(frame);
        return this.#pending.onAnswer(frame);
      case 'refusal':
        return this.#pending.onAnswer(frame);
      case 'credit':
        this.#pending.onCredit(frame);
        return undefined;
      case 'cancel':
        this.#running?.onCancel(frame.requestId);
        return undefined;
      case 'keep-alive':
        return undefined;
      case 'request':
        return this.#running ? this.#running.onRequest(frame) : 'A request came before the answer to hello';
      case 'ask-credit':
        return this.#running ? this.#running.onAskCredit(frame) : 'A request came before the answer to hello';
    }
  }

  /** Opens at once: a request may stand right behind the reply. A malformed reply is left to whoever awaits it. */
  #onHelloReply(frame: Frame): void {
    try {
      this.#open({ address: this.#connection.remoteAddress, ...helloReplyCheck(frame.header, '') });
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
  }

  #onFirstFrame(frame: Frame): string | undefined {
    if (frame.type !== 'request' || frame.kind !== helloKind) return 'The first frame was not hello';
    const onHello = assertDefined(this.#options.onHello, 'Only the called side awaits hello');
    const answer = { kind: helloKind, requestId: frame.requestId, payload: undefined, sums: undefined };
    try {
      const hello = helloCheck(frame.header, '');
      if (hello.protocol !== protocolVersion) {
        refuse('wrong-version', `This side speaks protocol ${protocolVersion}, the other ${hello.protocol}`, {
          advice: 'Run the same version of dfs on both sides',
        });
      }
      this.#open({ address: this.#connection.remoteAddress, ...hello });
      this.#connection.send({ ...answer, type: 'reply', header: { ...onHello(hello, this), software } });
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.#phase = 'refused';
      this.#environment.log.warn({ remote: this.#connection.remoteAddress, code: error.code }, error.message);
      this.#connection.send({ ...answer, type: 'refusal', header: toRefusalHeader(error) });
      this.#connection.end();
    }
    return undefined;
  }

  #onClose(reason: string, isViolation: boolean): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'closed';
    this.#liveness.stop();
    this.#helloTimer.cancel();
    this.#running?.close(reason);
    this.#pending.close(reason);
    const fields = { remote: this.#connection.remoteAddress, role: this.#remote?.role, peer: this.#remote?.peerId };
    if (isViolation || this.#violation !== undefined)
      this.#environment.log.warn(fields, `Connection closed: ${reason}`);
    else this.#environment.log.debug(fields, `Connection closed: ${reason}`);
    this.#options.onClose?.(reason);
  }
}

/** Throws ConnectFailure when there is no connection, else DfsError as hello was refused or not answered in time. */
export async function openSession(
  environment: Environment,
  address: Address,
  options: {
    readonly hello: Omit<HelloRequest, 'protocol' | 'software'>;
    /** For connecting, and again for the answer to hello. */
    readonly timeoutMs: number;
    readonly serve?: Serve | undefined;
    readonly creditPool?: CreditPool | undefined;
    readonly onClose?: ((reason: string) => void) | undefined;
  },
): Promise<Session> {
  const { hello, timeoutMs, serve, onClose } = options;
  const creditPool = options.creditPool ?? new CreditPool(limits.replicationCreditBytes);
  let opened: Session | undefined;
  const onConnection = (connection: Connection): ConnectionHandler => {
    opened = new Session(environment, connection, { serve, onClose, creditPoolFor: () => creditPool });
    return opened.handler();
  };
  await environment.network.connect(address, onConnection, { timeoutMs });
  const session = assertDefined<Session>(opened, 'A connection was made without its handler');
  try {
    const header = { ...hello, protocol: protocolVersion, software };
    await session.request('hello', header, { timeoutMs });
  } catch (error) {
    session.close('Hello failed');
    throw error;
  }
  return session;
}

/** For Network.listen: answers hello by `onHello`, which throws a DfsError to refuse; then serves. */
export function acceptSession(
  environment: Environment,
  connection: Connection,
  options: {
    readonly onHello: (hello: HelloRequest, session: Session) => HelloReply;
    readonly serve: Serve;
    readonly creditPoolFor: (role: Role) => CreditPool;
    readonly onClose?: ((reason: string) => void) | undefined;
  },
): ConnectionHandler {
  return new Session(environment, connection, { ...options, onClose: options.onClose }).handler();
}
