/**
 * Checks, at every step of a run, what must hold at every step.
 *
 * It hears of each named point that a process reaches and of each write that becomes durable on a disk, keeps its own
 * record of both, and complains in sentences. What is acknowledged, or was read as current, must be on every member of
 * the newest durable map from then on; so a loss is seen when it becomes possible, not when somebody reads. Nothing is
 * decided here by what a program believes, but for its own claim that it may answer.
 */
import { type ClusterMap, isWaiting, peerOf } from '../../../src/cluster/map.js';
import type { PeerId, SlotNumber, StoreId } from '../../../src/core/ids.js';
import type { Moment } from '../../../src/core/probe.js';
import { lostSlots } from './invariants-loss.js';
import { mapChangeComplaints, plannedComplaints } from './invariants-map.js';
import { SlotWatch } from './invariants-slot.js';
import { WatchedDisk } from './monitor-disk.js';

/** A process, as the monitor sees it. */
export interface Teller {
  readonly name: string;
  readonly disk: WatchedDisk;
  /** By its own clock. */
  nowMs(): number;
  isDead(): boolean;
}

export interface MonitorWorld {
  nowMs(): number;
  complain(text: string): void;
}

export interface MonitorOptions {
  /** How peers decide whether they may answer a read. */
  readonly reads: 'lease' | 'confirm';
}

/** After so many a run has failed; more would only hide the first. */
const complaintsMax = 20;

export class Monitor {
  readonly options: MonitorOptions;
  readonly #world: MonitorWorld;
  readonly #taken = new Map<string, ClusterMap>();
  readonly #disks = new Map<string, WatchedDisk>();
  readonly #slots = new Map<SlotNumber, SlotWatch>();
  #map: ClusterMap | undefined;
  /** The start of the master that made the map of each epoch. */
  readonly #madeBy = new Map<number, number>();
  #heardEpoch = 0;
  /** The newest map that each store had taken when its disk went. */
  readonly #goneAtEpoch = new Map<StoreId, number>();
  /** Slots whose other copies were dropped when the disk of the one that stays had gone, after it took the map. */
  readonly #droppedUnknowing = new Set<SlotNumber>();
  #complaints = 0;

  constructor(world: MonitorWorld, options: MonitorOptions = { reads: 'lease' }) {
    this.#world = world;
    this.options = options;
  }

  /** The highest epoch that a peer has taken. */
  get heardEpoch(): number {
    return this.#heardEpoch;
  }

  /** The newest map that the master made durable. */
  get map(): ClusterMap | undefined {
    return this.#map;
  }

  complain(text: string): void {
    if (++this.#complaints <= complaintsMax) this.#world.complain(`At ${this.#world.nowMs().toFixed(2)} ms: ${text}`);
  }

  /** The disk of a host, as the monitor knows it; the simulated disk is to tell it what happens there. */
  diskOf(host: string): WatchedDisk {
    let disk = this.#disks.get(host);
    if (disk === undefined) {
      disk = new WatchedDisk(host, {
        onEntry: (of, key, change) => this.#slotOfKey(key)?.onEntry(of, key, change),
        onId: (key, id) => this.#slotOfKey(key)?.changes.onId(key, id),
        onStore: (of) => this.#checkStore(of),
        onGone: ({ storeId, takenEpoch }) => void (storeId && this.#goneAtEpoch.set(storeId, takenEpoch)),
        complain: (text) => this.complain(text),
      });
      this.#disks.set(host, disk);
    }
    return disk;
  }

  diskOfStore(storeId: StoreId | undefined): WatchedDisk | undefined {
    if (storeId === undefined) return undefined;
    for (const disk of this.#disks.values()) if (disk.storeId === storeId) return disk;
    return undefined;
  }

  /** The store was on a disk that is gone for good. */
  isGone(storeId: StoreId): boolean {
    return this.diskOfStore(storeId) === undefined;
  }

  /** Slots of which every in-sync copy is gone for good. */
  lostSlots(): ReadonlySet<SlotNumber> {
    return this.#map === undefined ? new Set() : lostSlots(this.#map, (store) => this.isGone(store));
  }

  /** Lost otherwise than by a drop when the one that stays was gone already, as nobody could know. */
  lostUnexpectedly(): ReadonlySet<SlotNumber> {
    return new Set([...this.lostSlots()].filter((slot) => !this.#droppedUnknowing.has(slot)));
  }

  /** The newest map that a process has taken: what an operator changes holds for it from then on. */
  mapTakenBy(teller: Teller): ClusterMap | undefined {
    return this.#taken.get(teller.name);
  }

  /** A process has reached a point. */
  at(teller: Teller, moment: Moment): void {
    if (teller.isDead()) return;
    switch (moment.point) {
      case 'mapLoaded':
        this.#onMapLoaded(moment.map as ClusterMap | undefined);
        break;
      case 'mapRecovered':
        this.#follow(moment.map as ClusterMap);
        break;
      case 'mapChanging':
        this.#onMapChanging(moment.before as ClusterMap | undefined, moment.after as ClusterMap);
        break;
      case 'mapCommitted':
        this.#onMapCommitted(moment.before as ClusterMap | undefined, moment.after as ClusterMap);
        break;
      case 'planned':
        for (const text of plannedComplaints(moment.before as ClusterMap, moment.after as ClusterMap)) {
          this.complain(`The master plans what it must not: ${text}`);
        }
        break;
      case 'mapTaken':
      case 'mapDurable':
        this.#onPeerMap(teller, moment.point, moment.map as ClusterMap);
        break;
      case 'markedLost':
        teller.disk.lostFiles.add(moment.fileId);
        break;
      case 'serving':
        this.#slot(moment.led.slot)?.onServing(teller, moment.led);
        break;
      default:
        if ('slot' in moment) this.#slot(moment.slot)?.onMoment(teller, moment);
    }
  }

  // --- Maps ----------------------------------------------------------------------------------------------------------

  #onMapLoaded(map: ClusterMap | undefined): void {
    const known = this.#map;
    if (map === undefined || known === undefined || map.epoch === known.epoch) return;
    // A commit that nobody was told of: the master died first.
    if (map.epoch > known.epoch) this.#follow(map);
    // A map from a backup: nobody knows of the later ones, so they never were.
    else if (this.#heardEpoch <= map.epoch) {
      for (const epoch of this.#madeBy.keys()) if (epoch > map.epoch) this.#madeBy.delete(epoch);
      this.#follow(map);
    }
  }

  #onMapChanging(before: ClusterMap | undefined, after: ClusterMap): void {
    if (before === undefined || before === after) return;
    for (const text of mapChangeComplaints(before, after)) {
      this.complain(`The master makes map ${after.epoch} of ${before.epoch}, but ${text}`);
    }
  }

  #onMapCommitted(before: ClusterMap | undefined, after: ClusterMap): void {
    // A master with an older map: what it makes counts for nothing, as long as no peer takes it.
    if (this.#map !== undefined && before?.epoch !== this.#map.epoch) return;
    this.#follow(after);
  }

  #follow(made: ClusterMap): void {
    const before = this.#map;
    // Where a recovered slot waits, nobody was given anything: what counts is the record of before, which may be newer.
    const slots = made.slots.map((record, slot) => (isWaiting(record) ? (before?.slots[slot] ?? record) : record));
    const map = { ...made, slots };
    this.#map = map;
    this.#madeBy.set(map.epoch, map.masterIncarnation);
    this.#noteDrops(before, map);
    map.slots.forEach((record, slot) => {
      if (before?.slots[slot] !== record) this.#slot(slot)?.onRecord(record, map);
    });
  }

  #noteDrops(before: ClusterMap | undefined, map: ClusterMap): void {
    for (const slot of lostSlots(map, (store) => this.isGone(store))) {
      const [old, record] = [before?.slots[slot], map.slots[slot]];
      if (old === undefined || record === undefined || old.inSync.length === record.inSync.length) continue;
      const stores = record.inSync.map((peer) => peerOf(map, peer)?.storeId);
      const hadTaken = stores.every(
        (store) => store !== undefined && (this.#goneAtEpoch.get(store) ?? 0) >= old.slotEpoch,
      );
      if (hadTaken) this.#droppedUnknowing.add(slot);
    }
  }

  #onPeerMap(teller: Teller, point: 'mapTaken' | 'mapDurable', map: ClusterMap): void {
    this.#taken.set(teller.name, map);
    const { disk } = teller;
    disk.takenEpoch = Math.max(disk.takenEpoch, map.epoch);
    if (point === 'mapDurable') {
      if (map.epoch < disk.mapEpoch) {
        this.complain(`The map of ${teller.name} falls from epoch ${disk.mapEpoch} to ${map.epoch}`);
      }
      disk.mapEpoch = map.epoch;
      this.#checkPromises(teller, map);
    }
    this.#heardEpoch = Math.max(this.#heardEpoch, map.epoch);
    const maker = this.#madeBy.get(map.epoch);
    if (this.#map !== undefined && maker !== map.masterIncarnation) {
      const whose = maker === undefined ? 'is unknown' : `was made by start ${maker} of the master`;
      this.complain(`${teller.name} takes map ${map.epoch} of start ${map.masterIncarnation}, but that map ${whose}`);
    }
  }

  #checkPromises(teller: Teller, map: ClusterMap): void {
    map.slots.forEach((record, slot) => {
      const promised = teller.disk.promises.get(slot) ?? 0;
      if (promised < record.slotEpoch) {
        this.complain(
          `${teller.name} acts on map ${map.epoch} having promised only ${promised} for slot ${slot} of ` +
            `slotEpoch ${record.slotEpoch}`,
        );
      }
    });
  }

  // --- Slots ---------------------------------------------------------------------------------------------------------

  #slot(slot: SlotNumber): SlotWatch | undefined {
    const known = this.#slots.get(slot);
    if (known !== undefined || this.#map === undefined) return known;
    const watch = new SlotWatch(this, slot);
    this.#slots.set(slot, watch);
    return watch;
  }

  #slotOfKey(key: string): SlotWatch | undefined {
    return this.#map === undefined ? undefined : this.#slot(slotOfKeyText(key, this.#map.slots.length));
  }

  /** The slot of any key, for what one slot says of another. */
  slotWatchOf(key: string): SlotWatch | undefined {
    return this.#slotOfKey(key);
  }

  /** A store is there, perhaps with less than it had: its standing must be worth something. */
  #checkStore(disk: WatchedDisk): void {
    const { map } = this;
    map?.slots.forEach((record, slot) => {
      const isMember = record.inSync.some((peer) => peerOf(map, peer)?.storeId === disk.storeId);
      if (isMember) this.#slot(slot)?.checkMember(disk, 'when it starts');
    });
  }

  /** The disks of the members of a slot in the newest map, with their names; of stores that still exist. */
  membersOf(slot: SlotNumber): readonly { peer: PeerId; disk: WatchedDisk }[] {
    const { map } = this;
    const record = map?.slots[slot];
    if (map === undefined || record === undefined) return [];
    return record.inSync.flatMap((peer) => {
      const disk = this.diskOfStore(peerOf(map, peer)?.storeId);
      return disk === undefined ? [] : [{ peer, disk }];
    });
  }

  isMember(slot: SlotNumber, disk: WatchedDisk): boolean {
    const { map } = this;
    const inSync = map?.slots[slot]?.inSync ?? [];
    return map !== undefined && inSync.some((peer) => peerOf(map, peer)?.storeId === disk.storeId);
  }
}

function slotOfKeyText(key: string, slotCount: number): SlotNumber {
  const top = (key.charCodeAt(0) << 16) | (key.charCodeAt(1) << 8) | key.charCodeAt(2);
  return top >> (24 - Math.log2(slotCount));
}
