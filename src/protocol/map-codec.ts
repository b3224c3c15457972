/**
 * The cluster map as bytes: for the wire, the master's store, the peers' and the clients' copies.
 *
 * Byte by byte in docs/wire-format.md. Equal maps have equal bytes, so bytes may be compared instead of maps. The
 * decoder refuses `invalid` whatever does not fit; it does not judge whether the map makes sense.
 */
import type { ClusterMap, PeerMode, PeerRecord, PeerState } from '../cluster/map.js';
import { fromColumns, type MapColumns, toColumns } from '../cluster/map-columns.js';
import { ByteReader, ByteWriter } from '../core/byte-cursor.js';
import { refuse } from '../core/errors.js';
import { limits } from '../core/limits.js';

const formatVersion = 2;
const idBytesMax = 64;
const addressBytesMax = 255;
const membersMax = limits.peersMax;

/** Positions are part of the format: add at the end. */
const states: readonly PeerState[] = ['up', 'down', 'removed', 'awaited'];
const modes: readonly PeerMode[] = ['normal', 'draining', 'maintenance', 'set-aside'];

const encoded = new WeakMap<ClusterMap, Uint8Array>();

/** A map is encoded once, however often it is asked for; nobody may write to the bytes. */
export function encodeMap(map: ClusterMap): Uint8Array {
  const known = encoded.get(map);
  if (known !== undefined) return known;
  const bytes = toBytes(map);
  encoded.set(map, bytes);
  return bytes;
}

function toBytes(map: ClusterMap): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(formatVersion);
  writer.text(map.clusterId);
  writer.varint(map.epoch);
  writer.text(map.lineage);
  writer.varint(map.masterIncarnation);
  writer.varint(map.repairGraceMs);
  writer.varint(map.quarantineMs);
  writer.varint(map.repairBytesPerSecond);
  writer.u8(Number(map.movesPaused));
  writer.text(map.pool.name);
  writer.varint(map.pool.replicas);
  writer.varint(map.pool.minInSync);
  writer.varint(map.peers.length);
  for (const peer of map.peers) writePeer(writer, peer);
  writer.varint(map.slots.length);
  writeColumns(writer, toColumns(map));
  return writer.finish();
}

export function decodeMap(bytes: Uint8Array): ClusterMap {
  const reader = new ByteReader(bytes, 'The cluster map');
  const version = reader.u8();
  if (version !== formatVersion) {
    refuse('invalid', `The cluster map has format ${version}, this version reads ${formatVersion}`);
  }
  const head = {
    clusterId: reader.text(idBytesMax),
    epoch: reader.varint(),
    lineage: reader.text(idBytesMax),
    masterIncarnation: reader.varint(),
    repairGraceMs: reader.varint(),
    quarantineMs: reader.varint(),
    repairBytesPerSecond: reader.varint(),
    movesPaused: readFlag(reader),
    pool: {
      name: reader.text(idBytesMax),
      replicas: reader.varint(limits.replicasMax),
      minInSync: reader.varint(limits.replicasMax),
    },
  };
  const peers = repeat(reader.count(8, limits.peersMax), () => readPeer(reader));
  const slotCount = reader.count(7, limits.slotsMax);
  if (!Number.isInteger(Math.log2(slotCount)))
    refuse('invalid', `The cluster map has ${slotCount} slots, no power of two`);
  const columns = readColumns(reader, slotCount);
  reader.finish();
  const peerIds = peers.map((peer) => peer.id);
  if (new Set(peerIds).size !== peerIds.length) refuse('invalid', 'The cluster map lists a peer twice');
  return { ...head, peers, slots: fromColumns(columns, peerIds) };
}

function writePeer(writer: ByteWriter, peer: PeerRecord): void {
  writer.text(peer.id);
  writer.text(peer.storeId);
  writer.text(peer.address);
  writer.text(peer.tokenAddress);
  writer.f64(peer.tokenWeight);
  writer.text(peer.zone);
  writer.f64(peer.weight);
  writer.text(peer.flagZone);
  writer.f64(peer.flagWeight);
  writer.u8(states.indexOf(peer.state));
  writer.u8(modes.indexOf(peer.mode));
  writer.u8(Number(peer.isOut));
  writer.varint(peer.incarnation);
}

function readPeer(reader: ByteReader): PeerRecord {
  return {
    id: reader.text(idBytesMax),
    storeId: reader.text(idBytesMax),
    address: reader.text(addressBytesMax),
    tokenAddress: reader.text(addressBytesMax),
    tokenWeight: readWeight(reader),
    zone: reader.text(addressBytesMax),
    weight: readWeight(reader),
    flagZone: reader.text(addressBytesMax),
    flagWeight: readWeight(reader),
    state: states[reader.u8()] ?? refuse('invalid', 'The cluster map holds an unknown state of a peer'),
    mode: modes[reader.u8()] ?? refuse('invalid', 'The cluster map holds an unknown mode of a peer'),
    isOut: readFlag(reader),
    incarnation: reader.varint(),
  };
}

function readFlag(reader: ByteReader): boolean {
  const flag = reader.u8();
  return flag <= 1 ? flag === 1 : refuse('invalid', `The cluster map holds ${flag} where only 0 or 1 may be`);
}

function readWeight(reader: ByteReader): number {
  const weight = reader.f64();
  return Number.isFinite(weight) && weight >= 0
    ? weight
    : refuse('invalid', `The cluster map holds a weight of ${weight}`);
}

function writeColumns(writer: ByteWriter, columns: MapColumns): void {
  writer.varint(columns.epochs.length);
  columns.epochs.forEach((epoch, index) => {
    writer.varint(epoch - (columns.epochs[index - 1] ?? 0));
  });
  const { slotEpochs, terms, primaries, handovers, inSyncCounts, joiningCounts, removedCounts } = columns;
  const all = [slotEpochs, terms, primaries, handovers, inSyncCounts, joiningCounts, removedCounts];
  for (const column of [...all, columns.members, columns.removed]) {
    for (const number of column) writer.varint(number);
  }
}

function readColumns(reader: ByteReader, slotCount: number): MapColumns {
  let epoch = 0;
  const epochs = repeat(reader.count(1), () => {
    epoch += reader.varint();
    return Number.isSafeInteger(epoch) ? epoch : refuse('invalid', 'The cluster map holds an epoch above 2^53');
  });
  const column = (max: number): readonly number[] => repeat(slotCount, () => reader.varint(max));
  const perSlot = {
    slotEpochs: column(epochs.length),
    terms: column(epochs.length),
    primaries: column(limits.peersMax),
    handovers: column(epochs.length),
    inSyncCounts: column(membersMax),
    joiningCounts: column(membersMax),
    removedCounts: column(membersMax),
  };
  const membersCount = sum(perSlot.inSyncCounts) + sum(perSlot.joiningCounts);
  const members = readNumbers(reader, membersCount);
  return { epochs, ...perSlot, members, removed: readNumbers(reader, sum(perSlot.removedCounts) * 2) };
}

/** Each number takes at least a byte: more than are left cannot come. */
function readNumbers(reader: ByteReader, count: number): readonly number[] {
  if (count > reader.remaining) refuse('invalid', 'The cluster map ends too early');
  return repeat(count, () => reader.varint());
}

/** A loop: every change of the map is decoded by everybody, and this is most of it. */
function repeat<T>(count: number, read: () => T): readonly T[] {
  const items: T[] = [];
  for (let index = 0; index < count; index++) items.push(read());
  return items;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
