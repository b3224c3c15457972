/**
 * Questions to other peers outside replication: one connection a peer, opened when first needed.
 */
import type { PeerRecord } from '../cluster/map.js';
import type { Environment } from '../core/environment.js';
import { DfsError } from '../core/errors.js';
import type { PeerId } from '../core/ids.js';
import { ConnectFailure } from '../core/network.js';
import { timing } from '../core/timing.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import { type Answer, openSession, type Session } from '../protocol/session.js';
import type { Identity } from './identity.js';

export class PeerCalls {
  readonly #environment: Environment;
  readonly #me: Identity;
  readonly #sessions = new Map<PeerId, { readonly key: string; readonly opening: Promise<Session> }>();
  #closed = false;

  constructor(environment: Environment, me: Identity) {
    this.#environment = environment;
    this.#me = me;
  }

  /** Throws DfsError, `connection-lost` when the peer is not reached. */
  async ask<N extends MessageName>(
    peer: PeerRecord,
    name: N,
    header: RequestOf<N>,
    options: { timeoutMs: number },
  ): Promise<Answer<N>> {
    const session = await this.#sessionTo(peer);
    return session.request(name, header, options);
  }

  close(): void {
    this.#closed = true;
    for (const { opening } of this.#sessions.values()) {
      opening.then(
        (session) => session.close('the peer stops'),
        (error: unknown) => this.#environment.log.debug({ error: String(error) }, 'connection was never opened'),
      );
    }
    this.#sessions.clear();
  }

  async #sessionTo(peer: PeerRecord): Promise<Session> {
    if (this.#closed) throw new DfsError('cancelled', 'This peer is stopping');
    const key = `${peer.address} ${peer.storeId}`;
    const known = this.#sessions.get(peer.id);
    if (known?.key === key) {
      const session = await known.opening;
      if (!session.closed) return session;
    }
    const opening = this.#open(peer);
    const entry = { key, opening };
    this.#sessions.set(peer.id, entry);
    try {
      return await opening;
    } catch (error) {
      if (this.#sessions.get(peer.id) === entry) this.#sessions.delete(peer.id);
      throw error;
    }
  }

  /** Rejects with DfsError only, for whoever shares the attempt. */
  async #open(peer: PeerRecord): Promise<Session> {
    try {
      return await this.#connect(peer);
    } catch (error) {
      if (!(error instanceof ConnectFailure)) throw error;
      throw new DfsError('connection-lost', `Peer ${peer.id} at ${peer.address} is not reached`, { cause: error });
    }
  }

  #connect(peer: PeerRecord): Promise<Session> {
    return openSession(this.#environment, peer.address, {
      hello: {
        role: 'peer',
        generation: this.#me.nextGeneration(),
        lane: 'ask',
        ...this.#me.named(),
        expectPeerId: peer.id,
        expectStoreId: peer.storeId,
      },
      timeoutMs: timing.connectTimeoutMs,
    });
  }
}
