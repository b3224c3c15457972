/**
 * The fewest copies that must move to any placement with the same chain and the same shares, where no more slots get
 * another leader than these demand: a transportation problem, solved by shortest augmenting paths (Ford & Fulkerson).
 */

import type { Placement } from '../../../src/cluster/placement.js';
import type { PeerId } from '../../../src/core/ids.js';

/** Above all copies of all slots together. */
const newLeaderCost = 1e6;

/** Slots that are held alike, or to be. */
interface Group {
  readonly holders: readonly PeerId[];
  count: number;
}

export function leastChainedCopies(before: Placement, after: Placement): number {
  const sources = groupsOf(before);
  const targets = groupsOf(after);
  const costs = sources.map((source) => targets.map((target) => costOf(source.holders, target.holders)));
  const flow = sources.map(() => targets.map(() => 0));
  let total = 0;
  for (;;) {
    const path = cheapestPath({ sources, targets, costs, flow });
    if (path === undefined) return total % newLeaderCost;
    const amount = Math.min(
      sources[path.source]?.count ?? 0,
      targets[path.target]?.count ?? 0,
      ...path.steps.filter(({ isBack }) => isBack).map(({ source, target }) => flow[source]?.[target] ?? 0),
    );
    for (const { source, target, isBack } of path.steps) {
      const row = flow[source] as number[];
      row[target] = (row[target] ?? 0) + (isBack ? -amount : amount);
      total += (costs[source]?.[target] ?? 0) * (isBack ? -amount : amount);
    }
    (sources[path.source] as Group).count -= amount;
    (targets[path.target] as Group).count -= amount;
  }
}

function costOf(held: readonly PeerId[], wanted: readonly PeerId[]): number {
  const missing = wanted.filter((peer) => !held.includes(peer)).length;
  return held[0] === wanted[0] ? missing : missing + newLeaderCost;
}

function groupsOf(placement: Placement): Group[] {
  const groups = new Map<string, Group>();
  for (const holders of placement) {
    const key = holders.join();
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { holders, count: 1 });
    else group.count += 1;
  }
  return [...groups.values()];
}

interface Step {
  readonly source: number;
  readonly target: number;
  /** Takes back what was sent that way. */
  readonly isBack: boolean;
}

interface Path {
  readonly source: number;
  readonly target: number;
  readonly steps: readonly Step[];
}

/** From any source with something left to any target with room (Bellman & Ford). */
function cheapestPath(of: {
  sources: readonly Group[];
  targets: readonly Group[];
  costs: readonly (readonly number[])[];
  flow: readonly (readonly number[])[];
}): Path | undefined {
  const { sources, targets, costs, flow } = of;
  const toSource = sources.map(({ count }) => (count > 0 ? 0 : Infinity));
  const toTarget = targets.map(() => Infinity);
  const intoSource = sources.map((): number | undefined => undefined);
  const intoTarget = targets.map((): number | undefined => undefined);
  for (let hasChanged = true; hasChanged; ) {
    hasChanged = false;
    for (const [source, row] of costs.entries()) {
      for (const [target, cost] of row.entries()) {
        const there = (toSource[source] as number) + cost;
        if (there < (toTarget[target] as number)) {
          toTarget[target] = there;
          intoTarget[target] = source;
          hasChanged = true;
        }
        const back = (toTarget[target] as number) - cost;
        if ((flow[source]?.[target] ?? 0) > 0 && back < (toSource[source] as number)) {
          toSource[source] = back;
          intoSource[source] = target;
          hasChanged = true;
        }
      }
    }
  }
  let best: number | undefined;
  for (const [target, { count }] of targets.entries()) {
    if (count > 0 && (toTarget[target] as number) < (best === undefined ? Infinity : (toTarget[best] as number)))
      best = target;
  }
  if (best === undefined) return undefined;
  const steps: Step[] = [];
  for (let target = best; ; ) {
    const source = intoTarget[target] as number;
    steps.push({ source, target, isBack: false });
    const before = intoSource[source];
    if (before === undefined) return { source, target: best, steps };
    steps.push({ source, target: before, isBack: true });
    target = before;
  }
}

/** Copies that `after` wants and `before` has not. */
export function movedCopies(before: Placement, after: Placement): number {
  return after.reduce((sum, wanted, slot) => sum + wanted.filter((peer) => !before[slot]?.includes(peer)).length, 0);
}
