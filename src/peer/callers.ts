/**
 * Who may connect, and which connection of a caller counts.
 *
 * A hello that names another cluster, another store or an older start is refused with what to do. Of one caller's
 * connections only the newest lives: a newer one closes the older, unread bytes and all, so that a delayed request
 * cannot act after a later one (rules F7, F11).
 */
import { type ClusterMap, peerOf } from '../cluster/map.js';
import type { Clock } from '../core/environment.js';
import { refuse } from '../core/errors.js';
import { toHex } from '../core/ids.js';
import type { HelloRequest, Session } from '../protocol/session.js';
import type { Identity } from './identity.js';

interface Newest {
  readonly incarnation: number;
  readonly generation: number;
  session: Session | undefined;
  closedAtMs: number;
}

/** Longer than any delayed hello may take to arrive. */
const rememberMs = 15 * 60_000;

export class Callers {
  readonly #clock: Clock;
  readonly #me: Identity;
  readonly #newest = new Map<string, Newest>();

  constructor(clock: Clock, me: Identity) {
    this.#clock = clock;
    this.#me = me;
  }

  /** Throws the refusal of the hello. */
  admit(hello: HelloRequest, session: Session, map: ClusterMap | undefined): void {
    this.#checkIdentity(hello);
    if (hello.role === 'peer') checkPeer(hello, map);
    this.#replaceOlder(hello, session);
  }

  onClosed(session: Session): void {
    for (const newest of this.#newest.values()) {
      if (newest.session !== session) continue;
      newest.session = undefined;
      newest.closedAtMs = this.#clock.monotonicMs();
    }
  }

  forgetOld(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [caller, newest] of this.#newest) {
      if (newest.session === undefined && nowMs - newest.closedAtMs > rememberMs) this.#newest.delete(caller);
    }
  }

  #checkIdentity(hello: HelloRequest): void {
    const me = this.#me;
    if (hello.clusterId !== undefined && me.clusterId !== undefined && hello.clusterId !== me.clusterId) {
      refuse('wrong-cluster', `This peer belongs to cluster ${me.clusterId}, the caller to ${hello.clusterId}`, {
        advice: 'Check the address: another cluster uses it',
      });
    }
    if (hello.expectPeerId !== undefined && me.peerId !== undefined && hello.expectPeerId !== me.peerId) {
      refuse('wrong-identity', `This is peer ${me.peerId}, not ${hello.expectPeerId}`, {
        advice: 'Check --advertise: two peers may claim one address',
      });
    }
    if (hello.expectStoreId !== undefined && hello.expectStoreId !== me.storeId) {
      refuse('wrong-identity', `This peer has store ${me.storeId}, not ${hello.expectStoreId}: its folder is another`, {
        advice: 'Fetch a newer cluster map',
      });
    }
  }

  #replaceOlder(hello: HelloRequest, session: Session): void {
    const caller = callerOf(hello);
    if (caller === undefined) return;
    const { generation, incarnation = 0 } = hello;
    const before = this.#newest.get(caller);
    if (before !== undefined) {
      const isNewer =
        incarnation > before.incarnation || (incarnation === before.incarnation && generation > before.generation);
      if (!isNewer) refuse('wrong-identity', 'A newer connection of the same caller has been seen');
      before.session?.close('replaced by a newer connection of the same caller');
    }
    this.#newest.set(caller, { incarnation, generation, session, closedAtMs: 0 });
  }
}

function callerOf(hello: HelloRequest): string | undefined {
  const lane = hello.lane ?? '';
  switch (hello.role) {
    case 'client':
      return hello.clientId === undefined ? undefined : `client ${toHex(hello.clientId)} ${lane}`;
    case 'peer':
      return `peer ${hello.peerId} ${hello.storeId} ${lane}`;
    case 'master':
      return undefined;
  }
}

function checkPeer(hello: HelloRequest, map: ClusterMap | undefined): void {
  const peer = map === undefined || hello.peerId === undefined ? undefined : peerOf(map, hello.peerId);
  if (peer === undefined) refuse('wrong-identity', `Peer ${hello.peerId ?? '?'} is not in the map known here`);
  if (peer.storeId !== hello.storeId) {
    refuse('wrong-identity', `Peer ${peer.id} has store ${peer.storeId} in the map known here, not ${hello.storeId}`);
  }
  if ((hello.incarnation ?? 0) < peer.incarnation) {
    refuse('wrong-identity', `Peer ${peer.id} has been started again since: this is an older process`);
  }
}
