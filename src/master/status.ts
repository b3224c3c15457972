/**
 * The cluster as `dfs status --json` and `dfs peers --json` show it, pure over what the master knows. The fields are a
 * contract: docs/command-line.md lists them.
 */
import { healthOf, peerLoads } from '../cluster/health.js';
import { type ClusterMap, isRunning, type PeerMode, type PeerRecord, type PeerState } from '../cluster/map.js';
import type { Placement } from '../cluster/placement.js';
import { missingCopies, unsettledSlots } from '../cluster/planner.js';
import type { Address, PeerId } from '../core/ids.js';
import { toIsoTime } from '../core/iso-time.js';
import { type Condition, type PeerFigures, sentenceOfCondition } from './conditions.js';
import type { Membership } from './membership.js';
import type { Heard } from './peer-watch.js';
import type { FailingCopy } from './planning.js';

export interface StatusView {
  readonly map: ClusterMap | undefined;
  readonly membership: Membership;
  heardFrom(peer: PeerId): Heard | undefined;
  conditionOf(peer: PeerId): Condition;
  figuresOf(peer: PeerId): PeerFigures;
  readonly wanted: Placement;
  readonly bytesPerSecond: number;
  /** Copies that were given up and wait for their next turn. */
  readonly failing: readonly FailingCopy[];
  /** How many there are. */
  readonly checkpoints: number;
  readonly masterAddress: Address;
  /** What a cluster that is yet to be made will have. */
  readonly settings: { readonly replicas: number; readonly minInSync: number; readonly slotCount: number };
  readonly uptimeMs: number;
  readonly nowMs: number;
}

export function toStatus(view: StatusView): object {
  const { map, settings } = view;
  const master = { address: view.masterAddress };
  const uptimeSeconds = Math.floor(view.uptimeMs / 1000);
  if (map === undefined) {
    return {
      clusterId: null,
      epoch: 0,
      health: 'unavailable',
      reasons: ['No peer has joined yet'],
      replicas: settings.replicas,
      minInSync: settings.minInSync,
      uptimeSeconds,
      files: 0,
      bytes: { logical: 0, stored: 0 },
      master,
      peers: [],
      slots: { total: settings.slotCount, whole: 0, degraded: 0, unavailable: settings.slotCount },
      repair: { slotsLeft: 0, bytesLeft: 0, bytesPerSecond: 0, etaSeconds: null, failing: [] },
      moves: { slotsLeft: 0, isPaused: false },
      checkpoints: { count: view.checkpoints, keptBytes: 0 },
    };
  }
  const { health, reasons, slots } = healthOf(map, view.wanted);
  const { slotsLeft, bytesLeft } = repairLeft(view);
  const { bytesPerSecond } = view;
  return {
    clusterId: map.clusterId,
    epoch: map.epoch,
    health,
    reasons: [...reasons, ...conditionsOf(map, view)],
    replicas: map.pool.replicas,
    minInSync: map.pool.minInSync,
    uptimeSeconds,
    files: sumOfPongs(view, (heard) => heard.pong.files),
    bytes: {
      logical: sumOfPongs(view, (heard) => heard.pong.logicalBytes),
      stored: sumOfPongs(view, (heard) => heard.pong.storedBytes),
    },
    master,
    peers: toPeerStatuses(map, view),
    slots,
    repair: {
      slotsLeft,
      bytesLeft,
      bytesPerSecond: slotsLeft === 0 ? 0 : bytesPerSecond,
      etaSeconds: slotsLeft === 0 ? 0 : bytesPerSecond > 0 ? Math.ceil(bytesLeft / bytesPerSecond) : null,
      failing: view.failing,
    },
    moves: { slotsLeft: unsettledSlots(map, view.wanted).length, isPaused: map.movesPaused },
    checkpoints: { count: view.checkpoints, keptBytes: sumOfPongs(view, (heard) => heard.pong.keptBytes ?? 0) },
  };
}

function toPeerStatuses(map: ClusterMap, view: StatusView): readonly object[] {
  const loads = peerLoads(map);
  return map.peers.map((peer) => {
    const heard = view.heardFrom(peer.id);
    return {
      id: peer.id,
      address: peer.address,
      zone: peer.zone,
      weight: peer.weight,
      state: stateOf(peer, view.membership),
      mode: peer.mode,
      isOut: peer.isOut,
      storeId: peer.storeId,
      incarnation: peer.incarnation,
      ...(loads.get(peer.id) ?? { primarySlots: 0, backupSlots: 0, joiningSlots: 0 }),
      files: heard?.pong.files ?? null,
      bytes: heard?.pong.storedBytes ?? null,
      keptBytes: heard?.pong.keptBytes ?? null,
      freeBytes: heard?.pong.freeBytes ?? null,
      totalBytes: heard?.pong.totalBytes ?? null,
      fullness: heard === undefined ? null : view.conditionOf(peer.id).fullness,
      isSlow: view.conditionOf(peer.id).slowBy.length > 0,
      latency: latencyOf(peer.id, heard, view),
      damaged: heard?.pong.damaged ?? null,
      verifiedSince: verifiedSince(heard),
      lastHeardMs: heard === undefined ? null : Math.round(view.nowMs - heard.atMs),
    };
  });
}

/** Whose disk an operator should look at; none of it makes the cluster less healthy. */
function conditionsOf(map: ClusterMap, view: StatusView): readonly string[] {
  return map.peers.flatMap(({ id }) => {
    const { fullness, pace } = sentenceOfCondition(id, view.conditionOf(id), view.figuresOf(id));
    return [fullness, pace].filter((sentence) => sentence !== undefined);
  });
}

function latencyOf(peer: PeerId, heard: Heard | undefined, view: StatusView): object {
  const { readMedianMs = null, readP99Ms = null, syncMedianMs = null, syncP99Ms = null } = heard?.pong ?? {};
  return { readMedianMs, readP99Ms, syncMedianMs, syncP99Ms, pingP99Ms: view.figuresOf(peer).paces.pings ?? null };
}

/** ISO 8601; null: not everything yet, or not known. */
function verifiedSince(heard: Heard | undefined): string | null {
  const sinceMs = heard?.pong.verifiedSinceMs ?? 0;
  return sinceMs === 0 ? null : toIsoTime(sinceMs);
}

type ShownState = PeerState | 'suspect' | Exclude<PeerMode, 'normal'>;

/** What the map says, unless the judgement is ahead of it; of a peer that is well, what is wanted of it. */
function stateOf(peer: PeerRecord, membership: Membership): ShownState {
  if (peer.state !== 'up') return peer.state;
  const judged = membership.members.get(peer.id)?.state;
  if (judged === 'suspect' || judged === 'down') return judged;
  return peer.mode === 'normal' ? 'up' : peer.mode;
}

function sumOfPongs(view: StatusView, measure: (heard: Heard) => number): number {
  let sum = 0;
  for (const peer of view.map?.peers ?? []) {
    const heard = isRunning(peer) ? view.heardFrom(peer.id) : undefined;
    if (heard !== undefined) sum += measure(heard);
  }
  return sum;
}

/** Slots that lack a wanted copy, and about how many bytes those copies have. */
export function repairLeft(view: StatusView): { slotsLeft: number; bytesLeft: number } {
  const { map } = view;
  if (map === undefined) return { slotsLeft: 0, bytesLeft: 0 };
  const missing = missingCopies(map, view.wanted);
  const copies = map.slots.reduce((sum, record) => sum + record.inSync.length, 0);
  const stored = sumOfPongs(view, (heard) => heard.pong.storedBytes);
  return {
    slotsLeft: new Set(missing.map(({ slot }) => slot)).size,
    bytesLeft: copies === 0 ? 0 : Math.round((stored / copies) * missing.length),
  };
}

const rateOverMs = 5000;

/** How fast the bytes left become fewer, over the last seconds. */
export class RepairProgress {
  #notes: { readonly bytesLeft: number; readonly atMs: number }[] = [];

  note(bytesLeft: number, atMs: number): void {
    this.#notes = this.#notes.filter((note) => atMs - note.atMs <= rateOverMs);
    this.#notes.push({ bytesLeft, atMs });
  }

  get bytesPerSecond(): number {
    const [first, last] = [this.#notes[0], this.#notes.at(-1)];
    if (first === undefined || last === undefined || last.atMs === first.atMs) return 0;
    return Math.max(0, Math.round(((first.bytesLeft - last.bytesLeft) / (last.atMs - first.atMs)) * 1000));
  }
}
