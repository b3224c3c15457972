/** How the cluster's health and its peers are shown. */
import type { ClusterStatus, PeerStatus } from '../client/results.js';
import { printable } from './escaping.js';
import type { Paint } from './paint.js';
import { alignColumns, formatBytes, formatDuration, plural } from './units.js';

export function toPeerJson(peer: PeerStatus): object {
  const { id, address, zone, weight, state, mode, isOut, storeId, incarnation } = peer;
  const { primarySlots, backupSlots, joiningSlots, files, bytes, keptBytes, freeBytes } = peer;
  const { damaged, verifiedSince, lastHeardMs } = peer;
  const { totalBytes, fullness, isSlow, latency } = peer;
  return {
    ...{ id, address, zone, weight, state, mode, isOut, storeId, incarnation },
    ...{ primarySlots, backupSlots, joiningSlots, files, bytes, keptBytes, freeBytes },
    ...{ damaged, verifiedSince, lastHeardMs },
    ...{ totalBytes, fullness, isSlow, latency },
  };
}

const peerHeadings = ['PEER', 'ADDRESS', 'ZONE', 'STATE', 'PRIMARY', 'BACKUP', 'JOINING', 'FILES', 'STORED', 'FREE'];
const rightAligned = [4, 5, 6, 7, 8, 9];
const unknown = '–';

/** A table of peers, one a line, with a heading. */
export function toPeersText(peers: readonly PeerStatus[], paint: Paint): string {
  const rows = peers.map((peer) => [
    ...[peer.id, peer.address, printable(peer.zone), shownState(peer)],
    ...[peer.primarySlots, peer.backupSlots, peer.joiningSlots, peer.files ?? unknown].map(String),
    ...[peer.bytes, peer.freeBytes].map((bytes) => (bytes === null ? unknown : formatBytes(bytes))),
  ]);
  const [heading = '', ...lines] = alignColumns([peerHeadings, ...rows], rightAligned).split('\n');
  const judged = lines.map((line, index) => (peers[index]?.state === 'up' ? line : paint.warning(line)));
  return [paint.dim(heading), ...judged].join('\n');
}

function shownState({ state, isOut, fullness, isSlow }: PeerStatus): string {
  const isFilling = fullness === 'soft-full' || fullness === 'full';
  return [state, ...(isOut ? ['out'] : []), ...(isFilling ? [fullness] : []), ...(isSlow ? ['slow'] : [])].join(', ');
}

export function toStatusText(status: ClusterStatus, paint: Paint): string {
  const { slots, repair, bytes } = status;
  const colours = { healthy: paint.good, degraded: paint.warning, unavailable: paint.bad };
  const rows = [
    ['cluster', `${status.clusterId ?? 'not created yet'}, epoch ${status.epoch}`],
    ['master', `${status.master.address}, up ${formatDuration(status.uptimeSeconds)}`],
    ['copies', `${status.replicas} wanted, ${plural(status.minInSync, 'copy', 'copies')} needed to acknowledge`],
    ['files', `${status.files}, ${formatBytes(bytes.logical)} (${formatBytes(bytes.stored)} stored)`],
    ['slots', `${slots.whole} of ${slots.total} whole, ${slots.degraded} degraded, ${slots.unavailable} unavailable`],
  ];
  if (repair.slotsLeft > 0) rows.push(['repair', toRepairText(repair)]);
  const movesLeft = status.moves.slotsLeft - repair.slotsLeft;
  if (status.moves.isPaused) rows.push(['moves', 'paused: only missing copies are made (dfs moves resume)']);
  else if (movesLeft > 0) rows.push(['moves', `${plural(movesLeft, 'slot')} still to be moved or handed over`]);
  const { count, keptBytes } = status.checkpoints;
  if (count > 0) rows.push(['checkpoints', `${count}, ${formatBytes(keptBytes)} kept for them alone`]);
  return [
    colours[status.health](paint.bold(status.health)),
    ...status.reasons.map((reason) => `  ${printable(reason)}`),
    alignColumns(rows),
    '',
    toPeersText(status.peers, paint),
  ].join('\n');
}

function toRepairText(repair: ClusterStatus['repair']): string {
  const left = `${plural(repair.slotsLeft, 'slot')} and ${formatBytes(repair.bytesLeft)} left`;
  const rate = repair.bytesPerSecond > 0 ? `, ${formatBytes(repair.bytesPerSecond)}/s` : '';
  const eta = repair.etaSeconds === null ? '' : `, ETA ${formatDuration(repair.etaSeconds)}`;
  const failing = repair.failing.length === 0 ? '' : `; ${repair.failing.length} fail again and again (--json)`;
  return `${left}${rate}${eta}${failing}`;
}
