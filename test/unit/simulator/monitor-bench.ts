/**
 * A monitor over made-up disks and processes: one slot, and peers that do as they are told.
 */
import type { ClusterMap, SlotRecord } from '../../../src/cluster/map.js';
import { type PeerId, type TimedId, toTimedId, type Version } from '../../../src/core/ids.js';
import type { LedView, Moment } from '../../../src/core/probe.js';
import {
  encodeValue,
  encodeVersion,
  keyOfName,
  keyOfSegment,
  nowhere,
  type Placed,
  type StoredEntry,
  toEntry,
} from '../../../src/peer/entry.js';
import { encodeNumber, idKey, seal, slotKey } from '../../../src/peer/index-layout.js';
import { Monitor, type Teller } from '../../simulator/checks/monitor.js';
import { peerRecord, plainMap } from '../cluster/fixtures.js';

export const uploadId = toTimedId({ atMs: 1000, random: new Uint8Array(10).fill(3) });
export const requestId = toTimedId({ atMs: 2000, random: new Uint8Array(10).fill(4) });
const bucket = 'files';
const name = 'a';
export const nameKey = keyOfName({ bucket, name });
export const segmentKey = keyOfSegment(uploadId, 1);

export function version(epoch: number, counter: number): Version {
  return { epoch, counter };
}

/** The only file there is. */
export function recordOf(of: Version, shape: { segments?: number; placed?: Placed } = {}): StoredEntry {
  const { segments = 1, placed = nowhere } = shape;
  const times = { createdAtMs: 0, modifiedAtMs: 0 };
  const content = { size: 5, checksum: new Uint8Array(8), segmentBytes: 1024, segments, uploadId, metadata: {} };
  return { ...toEntry(nameKey, 'record', of, { bucket, name, ...content, ...times }), placed };
}

export function tombstoneOf(of: Version): StoredEntry {
  return { ...toEntry(nameKey, 'tombstone', of, { bucket, name, deletedAtMs: 0 }), placed: nowhere };
}

export function segmentOf(of: Version): StoredEntry {
  const body = { bucket, name, uploadId, index: 1, storedAtMs: 0 };
  return { ...toEntry(segmentKey, 'segment', of, body), placed: nowhere };
}

interface WriteOptions {
  readonly on?: readonly PeerId[];
  readonly durable?: readonly PeerId[];
  readonly requestId?: TimedId;
}

export class Bench {
  readonly complaints: string[] = [];
  readonly monitor: Monitor;
  readonly #tellers = new Map<string, Teller>();
  readonly #dead = new Set<string>();
  nowMs = 0;
  map: ClusterMap | undefined;

  constructor(options: { reads?: 'lease' | 'confirm'; minInSync?: number } = {}) {
    const { reads = 'lease', minInSync = 1 } = options;
    const world = { nowMs: () => this.nowMs, complain: (text: string) => void this.complaints.push(text) };
    this.monitor = new Monitor(world, { reads });
    for (const peer of ['p1', 'p2', 'p3']) this.start(peer);
    this.commitMap({ primary: 'p1', inSync: ['p1', 'p2'] }, { minInSync });
  }

  teller(host: string): Teller {
    const known = this.#tellers.get(host);
    if (known !== undefined) return known;
    const disk = this.monitor.diskOf(host);
    const teller = { name: host, disk, nowMs: () => this.nowMs, isDead: () => this.#dead.has(host) };
    this.#tellers.set(host, teller);
    return teller;
  }

  /** A process begins: its store says who it is. */
  start(peer: PeerId, options: { storeId?: string; incarnation?: number } = {}): void {
    const { storeId = storeOf(peer), incarnation = 1 } = options;
    const key = Buffer.from('store');
    const value = seal(key, Buffer.from(JSON.stringify({ storeId, incarnation })));
    this.teller(peer).disk.onIndexDurable([{ table: 'meta', key, value }]);
  }

  at(host: string, moment: Moment): void {
    this.monitor.at(this.teller(host), moment);
  }

  /** The next map, with this record of its slot; durable at the master and promised by all. */
  commitMap(slot: Partial<SlotRecord>, pool: { minInSync?: number } = {}): ClusterMap {
    const before = this.map;
    const after = this.nextMap(slot, pool);
    this.at('master', { point: 'mapChanging', before, after });
    this.at('master', { point: 'mapCommitted', before, after });
    this.map = after;
    for (const peer of ['p1', 'p2', 'p3']) this.promise(peer, after.epoch);
    return after;
  }

  nextMap(slot: Partial<SlotRecord>, pool: { minInSync?: number } = {}): ClusterMap {
    const before = this.map;
    const epoch = (before?.epoch ?? 0) + 1;
    const peers = ['p1', 'p2', 'p3'].map((id) => {
      return { ...peerRecord(1), id, storeId: storeOf(id), address: `${id}:7421`, zone: id };
    });
    const old = before?.slots[0] ?? { slotEpoch: epoch, term: epoch, primary: 'p1', inSync: ['p1'], joining: [] };
    const isLedAnew = slot.primary !== undefined && slot.primary !== old.primary;
    const record = { ...old, slotEpoch: epoch, term: isLedAnew ? epoch : old.term, ...slot };
    const minInSync = pool.minInSync ?? before?.pool.minInSync ?? 1;
    return {
      ...plainMap,
      ...{ epoch, peers, pool: { name: 'default', replicas: 2, minInSync }, slots: [record] },
    };
  }

  promise(peer: PeerId, slotEpoch: number): void {
    const key = slotKey(0);
    const value = seal(key, encodeNumber(slotEpoch));
    this.teller(peer).disk.onIndexDurable([{ table: 'promises', key, value }]);
  }

  /** Becomes durable on these disks. */
  store(peers: readonly PeerId[], entry: StoredEntry): void {
    const write = { table: 'entries', key: entry.key, value: encodeValue(entry) } as const;
    for (const peer of peers) this.teller(peer).disk.onIndexDurable([write]);
  }

  drop(peer: PeerId, key: Uint8Array): void {
    this.teller(peer).disk.onIndexDurable([{ table: 'entries', key, value: undefined }]);
  }

  storeId(peer: PeerId, of: Version): void {
    const key = idKey(nameKey, requestId);
    const value = seal(key, Buffer.concat([encodeVersion(of), new Uint8Array(8)]));
    this.teller(peer).disk.onIndexDurable([{ table: 'ids', key, value }]);
  }

  /** A change as the primary `by` makes it: on `at` first, then its own, then the answer. */
  write(by: PeerId, entry: StoredEntry, options: WriteOptions = {}): void {
    const { on = ['p1', 'p2'], durable = ['p1', 'p2'], requestId: asked } = options;
    this.store(on, entry);
    const record = this.map?.slots[0];
    const facts = { slot: 0, term: record?.term ?? 0, slotEpoch: record?.slotEpoch ?? 0 };
    const about = { ...facts, key: entry.key, version: entry.version, ...(asked && { requestId: asked }) };
    this.at(by, { point: 'ownEntryCommitted', ...about });
    this.at(by, { point: 'acknowledging', ...about, durable });
  }

  read(by: PeerId, term: number, found: StoredEntry | undefined): void {
    const at = { point: 'readCurrent', slot: 0, term, key: nameKey } as const;
    this.at(by, { ...at, found: found === undefined ? { state: 'absent' } : { state: 'present', entry: found } });
  }

  /** The slot in a term of a peer, which begins to serve. */
  serve(peer: PeerId, view: Partial<Mutable<LedView>> = {}): Mutable<LedView> {
    const led: Mutable<LedView> = {
      slot: 0,
      term: this.map?.slots[0]?.term ?? 0,
      phase: 'serving',
      isAlone: () => false,
      leaseUntilMs: () => 0,
      ...view,
    };
    this.at(peer, { point: 'serving', led });
    return led;
  }

  kill(host: string): void {
    this.#dead.add(host);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export function storeOf(peer: PeerId): string {
  return `store of ${peer}`;
}
