/**
 * The chain of peers: the backup of a peer's slots is the next one in it (chained declustering, Hsiao & DeWitt 1990).
 *
 * A circle that every peer enters at its joining, between the two where most neighbours are then in different zones,
 * and after those between the two where most next-but-ones are (the third copy). A peer that is not placed any more
 * just falls out of it. Only where that leaves fewer neighbours in different zones than possible are peers moved, the
 * latest first. So a join or leave changes one neighbour of most peers at most. All of it follows from the map alone.
 */
import type { PeerId } from '../core/ids.js';

interface Link {
  readonly id: PeerId;
  readonly zone: string;
  readonly isPlaced: boolean;
}

/** Ids of the placed peers in chain order; the last is followed by the first. `peers` are all, in order of joining. */
export function chainOf(peers: readonly Link[]): readonly PeerId[] {
  const history: Link[] = [];
  for (const peer of peers) history.splice(bestGap(history, peer), 0, peer);
  const placed = history.filter((peer) => peer.isPlaced);
  return withZonesApart(placed, peers).map((peer) => peer.id);
}

/** Pairs of neighbours in the circle that share a zone. */
export function sharedZoneCount(circle: readonly { zone: string }[]): number {
  if (circle.length < 2) return 0;
  return circle.filter((peer, index) => peer.zone === at(circle, index + 1).zone).length;
}

/** Where to enter: the index before which the peer is put. The circle's end when nothing speaks for another place. */
function bestGap(circle: readonly Link[], peer: Link): number {
  let best = circle.length;
  let bestGain = Number.NEGATIVE_INFINITY;
  for (let gap = circle.length; gap > 0; gap--) {
    const gain = gainOfGap(circle, gap, peer);
    if (gain > bestGain) {
      best = gap;
      bestGain = gain;
    }
  }
  return best;
}

/** How many more neighbours are in different zones, and in fractions of it, how many next-but-ones. */
function gainOfGap(circle: readonly Link[], gap: number, peer: Link): number {
  if (circle.length < 2) return 0;
  const before = at(circle, gap - 1);
  const after = at(circle, gap);
  const neighbours = differ(before, peer) + differ(peer, after) - differ(before, after);
  const beforeThat = at(circle, gap - 2);
  const afterThat = at(circle, gap + 1);
  const nextButOnes =
    differ(beforeThat, peer) +
    differ(before, after) +
    differ(peer, afterThat) -
    differ(beforeThat, after) -
    differ(before, afterThat);
  return neighbours + nextButOnes / 16;
}

/** Moves single peers into gaps between two of one zone as long as that leaves fewer such pairs. */
function withZonesApart(placed: readonly Link[], joinOrder: readonly Link[]): readonly Link[] {
  const circle = [...placed];
  const latestFirst = joinOrder.filter((peer) => peer.isPlaced).reverse();
  while (sharedZoneCount(circle) > leastSharedZones(circle)) {
    if (!latestFirst.some((peer) => movedApart(circle, peer))) break;
  }
  return circle;
}

function movedApart(circle: Link[], peer: Link): boolean {
  const from = circle.indexOf(peer);
  const before = sharedZoneCount(circle);
  circle.splice(from, 1);
  const gap = bestGap(circle, peer);
  circle.splice(gap, 0, peer);
  if (sharedZoneCount(circle) < before) return true;
  circle.splice(gap, 1);
  circle.splice(from, 0, peer);
  return false;
}

/** What no order of these peers can avoid: the largest zone's members that outnumber all others. */
export function leastSharedZones(circle: readonly { zone: string }[]): number {
  if (circle.length < 2) return 0;
  const counts = new Map<string, number>();
  for (const { zone } of circle) counts.set(zone, (counts.get(zone) ?? 0) + 1);
  const largest = Math.max(...counts.values());
  return Math.max(0, 2 * largest - circle.length);
}

function differ(a: Link, b: Link): number {
  return a.zone === b.zone ? 0 : 1;
}

function at<T>(circle: readonly T[], index: number): T {
  return circle[(index + circle.length) % circle.length] as T;
}
