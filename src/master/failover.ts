/**
 * What follows from membership's verdicts: who is marked down or up in the map, and when dead primaries are replaced.
 *
 * Promoted is only a member of the committed in-sync set, with the store the map names, that answered a ping sent
 * *after* the newest death was noticed; whoever answered before may have died of the same cause. Without one the slot
 * waits for its holder, for ever if need be (S1). Backups that died are left for their primaries to judge: were they
 * taken out here while their primary is dying too, nobody who has everything would be left in the set. Pure; which of
 * several candidates is chosen is the map's matter (src/cluster/membership.ts). Serves S3, S8.
 */
import { backupsOf, type ClusterMap, isRunning } from '../cluster/map.js';
import type { PeerId } from '../core/ids.js';
import { timing } from '../core/timing.js';
import { type Membership, neverAnswered } from './membership.js';

export interface Failover {
  readonly down: readonly PeerId[];
  readonly up: readonly PeerId[];
  /** Answered since the newest death: these may lead. */
  readonly answered: ReadonlySet<PeerId>;
  /** Members whose pong would decide something: ping them now. */
  readonly ask: readonly PeerId[];
  /** When the newest death was noticed. */
  readonly deathMs: number;
  /** False: wait for the pongs asked for, so that marking down and promoting is one change of the map. */
  readonly isDecided: boolean;
}

/** What the map should say of its dead and returned that it does not say already. */
export function decideFailover(map: ClusterMap, membership: Membership, nowMs: number): Failover {
  const { members } = membership;
  const isDown = (peer: PeerId | undefined): boolean => peer !== undefined && members.get(peer)?.state === 'down';
  let deathMs = Number.NEGATIVE_INFINITY;
  for (const member of members.values()) if (member.state === 'down') deathMs = Math.max(deathMs, member.sinceMs);
  const answeredMs = (peer: PeerId): number => {
    const member = members.get(peer);
    return member === undefined || member.state === 'down' ? neverAnswered : member.answeredMs;
  };
  const hasAnswered = (peer: PeerId): boolean => answeredMs(peer) > Math.max(deathMs, neverAnswered);

  const down = map.peers.filter((peer) => isRunning(peer) && isDown(peer.id)).map((peer) => peer.id);
  const up = map.peers.filter((peer) => peer.state === 'down' && answeredMs(peer.id) > neverAnswered);
  const ask = new Set<PeerId>();
  let candidatesAnswered = 0;
  for (const record of map.slots) {
    if (!isDown(record.primary)) continue;
    for (const peer of backupsOf(record)) {
      if (hasAnswered(peer)) candidatesAnswered += 1;
      else if (!isDown(peer)) ask.add(peer);
    }
  }
  const sinceDeathMs = nowMs - deathMs;
  const isPatienceOver = candidatesAnswered > 0 && sinceDeathMs >= timing.failoverPatienceMs;
  return {
    down,
    up: up.map((peer) => peer.id),
    answered: new Set(map.peers.map((peer) => peer.id).filter(hasAnswered)),
    ask: [...ask],
    deathMs,
    isDecided: ask.size === 0 || isPatienceOver || sinceDeathMs >= timing.downAfterMs,
  };
}
