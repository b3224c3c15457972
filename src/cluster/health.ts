/**
 * How well the cluster is, in counts and in sentences for people.
 *
 * A slot is whole with `replicas` copies in sync on peers that are up, degraded with fewer, unavailable while its
 * primary is down, or nobody may lead it. The cluster is as its worst slot is. Pure.
 */
import type { PeerId, SlotNumber } from '../core/ids.js';
import { areTooManyAway } from './absence.js';
import { type ClusterMap, isRunning, isWaiting, namedIn, peerOf, type SlotRecord } from './map.js';
import type { Placement } from './placement.js';

export type HealthState = 'healthy' | 'degraded' | 'unavailable';

export interface PeerLoad {
  readonly primarySlots: number;
  readonly backupSlots: number;
  readonly joiningSlots: number;
}

export interface Health {
  readonly health: HealthState;
  /** Why it is not healthy, worst first; empty when it is. */
  readonly reasons: readonly string[];
  readonly slots: {
    readonly total: number;
    readonly whole: number;
    readonly degraded: number;
    readonly unavailable: number;
  };
  /** Slots of which two copies in sync share a zone: as safe as one host. */
  readonly sharedZoneSlots: readonly SlotNumber[];
}

export function healthOf(map: ClusterMap, wanted: Placement): Health {
  const running = new Set(map.peers.filter(isRunning).map((peer) => peer.id));
  const states = map.slots.map((record) => stateOf(record, { running, replicas: map.pool.replicas }));
  const countOf = (state: SlotState): number => states.filter((other) => other === state).length;
  const slots = {
    total: map.slots.length,
    whole: countOf('whole'),
    degraded: countOf('degraded'),
    unavailable: countOf('unavailable'),
  };
  const health = slots.unavailable > 0 ? 'unavailable' : slots.degraded > 0 ? 'degraded' : 'healthy';
  return { health, reasons: reasonsOf(map, wanted, { running, states }), slots, sharedZoneSlots: sharedZoneSlots(map) };
}

/** How many slots each peer leads, backs up and joins. */
export function peerLoads(map: ClusterMap): ReadonlyMap<PeerId, PeerLoad> {
  const loads = new Map(map.peers.map((peer) => [peer.id, { primarySlots: 0, backupSlots: 0, joiningSlots: 0 }]));
  const count = (id: PeerId, role: keyof PeerLoad): void => {
    const load = loads.get(id);
    if (load !== undefined) load[role]++;
  };
  for (const record of map.slots) {
    for (const id of record.inSync) count(id, id === record.primary ? 'primarySlots' : 'backupSlots');
    for (const id of record.joining) count(id, 'joiningSlots');
  }
  return loads;
}

type SlotState = 'whole' | 'degraded' | 'unavailable';

function stateOf(record: SlotRecord, on: { running: ReadonlySet<PeerId>; replicas: number }): SlotState {
  if (record.primary === undefined || !on.running.has(record.primary)) return 'unavailable';
  return liveCopies(record, on.running) >= on.replicas ? 'whole' : 'degraded';
}

function liveCopies(record: SlotRecord, running: ReadonlySet<PeerId>): number {
  return record.inSync.filter((id) => running.has(id)).length;
}

function sharedZoneSlots(map: ClusterMap): readonly SlotNumber[] {
  const zones = new Map(map.peers.map((peer) => [peer.id, peer.zone]));
  return map.slots.flatMap((record, slot) =>
    new Set(record.inSync.map((id) => zones.get(id))).size < record.inSync.length ? [slot] : [],
  );
}

function reasonsOf(
  map: ClusterMap,
  wanted: Placement,
  on: { running: ReadonlySet<PeerId>; states: readonly SlotState[] },
): readonly string[] {
  const { running, states } = on;
  const { replicas, minInSync } = map.pool;
  if (map.peers.length === 0) return ['No peer has joined yet'];
  const waiting = new Tally();
  const unheard = new Tally();
  const absent = new Tally();
  const unplaced = new Tally();
  let readOnlyCount = 0;
  for (const [slot, record] of map.slots.entries()) {
    const live = liveCopies(record, running);
    const copies = `${live} of ${replicas} copies`;
    if (isWaiting(record)) unheard.add(unheardIn(map, record), copies);
    else if (states[slot] === 'unavailable')
      waiting.add(record.inSync.map((id) => nameOf(map, id)).join(' or '), copies);
    if (states[slot] !== 'degraded') continue;
    if (live < minInSync) readOnlyCount++;
    const missing = missingFrom(record, wanted[slot] ?? [], running);
    for (const id of missing) absent.add(id, copies);
    if (missing.length === 0) unplaced.add('', copies);
  }
  const readOnly = `${slotsText(readOnlyCount)} read-only: fewer than ${minInSync} copies in sync`;
  const absentIds = [...absent.keys()].sort((a, b) => Number(running.has(a)) - Number(running.has(b)));
  return [
    ...[...unheard.keys()].map(
      (names) =>
        `The map was recovered without ${names}, which may know of newer changes: start it, or see ` +
        `dfs-master recover --help. Until then ${unheard.text(names)} and nobody to serve them`,
    ),
    ...[...waiting.keys()].map(
      (names) => `Nobody in sync can be reached, ${names} must return: ${waiting.text(names)}`,
    ),
    ...(readOnlyCount > 0 ? [readOnly] : []),
    ...absentIds.map((id) => {
      const what = running.has(id) ? 'is getting its copies' : 'is down';
      return `Peer ${nameOf(map, id)} ${what}: ${absent.text(id)}`;
    }),
    ...(absent.size > 0 && areTooManyAway(map)
      ? ['More than half of the peers are away: nothing is copied anew until some return, or dfs repair --peer ID']
      : []),
    ...[...unplaced.keys()].map((key) => `There are too few peers for ${replicas} copies: ${unplaced.text(key)}`),
  ];
}

function unheardIn(map: ClusterMap, record: SlotRecord): string {
  const unheard = namedIn(record).filter((id) => peerOf(map, id)?.state === 'awaited');
  return unheard.map((id) => nameOf(map, id)).join(' and ');
}

/** Whose copies a slot lacks: members that are down, and wanted ones that are not in sync. */
function missingFrom(record: SlotRecord, wish: readonly PeerId[], running: ReadonlySet<PeerId>): readonly PeerId[] {
  const down = record.inSync.filter((id) => !running.has(id));
  const expected = wish.filter((id) => !record.inSync.includes(id));
  return [...down, ...expected];
}

function nameOf(map: ClusterMap, id: PeerId): string {
  return `${id} (${peerOf(map, id)?.address ?? 'unknown'})`;
}

function slotsText(count: number): string {
  return count === 1 ? '1 slot is' : `${count} slots are`;
}

/** Counts slots by what is told about them, in order of first mention. */
class Tally {
  readonly #counts = new Map<string, Map<string, number>>();

  add(key: string, copies: string): void {
    const counts = this.#counts.get(key) ?? new Map<string, number>();
    counts.set(copies, (counts.get(copies) ?? 0) + 1);
    this.#counts.set(key, counts);
  }

  get size(): number {
    return this.#counts.size;
  }

  keys(): IterableIterator<string> {
    return this.#counts.keys();
  }

  /** "341 slots have 1 of 2 copies, 1 slot has 0 of 2 copies" */
  text(key: string): string {
    const counts = this.#counts.get(key) ?? new Map<string, number>();
    const texts = [...counts].map(([copies, count]) => `${count} ${count === 1 ? 'slot has' : 'slots have'} ${copies}`);
    return texts.join(', ');
  }
}
