/**
 * What `dfs-master recover` tells the operator: who has answered, what is served again, what waits and for whom, and
 * what to do next. Pure.
 */
import { type ClusterMap, isWaiting, peerOf } from '../cluster/map.js';
import { awaitedSlots } from '../cluster/recovery.js';
import { generationOf } from '../core/ids.js';
import type { Asked, Recovery } from './recovery.js';

/** Nothing waits for anybody. */
export function isComplete({ map }: Recovery): boolean {
  return !map.slots.some(isWaiting);
}

export function toText({ map, asked }: Recovery, { data }: { readonly data: string }): string {
  const waitingCount = map.slots.filter(isWaiting).length;
  const served = map.slots.length - waitingCount;
  return [
    `Cluster ${map.clusterId}: map ${map.epoch} (generation ${generationOf(map.epoch)}) is in ${data}`,
    ...asked.map((each) => `  ${each.at}  ${outcomeOf(map, each)}`),
    `${served} of ${map.slots.length} slots are served again as soon as the master runs.`,
    ...[...awaitedSlots(map)].flatMap(([peer, slots]) => awaitedText(map, { peer, slotCount: slots.length, data })),
    `Next: start the master over this folder, where the peers look for it: dfs-master --data ${data}`,
    'Never start the former master, or a copy of its folder, again: the peers refuse it, and it would stop.',
  ].join('\n');
}

function outcomeOf(map: ClusterMap, asked: Asked): string {
  if (!asked.isHeard) return `did not answer: ${asked.why}`;
  const { peer, map: theirs } = asked.answer;
  const counts = peerOf(map, peer)?.storeId === asked.answer.storeId;
  return counts
    ? `${peer} knew map ${theirs.epoch}`
    : `${peer} has another data folder than the cluster knew: not counted`;
}

function awaitedText(
  map: ClusterMap,
  of: { readonly peer: string; readonly slotCount: number; readonly data: string },
): readonly string[] {
  const { peer, slotCount, data } = of;
  const { address = '', mode } = peerOf(map, peer) ?? {};
  if (slotCount === 0) return [`${peer} (${address}) did not answer; nothing waits for it.`];
  const slots = slotCount === 1 ? '1 slot waits' : `${slotCount} slots wait`;
  if (mode === 'set-aside') {
    return [
      `${slots} for ${peer} (${address}), although it was given up: nobody else has all that was acknowledged there.`,
    ];
  }
  return [
    `${slots} for ${peer} (${address}): it may know of newer changes there. Nothing of them is lost; start it, and`,
    '  they come back when it has joined. Only if it is gone for good, with the master stopped:',
    `  dfs-master recover --accept-missing ${peer} --data ${data}   (what only ${peer} knew is lost)`,
  ];
}
