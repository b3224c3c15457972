/**
 * Who may come in: the hello of peers and clients, and a peer's request to join.
 *
 * An empty store never makes a new cluster over an old one: as soon as any peer of a cluster has said hello, the only
 * way on is the data folder that the master had. Two processes with copies of one data folder are told apart by asking
 * the address the map knows: as long as the one there answers, the other is refused. Serves S10, F9, F11.
 */
import { type ClusterMap, isWaiting, type PeerRecord, peerOf } from '../cluster/map.js';
import { type ClusterSettings, createCluster, type Joined, withPeerJoined } from '../cluster/membership.js';
import { assertDefined } from '../core/assert.js';
import type { Environment } from '../core/environment.js';
import { refuse } from '../core/errors.js';
import type { PeerId } from '../core/ids.js';
import { timing } from '../core/timing.js';
import type { RequestOf } from '../protocol/messages.js';
import { openSession } from '../protocol/session.js';

export type Hello = RequestOf<'hello'>;
export type JoinRequest = RequestOf<'join'>;

const storeAdvice =
  'Start the master over the data folder it had. If that is lost: dfs-master recover --peer HOST:PORT (of any peer)';

/** Refuses whoever belongs elsewhere; `map` is undefined while there is no cluster. */
export function checkHello(hello: Hello, map: ClusterMap | undefined): void {
  if (hello.role === 'master') refuse('denied', 'Another master called; only peers and clients connect to a master');
  if (map === undefined) {
    if (hello.clusterId !== undefined) refuseForEmptyStore(hello.clusterId);
    return;
  }
  if (hello.clusterId !== undefined && hello.clusterId !== map.clusterId) {
    refuse('wrong-cluster', `This master leads cluster ${map.clusterId}, the caller belongs to ${hello.clusterId}`, {
      advice:
        hello.role === 'peer'
          ? 'Point the peer at the master of its own cluster, or start it on an empty data folder'
          : 'Point the client at its own cluster, or let it forget the other one by another --cache folder',
    });
  }
  const known = hello.role === 'peer' && hello.peerId !== undefined ? peerOf(map, hello.peerId) : undefined;
  if (known !== undefined && known.storeId === hello.storeId && (hello.incarnation ?? 0) < known.incarnation) {
    refuse(
      'wrong-identity',
      `Start ${hello.incarnation} of ${known.id} called, but start ${known.incarnation} has joined`,
      {
        advice: 'Two processes may be using copies of one data folder: stop one of them',
      },
    );
  }
}

export function refuseForEmptyStore(clusterId: string): never {
  // `unavailable`, because the caller is right and should try again once the master has its data back.
  return refuse('unavailable', `This master's store is empty, but cluster ${clusterId} exists`, {
    advice: storeAdvice,
  });
}

/** The peer record that the joiner would take over although its process may still run, if there is one. */
function rivalOf(map: ClusterMap, join: JoinRequest): PeerRecord | undefined {
  const sameStore = map.peers.find((peer) => peer.storeId === join.storeId);
  if (sameStore !== undefined) return sameStore.address === join.address ? undefined : sameStore;
  const sameId = join.peerId === undefined ? undefined : peerOf(map, join.peerId);
  return sameId?.address === join.address ? undefined : sameId;
}

/**
 * Refuses `wrong-identity` when another process answers, at the address the map knows, as the peer that asks to join.
 * It answers within the time after which it would count as down.
 */
export async function refuseRival(
  environment: Environment,
  map: ClusterMap,
  at: { join: JoinRequest; masterIncarnation: number; generation: number },
): Promise<void> {
  const { join } = at;
  const rival = rivalOf(map, join);
  if (rival === undefined || rival.state === 'removed') return;
  const found = await startNumberAt(environment, map, { peer: rival, ...at });
  // The joiner itself may be reachable at its former address.
  const isJoiner = found === join.incarnation && join.incarnation > rival.incarnation && rival.storeId === join.storeId;
  if (found === undefined || isJoiner) return;
  refuse('wrong-identity', `${rival.id} runs at ${rival.address}; ${join.address} has a copy of its identity`, {
    advice: 'Stop one of the two, or start this one on an empty data folder to join as a new peer',
  });
}

async function startNumberAt(
  environment: Environment,
  map: ClusterMap,
  at: { peer: PeerRecord; masterIncarnation: number; generation: number },
): Promise<number | undefined> {
  const { peer, masterIncarnation, generation } = at;
  try {
    const session = await openSession(environment, peer.address, {
      hello: {
        role: 'master',
        lane: 'probe',
        generation,
        clusterId: map.clusterId,
        incarnation: masterIncarnation,
        expectPeerId: peer.id,
        expectStoreId: peer.storeId,
      },
      timeoutMs: timing.downAfterMs,
    });
    session.close('Only asked who is there');
    return session.remote.incarnation ?? 0;
  } catch (error) {
    environment.log.debug({ peer: peer.id, address: peer.address, error: String(error) }, 'Nobody answers there');
    return undefined;
  }
}

/** The map with the joiner in it; creates the cluster for the first peer of all. Refuses as `withPeerJoined` does. */
export function withArrival(
  map: ClusterMap | undefined,
  join: JoinRequest,
  on: { answered: ReadonlySet<PeerId>; newCluster: () => ClusterSettings },
): Joined {
  if (map === undefined && join.clusterId !== undefined) return refuseForEmptyStore(join.clusterId);
  const current = map ?? createCluster(on.newCluster());
  if (join.clusterId !== undefined && join.clusterId !== current.clusterId) {
    return refuse('wrong-cluster', `This master leads cluster ${current.clusterId}, not ${join.clusterId}`);
  }
  const { storeId, incarnation, address, zone, weight, peerId } = join;
  const isUnknown = current.peers.every((peer) => peer.storeId !== storeId);
  if (isUnknown && join.lineage !== undefined && join.lineage !== current.lineage) {
    const awaited = current.slots.some(isWaiting) ? current.peers.filter(mayKnow(peerId)) : [];
    if (awaited.length > 0) {
      const ids = awaited.map(({ id }) => id).join(', ');
      refuse('not-ready', `${peerId} joined by a map that is lost, and only ${ids} may know of it`, {
        advice: `Start ${ids}. Only if that cannot be: dfs-master recover --accept-missing ID, with the master stopped`,
      });
    }
    refuse('wrong-identity', `${peerId} joined by a map that is lost, and nobody who was heard knows of it`, {
      advice:
        'Start it on an empty data folder to join as a new peer. But if it may have what nobody else has, ' +
        'recover again with it running and the folder of this master put aside',
    });
  }
  const asked = { storeId, incarnation, address, zone, weight };
  const joined = withPeerJoined(current, peerId === undefined ? asked : { ...asked, peerId }, on.answered);
  return { ...joined, peer: assertDefined(peerOf(joined.map, joined.peer.id), 'A joined peer is in the map') };
}

/** Has yet to say what it knew of other peers. */
function mayKnow(peerId: PeerId | undefined) {
  return ({ id, state, mode }: PeerRecord): boolean => state === 'awaited' && mode !== 'set-aside' && id !== peerId;
}
