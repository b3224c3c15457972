/**
 * What peers say to each other: the primary to its replicas, and questions among peers.
 */
import { limits } from '../core/limits.js';
import { count, exactBytes, flag, list, oneOf, optional } from './checks.js';
import type { Message } from './message.js';
import { bucket, entry, fenced, id, key, name, routed, slot, timedId, version } from './message-fields.js';

/** Numbers of tables of request ids are u32 on disk. */
const idTablesMax = 2 ** 32 - 1;

/** The request that made an entry, and the hash of what it asked for, while its id is remembered. */
const mark = { requestId: optional(timedId), contentHash: optional(exactBytes(8)) };

export const peerMessages = {
  // --- Primary → replica ------------------------------------------------------------------------------------------
  /** Stores entries (one, or a record and the void of the upload it replaces). Payload: bytes of the first. */
  replicate: {
    kind: 30,
    from: ['peer'],
    request: {
      ...fenced,
      entries: list(entry, 2),
      ...mark,
    },
    reply: {},
  },
  /** Makes one key equal to the primary's, either way, unless the key is newer than `asOf` (F3). Payload: its bytes. */
  settle: {
    kind: 31,
    from: ['peer'],
    request: {
      ...fenced,
      key,
      asOf: version,
      entry: optional(entry),
      /** Instead of a payload: so many bytes that no holder can read. */
      lostBytes: optional(count(limits.segmentBytesMax)),
      /** Instead of a payload: the replica may have the bytes in a file of an index that it lost. */
      isOffer: optional(flag()),
      ...mark,
    },
    /** `wantsBytes`: they were offered and are not there; nothing was done. */
    reply: { ignored: flag(), wantsBytes: optional(flag()) },
  },
  /** Adds and drops request ids of one key. Payload: id rows to put, then `drops` id rows to drop. */
  'settle-ids': {
    kind: 32,
    from: ['peer'],
    request: { ...fenced, key, asOf: version, drops: count() },
    reply: { ignored: flag() },
  },
  /**
   * Raises the promise, then answers the 64 bucket digests of the slot (8 bytes each), and whether there are files of a
   * lost index.
   */
  digests: {
    kind: 33,
    from: ['peer'],
    request: fenced,
    reply: { buckets: exactBytes(limits.digestBuckets * 8), hasSalvage: flag() },
  },
  /** Payload: rows of (key, version, hash of its ids) of one bucket, after a key. */
  'list-bucket': {
    kind: 34,
    from: ['peer'],
    request: { ...fenced, bucket: count(limits.digestBuckets - 1), after: key },
    reply: { more: flag() },
  },
  /** Payload: a page of the id rows that one key has in one table, in order, after the id `after`. */
  'list-ids': {
    kind: 35,
    from: ['peer'],
    request: { ...fenced, key, table: count(idTablesMax), after: optional(timedId) },
    reply: { more: flag() },
  },
  /** Drops the slot's request ids of all tables below `below`. */
  'drop-ids': { kind: 36, from: ['peer'], request: { ...fenced, below: count() }, reply: {} },
  /** The 50 ms beacon: `hash` stands for the last list of (slot, slotEpoch, term) sent on this link (F12). */
  beacon: {
    kind: 37,
    from: ['peer'],
    request: { hash: exactBytes(8) },
    /** Lists the slots for which nothing is granted; `known` false asks for the list. */
    reply: { known: flag(), refused: list(slot, 4000) },
  },
  /** Payload: the list of (slot, slotEpoch, term) that later beacons stand for. A beacon itself. */
  'beacon-list': { kind: 38, from: ['peer'], request: {}, reply: { refused: list(slot, 4000) } },
  /** Payload: what stands for the request ids of one key, a row for each table they are in. */
  'id-digests': { kind: 39, from: ['peer'], request: { ...fenced, key }, reply: {} },

  // --- Peer → peer, asking ----------------------------------------------------------------------------------------
  /** A verified copy of exactly this key and version (the one it has when absent). Payload: its bytes. */
  'fetch-entry': {
    kind: 50,
    from: ['peer'],
    request: { slot, key, version: optional(version) },
    reply: { entry: optional(entry), ...mark },
  },
  /** From a sweeper to the primary of a name: is this upload part of the file? If not it is voided first (F13). */
  'upload-state': {
    kind: 51,
    from: ['peer'],
    request: { ...routed, bucket, name, uploadId: timedId },
    reply: { state: oneOf('live', 'void'), sinceMs: count() },
  },
  /** From the primary of a name to the primary of a segment: its upload was replaced or deleted; look at it. */
  'sweep-hint': {
    kind: 52,
    from: ['peer'],
    request: { slot, bucket, name, uploadId: timedId, indexes: list(count(limits.segmentsMax), 1024) },
    reply: {},
  },
  /** May a former member delete its copy of the slot? Answered by the serving primary with proof (F15). */
  'may-drop': {
    kind: 53,
    from: ['peer'],
    request: { slot, slotEpoch: count(), peer: id, storeId: id },
    reply: { allowed: flag(), slotEpoch: count() },
  },
  /** A replica cannot read its entry: the primary settles the key there, in its queue, before it answers (F3, F10). */
  'settle-here': { kind: 54, from: ['peer'], request: { slot, key }, reply: {} },
} as const satisfies Record<string, Message>;
