/**
 * One session per address and lane, opened when first asked for and again after it broke.
 *
 * Two lanes keep small requests from waiting behind large payloads. A retry goes by the lane of the attempt before:
 * the generation in its hello rises with every connection, so the other side has closed the older one, unread bytes and
 * all, before it reads the retry (rule F7).
 */
import type { Environment } from '../core/environment.js';
import { DfsError } from '../core/errors.js';
import type { Address, ClusterId, PeerId } from '../core/ids.js';
import { ConnectFailure } from '../core/network.js';
import { timing } from '../core/timing.js';
import { openSession, type Session } from '../protocol/session.js';

export type Lane = 'small' | 'bulk';

export interface Target {
  readonly address: Address;
  /** Undefined for masters. */
  readonly peerId: PeerId | undefined;
}

export interface ConnectionEvents {
  /** A hello was answered: what it tells about clock, cluster and map. */
  onOpened(target: Target, session: Session): void;
}

type Hello = Parameters<typeof openSession>[2]['hello'];

export class Connections {
  readonly #environment: Environment;
  readonly #clientId: Uint8Array;
  readonly #events: ConnectionEvents;
  readonly #open = new Map<string, Session>();
  readonly #opening = new Map<string, Promise<Session>>();
  #generation = 0;
  #isClosed = false;

  constructor(environment: Environment, events: ConnectionEvents) {
    this.#environment = environment;
    this.#clientId = environment.random.bytes(16);
    this.#events = events;
  }

  /** The open session, or a promise of it. Rejects with `connection-lost` (`details.sent` false) or a refusal. */
  sessionTo(target: Target, lane: Lane, clusterId: ClusterId | undefined): Session | Promise<Session> {
    const key = `${lane} ${target.peerId ?? ''} ${target.address}`;
    const open = this.#open.get(key);
    if (open !== undefined && !open.closed) return open;
    const opening = this.#opening.get(key);
    if (opening !== undefined) return opening;
    const started = this.#connect(key, { target, lane, clusterId }).finally(() => this.#opening.delete(key));
    this.#opening.set(key, started);
    return started;
  }

  close(): void {
    this.#isClosed = true;
    for (const session of this.#open.values()) session.close('The client is done');
    this.#open.clear();
  }

  async #connect(key: string, to: { target: Target; lane: Lane; clusterId: ClusterId | undefined }): Promise<Session> {
    if (this.#isClosed) throw closedError();
    this.#generation += 1;
    const { target, lane, clusterId } = to;
    const hello: Hello = {
      role: 'client',
      generation: this.#generation,
      clientId: this.#clientId,
      lane,
      ...(clusterId === undefined ? {} : { clusterId }),
      ...(target.peerId === undefined ? {} : { expectPeerId: target.peerId }),
    };
    const session = await this.#opened(key, target.address, hello);
    if (this.#isClosed) {
      session.close('The client is done');
      throw closedError();
    }
    this.#open.set(key, session);
    this.#events.onOpened(target, session);
    return session;
  }

  async #opened(key: string, address: Address, hello: Hello): Promise<Session> {
    let opened: Session | undefined;
    const onClose = (): void => {
      if (opened !== undefined && this.#open.get(key) === opened) this.#open.delete(key);
    };
    try {
      opened = await openSession(this.#environment, address, { hello, timeoutMs: timing.connectTimeoutMs, onClose });
      return opened;
    } catch (error) {
      throw toConnectError(address, error);
    }
  }
}

function closedError(): DfsError {
  return new DfsError('cancelled', 'The client is closed', { details: { sent: false } });
}

/** Whatever went wrong before a session stood: nothing of the request was sent. */
function toConnectError(address: Address, error: unknown): DfsError {
  if (error instanceof ConnectFailure) {
    return new DfsError('connection-lost', error.message, {
      cause: error,
      details: { sent: false },
    });
  }
  if (error instanceof DfsError && error.code !== 'connection-lost' && error.code !== 'timed-out') return error;
  return new DfsError('connection-lost', error instanceof Error ? error.message : String(error), {
    cause: error,
    details: { sent: false },
    advice: `Something other than dfs may listen on ${address}, or it is overloaded or frozen`,
  });
}
