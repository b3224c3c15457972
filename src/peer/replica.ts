/**
 * What a peer does as a replica: take what the slot's primary sends, in its order, and answer when it is durable.
 *
 * Messages of one key are handled in order of arrival (F3); a slotEpoch below the promise is refused, a higher one
 * raises it, durably, before anything is answered (F4). Serves S1, S3, S4.
 */
import { peerOf } from '../cluster/map.js';
import { refuse } from '../core/errors.js';
import { compareVersions, type SlotNumber, type Version } from '../core/ids.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import { limits } from '../core/limits.js';
import { givePayloadMemory } from '../core/payload-memory.js';
import type { Probe } from '../core/probe.js';
import type { WireEntry } from '../protocol/message-fields.js';
import { decodeIdRows, encodeIdDigestRows, encodeIdRows, encodeKeyRows } from '../protocol/rows.js';
import type { Incoming, Outgoing, Session } from '../protocol/session.js';
import type { Admission } from './admission.js';
import type { Copies } from './copies.js';
import { type EntryKey, isEntryKey, type Placed, queueKeyOf, type StoredEntry } from './entry.js';
import { type EntryIndex, type Fence, markIn } from './entry-index.js';
import { type BeaconMemory, decodeBeaconList, type Grants, hashOfBeaconList } from './grants.js';
import type { Identity } from './identity.js';
import type { MapKeeper } from './map-keeper.js';
import { pagesOf } from './request-ids.js';
import type { Salvage } from './salvage.js';

export interface ReplicaParts {
  readonly probe: Probe | undefined;
  readonly me: Identity;
  readonly index: EntryIndex;
  readonly copies: Copies;
  readonly grants: Grants;
  readonly maps: MapKeeper;
  readonly admission: Admission;
  readonly salvage: Salvage;
  /** Resolves when it is written down that a copy here is bad. */
  noteDamage(key: EntryKey): Promise<void>;
}

type FencedRequest = Incoming<
  'replicate' | 'settle' | 'settle-ids' | 'digests' | 'list-bucket' | 'id-digests' | 'list-ids' | 'drop-ids'
>;

export class Replica {
  /** Changes of a key here, whoever asks for them. */
  readonly queue = new KeyedQueue();
  readonly #parts: ReplicaParts;
  readonly #beacons = new WeakMap<Session, BeaconMemory>();

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
  }

  /** Hears of a slotEpoch: nothing below it is granted any more. Refuses one below the promise. */
  #fence(request: FencedRequest): Fence {
    const { slot, slotEpoch } = request.header;
    const { index, grants, maps, me } = this.#parts;
    if (slot >= index.slotCount) refuse('invalid', `There is no slot ${slot}: this cluster has ${index.slotCount}`);
    const record = maps.map?.slots[slot];
    const promised = Math.max(grants.promisedFor(slot), index.promiseOf(slot), record?.slotEpoch ?? 0);
    if (promised > slotEpoch) {
      refuse('stale-epoch', `Slot ${slot} has promised epoch ${promised}, above ${slotEpoch}`);
    }
    // A record we have that does not name us, or not with this store, is a mistake of the sender (F11).
    if (record?.slotEpoch === slotEpoch && me.peerId !== undefined) {
      const isMember = record.inSync.includes(me.peerId) || record.joining.includes(me.peerId);
      if (!isMember || (maps.map && peerOf(maps.map, me.peerId)?.storeId !== me.storeId)) {
        refuse('wrong-role', `This peer holds no copy of slot ${slot} at epoch ${slotEpoch}`);
      }
    }
    grants.refuseBelow(slot, slotEpoch);
    return { slot, slotEpoch };
  }

  async replicate(request: Incoming<'replicate'>): Promise<Outgoing> {
    const fence = this.#fence(request);
    const { header } = request;
    const [first, ...others] = header.entries;
    if (first === undefined || !header.entries.every((entry) => isEntryKey(entry.key))) {
      refuse('invalid', 'A replicated write names one or two entries');
    }
    const { index, copies, admission } = this.#parts;
    return this.queue.run(queueKeyOf(first.key), async () => {
      if (first.kind === 'record' || first.kind === 'segment') admission.admitSpace(sizeOf(request));
      const { sums, ...entry } = first;
      const placed = await copies.stage(entry, request.payload ?? nothing, sums);
      this.#parts.probe?.at({ point: 'replicaStaged', slot: fence.slot });
      const stored: StoredEntry[] = [
        { ...entry, placed },
        ...others.map(({ sums: _none, ...other }) => ({ ...other, placed: { where: 'none' } as const })),
      ];
      const mark = markIn(header);
      const [isNew] = await copies.orDiscard(placed, index.write(fence, stored, mark));
      if (isNew === true) copies.release(placed);
      else await copies.discard(placed);
      givePayloadMemory(request.payload);
      this.#parts.probe?.at({ point: 'replicaCommitted', ...fence, key: first.key, version: first.version });
      return {};
    });
  }

  async settle(request: Incoming<'settle'>): Promise<Outgoing> {
    const fence = this.#fence(request);
    const { key, asOf, entry: given } = request.header;
    if (!isEntryKey(key)) refuse('invalid', 'The key is not one of an entry');
    const { index, copies } = this.#parts;
    return this.queue.run(queueKeyOf(key), async () => {
      if (given === undefined) {
        const ignored = await index.settle(fence, key, asOf, undefined);
        this.#parts.probe?.at({ point: 'settled', slot: fence.slot, key, isIgnored: ignored });
        return { header: { ignored } };
      }
      const held = this.#versionOf(key);
      // A roll-back finds most replicas as they should be, and a full one must be able to say so.
      if (held !== undefined && compareVersions(held, given.version) === 0) return { header: { ignored: false } };
      const isRollBack = held !== undefined && compareVersions(held, given.version) > 0;
      const placed = await this.#place(request, given, isRollBack);
      if (placed === undefined) return { header: { ignored: false, wantsBytes: true } };
      const { sums: _sums, ...entry } = given;
      const mark = markIn(request.header);
      const ignored = await copies.orDiscard(placed, index.settle(fence, key, asOf, { ...entry, placed }, mark));
      givePayloadMemory(request.payload);
      if (ignored) await copies.discard(placed);
      else copies.release(placed);
      this.#parts.probe?.at({ point: 'settled', slot: fence.slot, key, isIgnored: ignored });
      return { header: { ignored } };
    });
  }

  /** The bytes of what is to be settled, durable and read back; undefined when they were offered and are not here. */
  async #place(request: Incoming<'settle'>, given: WireEntry, isRollBack: boolean): Promise<Placed | undefined> {
    const { copies, admission, salvage, noteDamage, probe } = this.#parts;
    const { slot, key, lostBytes, isOffer } = request.header;
    const { sums, ...entry } = given;
    // What is on this disk already needs no room.
    if (isOffer === true) return salvage.adopt(entry, sums);
    if (!isRollBack) admission.admitSpace(sizeOf(request));
    if (!isRollBack && this.#isJoining(slot)) admission.admitJoining();
    if (lostBytes !== undefined) {
      await noteDamage(key);
      const lost = copies.lost(lostBytes);
      probe?.at({ point: 'markedLost', slot, fileId: lost.fileId });
      return lost;
    }
    const placed = await copies.stage(entry, request.payload ?? nothing, sums);
    // A copy counts only when it was read back: the source may be dropped on the strength of it (S7).
    if (placed.where === 'file') await copies.orDiscard(placed, copies.readBack({ ...entry, placed }));
    return placed;
  }

  #isJoining(slot: SlotNumber): boolean {
    const { maps, me } = this.#parts;
    return me.peerId !== undefined && maps.map?.slots[slot]?.joining.includes(me.peerId) === true;
  }

  /** Undefined for a key that is absent or unreadable. */
  #versionOf(key: EntryKey): Version | undefined {
    const found = this.#parts.index.lookup(key);
    return found.state === 'present' ? found.entry.version : undefined;
  }

  async settleIds(request: Incoming<'settle-ids'>): Promise<Outgoing> {
    const fence = this.#fence(request);
    const { key, asOf, drops } = request.header;
    const rows = decodeIdRows(request.payload ?? nothing);
    const change = { puts: rows.slice(0, rows.length - drops), drops: rows.slice(rows.length - drops) };
    return this.queue.run(queueKeyOf(key), async () => ({
      header: { ignored: await this.#parts.index.settleIds(fence, key, asOf, change) },
    }));
  }

  async digests(request: Incoming<'digests'>): Promise<Outgoing> {
    const fence = this.#fence(request);
    await this.#parts.index.raisePromise(fence);
    this.#parts.probe?.at({ point: 'promised', ...fence });
    return { header: { buckets: this.#parts.index.digests(fence.slot), hasSalvage: this.#parts.salvage.isOpen } };
  }

  async listBucket(request: Incoming<'list-bucket'>): Promise<Outgoing> {
    const fence = this.#fence(request);
    await this.#parts.index.raisePromise(fence);
    this.#parts.probe?.at({ point: 'promised', ...fence });
    const { bucket, after } = request.header;
    const place = { slot: fence.slot, bucket };
    const { rows, more } = this.#parts.index.listBucket(place, after, limits.comparePageRowsMax);
    return { header: { more }, payload: encodeKeyRows(rows) };
  }

  async idDigests(request: Incoming<'id-digests'>): Promise<Outgoing> {
    const fence = this.#fence(request);
    await this.#parts.index.raisePromise(fence);
    this.#parts.probe?.at({ point: 'promised', ...fence });
    return { payload: encodeIdDigestRows(this.#parts.index.idDigests(request.header.key)) };
  }

  async listIds(request: Incoming<'list-ids'>): Promise<Outgoing> {
    const fence = this.#fence(request);
    await this.#parts.index.raisePromise(fence);
    this.#parts.probe?.at({ point: 'promised', ...fence });
    const { key, ...place } = request.header;
    const [rows = []] = pagesOf(this.#parts.index.idsInTable(key, place), limits.idPageRowsMax);
    return { header: { more: rows.length === limits.idPageRowsMax }, payload: encodeIdRows(rows) };
  }

  async dropIds(request: Incoming<'drop-ids'>): Promise<Outgoing> {
    const fence = this.#fence(request);
    await this.#parts.index.dropIds(fence, request.header.below);
    return {};
  }

  async beacon(request: Incoming<'beacon'>): Promise<Outgoing> {
    const refused = this.#parts.grants.onBeacon(this.#memoryOf(request.session), request.header.hash);
    this.#parts.probe?.at({ point: 'beaconGranted' });
    return { header: { known: refused !== undefined, refused: refused ?? [] } };
  }

  async beaconList(request: Incoming<'beacon-list'>): Promise<Outgoing> {
    const memory = this.#memoryOf(request.session);
    const encoded = request.payload ?? nothing;
    memory.slots = decodeBeaconList(encoded);
    memory.hash = hashOfBeaconList(encoded);
    return { header: { refused: this.#parts.grants.grant(memory.slots) } };
  }

  #memoryOf(session: Session): BeaconMemory {
    let memory = this.#beacons.get(session);
    if (memory === undefined) {
      memory = { hash: undefined, slots: [] };
      this.#beacons.set(session, memory);
    }
    return memory;
  }
}

const nothing = new Uint8Array(0);

function sizeOf({ payload }: FencedRequest): number {
  return payload?.length ?? 0;
}
