/**
 * What must hold of one slot at every step: who may answer for it, what its members hold, and what an answer may say.
 */
import { type ClusterMap, peerOf, type SlotRecord } from '../../../src/cluster/map.js';
import {
  compareVersions,
  type Epoch,
  formatVersion,
  type PeerId,
  type SlotNumber,
  type StoreId,
  toHex,
  type Version,
} from '../../../src/core/ids.js';
import type { LedView, Moment } from '../../../src/core/probe.js';
import { bodyOf, keyOfName, keyOfSegment, keyText } from '../../../src/peer/entry.js';
import { ChangeWatch } from './invariants-change.js';
import { receiptComplaints, type Standing } from './invariants-receipt.js';
import { SweepWatch } from './invariants-sweep.js';
import type { Monitor, Teller } from './monitor.js';
import { type EntryChange, entryOf, type HeldEntry, nameOfKey, type WatchedDisk } from './monitor-disk.js';

type At<P extends Moment['point']> = Extract<Moment, { point: P }>;
type OfSlot = Extract<Moment, { slot: SlotNumber }>;

interface Leader {
  readonly teller: Teller;
  readonly led: LedView;
}

export class SlotWatch {
  readonly #monitor: Monitor;
  readonly #slot: SlotNumber;
  /** The newest that was acknowledged, or read as current, of each key. */
  readonly #settled = new Map<string, HeldEntry>();
  /** "key version" of everything that ever was the slot's. */
  readonly #effective = new Set<string>();
  /** By "store key" the version of a copy that went as surplus, or was swept: a primary may count it late. */
  readonly #letGo = new Map<string, Version>();
  readonly #sweeps = new SweepWatch((text) => this.#complain(text));
  /** What it hears of request ids comes from the disks. */
  readonly changes = new ChangeWatch((text) => this.#complain(text));
  /** By slotEpoch. */
  readonly #standings = new Map<Epoch, Standing>();
  readonly #terms = new Map<Epoch, Standing>();
  #leaders: Leader[] = [];
  #servingTerm: Epoch = 0;
  #readTerm: Epoch = 0;

  constructor(monitor: Monitor, slot: SlotNumber) {
    this.#monitor = monitor;
    this.#slot = slot;
  }

  #complain(text: string): void {
    this.#monitor.complain(`Slot ${this.#slot}: ${text}`);
  }

  // --- What the members hold -----------------------------------------------------------------------------------------

  /** A durable map has a new record of the slot. */
  onRecord(record: SlotRecord, map: ClusterMap): void {
    this.#standings.set(record.slotEpoch, { record, map });
    // Several changes may share a commit: the slotEpoch at which the term began need not be in any map.
    this.#terms.set(record.term, { record, map });
    for (const { peer, disk } of this.#monitor.membersOf(this.#slot)) {
      this.checkMember(disk, `though map ${map.epoch} has ${peer} in sync`);
    }
    this.#sweeps.checkMembers(this.#members());
  }

  /** A write of the index became durable. */
  onEntry(disk: WatchedDisk, key: string, { before, after }: EntryChange): void {
    const isMember = this.#monitor.isMember(this.#slot, disk);
    if (before !== undefined && after === undefined && (!isMember || this.#sweeps.covers(key, before))) {
      this.#letGo.set(`${disk.storeId} ${key}`, before.version);
    }
    if (!isMember) return;
    this.changes.onEntry(disk, key, after);
    const term = this.#monitor.map?.slots[this.#slot]?.term;
    if (after === undefined) this.#sweeps.onGone(key, { disk, term, members: this.#members() });
    const settled = this.#settled.get(key);
    if (settled !== undefined)
      this.#checkHeld(disk, key, { after, settled, why: 'after a change there, though it is in sync' });
  }

  #members(): readonly WatchedDisk[] {
    return this.#monitor.membersOf(this.#slot).map(({ disk }) => disk);
  }

  /** Everything that was acknowledged must be there. */
  checkMember(disk: WatchedDisk, why: string): void {
    const { entries } = disk;
    for (const [key, settled] of this.#settled) this.#checkHeld(disk, key, { after: entries.get(key), settled, why });
  }

  #checkHeld(
    disk: WatchedDisk,
    key: string,
    held: { after: HeldEntry | undefined; settled: HeldEntry; why: string },
  ): void {
    const { after, settled, why } = held;
    if (after !== undefined && compareVersions(after.version, settled.version) >= 0) return;
    const isSwept = settled.kind !== 'record' && this.#sweeps.covers(key, settled);
    if (after === undefined && isSwept) return;
    this.#complain(
      `${disk.host} holds ${describe(after)} of ${nameOfKey(key)}, of which ${describe(settled)} was acknowledged or ` +
        `read, ${why}`,
    );
  }

  /** From now on every member must hold it, or what replaced it. */
  #settle(teller: Teller, key: string, version: Version): void {
    const held = teller.disk.entries.get(key);
    const known = this.#settled.get(key);
    if (known !== undefined && compareVersions(known.version, version) >= 0) return;
    if (held === undefined || compareVersions(held.version, version) < 0) return;
    // Only what is exactly that version: a newer one of a deposed primary's disk is not known to be the slot's.
    const isSame = compareVersions(held.version, version) === 0;
    const settled: HeldEntry = isSame ? held : { ...held, version };
    this.#settled.set(key, settled);
    for (const { peer, disk } of this.#monitor.membersOf(this.#slot)) {
      const why = `though ${peer} is in sync and ${teller.name} answers for it`;
      this.#checkHeld(disk, key, { after: disk.entries.get(key), settled, why });
    }
  }

  // --- Points --------------------------------------------------------------------------------------------------------

  onMoment(teller: Teller, moment: OfSlot): void {
    switch (moment.point) {
      case 'afterPromiseBeforeLevelling':
      case 'promised':
        this.#checkPromise(teller, moment.slotEpoch, 'says it has promised');
        break;
      case 'replicaCommitted':
        this.#checkPromise(teller, moment.slotEpoch, 'answers a write of');
        this.#checkOwn(teller, moment, 'answers that it holds');
        break;
      case 'ownEntryCommitted':
        this.#onCommitted(teller, moment);
        break;
      case 'acknowledging':
        this.#onAcknowledging(teller, moment);
        break;
      case 'rolledBack':
        this.changes.onRolledBack(teller.name, moment, this.#members());
        break;
      case 'readCurrent':
        this.#onRead(teller, moment);
        break;
      case 'sweeping':
        this.#onSweeping(teller, moment);
        break;
      default:
    }
  }

  #checkPromise(teller: Teller, slotEpoch: Epoch, says: string): void {
    const promised = teller.disk.promises.get(this.#slot) ?? 0;
    if (promised < slotEpoch) this.#complain(`${teller.name} ${says} ${slotEpoch}; ${promised} is durable there`);
  }

  /** Whoever says that it holds a version holds it durably. */
  #checkOwn(teller: Teller, { key, version }: At<'replicaCommitted' | 'acknowledging'>, says: string): void {
    const text = keyText(key);
    const held = teller.disk.entries.get(text);
    if (held !== undefined && compareVersions(held.version, version) >= 0) return;
    const what = `${formatVersion(version)} of ${nameOfKey(text)}`;
    this.#complain(`${teller.name} ${says} ${what}; ${describe(held)} is durable there`);
  }

  #onCommitted(teller: Teller, moment: At<'ownEntryCommitted'>): void {
    const key = keyText(moment.key);
    const held = teller.disk.entries.get(key);
    if (held === undefined || compareVersions(held.version, moment.version) !== 0) {
      const version = formatVersion(moment.version);
      this.#complain(`${teller.name} commits ${version} of ${nameOfKey(key)}; ${describe(held)} is durable there`);
    }
    this.#effective.add(`${key} ${formatVersion(moment.version)}`);
    this.changes.noteEffect(teller.name, moment, 'commits');
    this.#settle(teller, key, moment.version);
  }

  #onAcknowledging(teller: Teller, moment: At<'acknowledging'>): void {
    const key = keyText(moment.key);
    const version = formatVersion(moment.version);
    const what = `${version} of ${nameOfKey(key)}`;
    this.#checkOwn(teller, moment, 'acknowledges');
    if (!this.#effective.has(`${key} ${version}`)) {
      this.#complain(`${teller.name} acknowledges ${what}, which never was the slot's`);
    }
    this.changes.noteEffect(teller.name, moment, 'acknowledges');
    this.#checkReceipt(teller, moment, what);
    this.#checkSegments(teller, key);
    this.#settle(teller, key, moment.version);
    this.#checkLeases();
  }

  #checkReceipt(teller: Teller, moment: At<'acknowledging'>, what: string): void {
    const standing = this.#standings.get(moment.slotEpoch);
    if (standing === undefined) {
      this.#complain(`${teller.name} acknowledges ${what} at slotEpoch ${moment.slotEpoch}, which no durable map has`);
      return;
    }
    const pool = (this.#monitor.mapTakenBy(teller) ?? standing.map).pool;
    const newestOn = (store: StoreId): Version | 'gone' | undefined => {
      const disk = this.#monitor.diskOfStore(store);
      if (disk === undefined) return 'gone';
      return disk.entries.get(keyText(moment.key))?.version ?? this.#letGo.get(`${store} ${keyText(moment.key)}`);
    };
    for (const text of receiptComplaints(moment, { ...standing, teller, what, minInSync: pool.minInSync, newestOn })) {
      this.#complain(text);
    }
  }

  /** A file is acknowledged only with all its segments, unless it is told late of what was replaced long ago. */
  #checkSegments(teller: Teller, key: string): void {
    const held = teller.disk.entries.get(key);
    const newest = this.#settled.get(key);
    if (held?.kind !== 'record' || (newest && compareVersions(held.version, newest.version) < 0)) return;
    const upload = uploadOf(key, held);
    if (upload === undefined) return;
    for (let index = 1; index < upload.segments; index++) {
      const segment = keyText(keyOfSegment(upload.uploadId, index));
      this.#monitor.slotWatchOf(segment)?.checkSegment(segment, `${nameOfKey(key)}, acknowledged by ${teller.name}`);
    }
  }

  checkSegment(key: string, whose: string): void {
    const settled = this.#settled.get(key);
    const isSwept = settled !== undefined && this.#sweeps.covers(key, settled);
    if (settled === undefined || isSwept) {
      this.#complain(`${nameOfKey(key)} of ${whose}, was ${isSwept ? 'swept' : 'never stored'}`);
    }
  }

  #onSweeping(teller: Teller, moment: At<'sweeping'>): void {
    const key = keyText(moment.key);
    const held = teller.disk.entries.get(key);
    this.#sweeps.begin(key, { version: moment.version, by: teller.disk, term: moment.term });
    // A new primary may sweep what nobody was told of and nobody has read since.
    this.#settle(teller, key, moment.version);
    if (held?.kind === 'segment') this.#checkNotNamed(teller, key, held);
    if (held?.kind === 'tombstone') {
      const ids = [...teller.disk.ids.keys()].filter((row) => row.slice(4, -16) === key);
      if (ids.length > 0) this.#complain(`${teller.name} sweeps ${nameOfKey(key)}, which still has its request ids`);
    }
  }

  /** A segment is swept only when no file names it. */
  #checkNotNamed(teller: Teller, key: string, held: HeldEntry): void {
    const entry = entryOf(key, held);
    if (entry === undefined) return;
    const { bucket, name, uploadId } = bodyOf(entry, 'segment');
    const nameKey = keyText(keyOfName({ bucket, name }));
    const record = this.#monitor.slotWatchOf(nameKey)?.neededOf(nameKey);
    const upload = record?.kind === 'record' ? uploadOf(nameKey, record) : undefined;
    if (upload !== undefined && toHex(upload.uploadId) === toHex(uploadId)) {
      this.#complain(`${teller.name} sweeps ${nameOfKey(key)}, which ${JSON.stringify(name)} needs`);
    }
  }

  /** What readers must be able to get; undefined once every member holds something newer, acknowledged or not (S4). */
  neededOf(key: string): HeldEntry | undefined {
    const settled = this.#settled.get(key);
    if (settled === undefined) return undefined;
    const held = this.#members().map(({ entries }) => entries.get(key));
    const isNewer = (each?: HeldEntry): boolean =>
      each !== undefined && compareVersions(each.version, settled.version) > 0;
    return held.length > 0 && held.every((each) => isNewer(each)) ? undefined : settled;
  }

  // --- Who may answer ------------------------------------------------------------------------------------------------

  onServing(teller: Teller, led: LedView): void {
    this.#checkPromise(teller, led.term, 'serves term');
    this.#checkLeader(teller, led.term, 'serves');
    this.#leaders = this.#leaders.filter((leader) => !leader.teller.isDead() && leader.led.phase !== 'over');
    if (!this.#leaders.some((leader) => leader.led === led)) this.#leaders.push({ teller, led });
    if (led.term > this.#servingTerm) {
      this.#servingTerm = led.term;
      this.#checkLevel(teller, led);
      this.#adopt(teller.disk);
    }
    this.#checkLeases();
  }

  /** What a new primary holds is the slot's, and so is what it had in between: the ids tell of that (S4, F1). */
  #adopt(disk: WatchedDisk): void {
    for (const [key, held] of disk.entries) {
      if (this.#monitor.slotWatchOf(key) !== this) continue;
      this.#effective.add(`${key} ${formatVersion(held.version)}`);
      this.changes.onAdopted(key, formatVersion(held.version));
    }
    for (const [row, version] of disk.ids) {
      const key = row.slice(4, -16);
      if (this.#monitor.slotWatchOf(key) === this) this.#effective.add(`${key} ${version}`);
    }
  }

  #checkLeader(teller: Teller, term: Epoch, does: string): void {
    const standing = this.#terms.get(term);
    if (standing === undefined) {
      this.#complain(`${teller.name} ${does} in term ${term}, which no durable map has`);
      return;
    }
    const { record, map } = standing;
    const primary = record.primary === undefined ? undefined : peerOf(map, record.primary);
    if (primary?.storeId === teller.disk.storeId) return;
    this.#complain(`${teller.name} ${does} in term ${term}, in which ${record.primary} leads`);
  }

  /** A new primary serves only when everybody in its set equals it, request ids included. */
  #checkLevel(teller: Teller, led: LedView): void {
    const record = this.#monitor.map?.slots[this.#slot];
    this.checkMember(teller.disk, `though it begins to serve term ${led.term}`);
    if (record?.term !== led.term) return;
    for (const { peer, disk } of this.#monitor.membersOf(this.#slot)) {
      if (disk === teller.disk) continue;
      const keys = new Set([...teller.disk.entries.keys(), ...disk.entries.keys()]);
      for (const key of keys) {
        if (this.#monitor.slotWatchOf(key) !== this) continue;
        const [own, other] = [teller.disk.entries.get(key), disk.entries.get(key)];
        if (own !== undefined && other !== undefined && compareVersions(own.version, other.version) === 0) continue;
        const has = `${peer} has ${describe(other)} of ${nameOfKey(key)}, not ${describe(own)}`;
        this.#complain(`${teller.name} serves term ${led.term} unlevelled: ${has}`);
      }
      this.#checkIds(teller, disk, peer);
    }
  }

  #checkIds(teller: Teller, disk: WatchedDisk, peer: PeerId): void {
    const rows = new Set([...teller.disk.ids.keys(), ...disk.ids.keys()]);
    for (const row of rows) {
      if (this.#monitor.slotWatchOf(row.slice(4)) !== this || teller.disk.ids.get(row) === disk.ids.get(row)) continue;
      this.#complain(`${teller.name} serves unlevelled: a request id of ${nameOfKey(row.slice(4, -16))} on ${peer}`);
    }
  }

  #onRead(teller: Teller, moment: At<'readCurrent'>): void {
    const key = keyText(moment.key);
    const { term, found } = moment;
    this.#checkLeader(teller, term, 'answers a read');
    const version = found.state === 'present' ? found.entry.version : undefined;
    // By lease the answer is of now. A confirmed one is of some moment since its request came (Ongaro 2014, §6.4), and
    // may be given long after, when the process goes on: whether that moment was right is for the history to tell.
    if (this.#monitor.options.reads === 'lease' && found.state !== 'damaged') {
      this.#checkNewest(teller, { key, term, version });
    }
    if (version !== undefined) this.#settle(teller, key, version);
    this.#checkLeases();
  }

  #checkNewest(teller: Teller, read: { key: string; term: Epoch; version: Version | undefined }): void {
    const { key, term, version } = read;
    const later = Math.max(this.#readTerm, this.#servingTerm);
    if (term < later) this.#complain(`${teller.name} answers a read in term ${term} while term ${later} serves`);
    this.#readTerm = Math.max(this.#readTerm, term);
    const settled = this.#settled.get(key);
    const isOld = settled !== undefined && (version === undefined || compareVersions(version, settled.version) < 0);
    const isGone = settled !== undefined && version === undefined && settled.kind !== 'record';
    if (isOld && !isGone) {
      const shown = version === undefined ? 'nothing' : formatVersion(version);
      this.#complain(`${teller.name} reads ${shown} of ${nameOfKey(key)} after ${describe(settled)}`);
    }
  }

  /** While one term serves, no older one may think that it may answer. */
  #checkLeases(): void {
    for (const { teller, led } of this.#leaders) {
      if (led.term >= this.#servingTerm || led.phase !== 'serving' || teller.isDead()) continue;
      const isLeased = this.#monitor.options.reads === 'lease' && teller.nowMs() < led.leaseUntilMs();
      if (!led.isAlone() && !isLeased) continue;
      const leftMs = (led.leaseUntilMs() - teller.nowMs()).toFixed(1);
      const why = led.isAlone() ? 'it thinks it is alone' : `its leases last for ${leftMs} ms`;
      this.#complain(`${teller.name} may answer in term ${led.term} while term ${this.#servingTerm} serves: ${why}`);
    }
  }
}

function uploadOf(key: string, held: HeldEntry): { uploadId: Uint8Array; segments: number } | undefined {
  const entry = entryOf(key, held);
  return entry?.kind === 'record' ? bodyOf(entry, 'record') : undefined;
}

function describe(held: HeldEntry | undefined): string {
  return held === undefined ? 'nothing' : `${held.kind} ${formatVersion(held.version)}`;
}
