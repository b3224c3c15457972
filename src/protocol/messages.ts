/**
 * Every message of the wire: its number, who may send it, the fields of request and reply, and what the payload is.
 *
 * The types come from this table. `docs/wire-format.md` describes the same for people and other languages. Numbers are
 * never reused.
 */
import { limits } from '../core/limits.js';
import {
  bytes,
  type CheckedShape,
  count,
  exactBytes,
  flag,
  list,
  measure,
  object,
  oneOf,
  optional,
  type Shape,
  text,
} from './checks.js';
import {
  acknowledged,
  address,
  bucket,
  contentType,
  entry,
  fenced,
  fileRecord,
  id,
  key,
  metadata,
  name,
  routed,
  slot,
  sums,
  timedId,
  version,
} from './message-fields.js';

export const protocolVersion = 1;

export const roles = ['client', 'peer', 'master'] as const;
export type Role = (typeof roles)[number];

/** Numbers of tables of request ids are u32 on disk. */
const idTablesMax = 2 ** 32 - 1;

/** The request that made an entry, and the hash of what it asked for, while its id is remembered. */
const mark = { requestId: optional(timedId), contentHash: optional(exactBytes(8)) };

interface Message {
  readonly kind: number;
  readonly from: readonly Role[];
  readonly request: Shape;
  readonly reply: Shape;
}

export const messages = {
  // --- Every connection -------------------------------------------------------------------------------------------
  /** First on every connection. Peers name both store ids (F11); `generation` rises with every connection (F7). */
  hello: {
    kind: 1,
    from: ['client', 'peer', 'master'],
    request: {
      protocol: count(255),
      role: oneOf(...roles),
      software: text(64),
      generation: count(),
      /** Random per process for clients; tells whose older connection to close. */
      clientId: optional(exactBytes(16)),
      /** Several connections of one pair are told apart by their lane. */
      lane: optional(text(16)),
      clusterId: optional(id),
      peerId: optional(id),
      storeId: optional(id),
      incarnation: optional(count()),
      expectPeerId: optional(id),
      expectStoreId: optional(id),
    },
    reply: {
      role: oneOf(...roles),
      software: text(64),
      clusterId: optional(id),
      peerId: optional(id),
      storeId: optional(id),
      incarnation: optional(count()),
      /** The cluster's clock, ms since 1970. */
      clusterMs: count(),
      mapEpoch: count(),
      /** The caller's own IP address as this side sees it. */
      yourAddress: address,
    },
  },
  /** A map newer than `newerThan`, waiting up to `waitMs` for one. Reply payload: the map, if one is newer. */
  map: {
    kind: 2,
    from: ['client', 'peer', 'master'],
    request: { newerThan: count(), waitMs: count(60_000) },
    reply: { epoch: count() },
  },

  // --- Client → peer ----------------------------------------------------------------------------------------------
  /** Stores a file whose other segments are stored already. Payload: segment 0. */
  put: {
    kind: 10,
    from: ['client'],
    request: {
      ...routed,
      bucket,
      name,
      requestId: timedId,
      uploadId: timedId,
      size: count(),
      checksum: exactBytes(8),
      segmentBytes: count(limits.segmentBytesMax),
      segments: count(limits.segmentsMax),
      contentType: optional(contentType),
      metadata,
      ifAbsent: optional(flag()),
      ifVersion: optional(version),
      sums,
    },
    reply: acknowledged,
  },
  /** Stores segment `index` ≥ 1 of an upload. Idempotent by (uploadId, index). Payload: its bytes. */
  'put-segment': {
    kind: 11,
    from: ['client'],
    request: { ...routed, bucket, name, uploadId: timedId, index: count(limits.segmentsMax), sums },
    reply: acknowledged,
  },
  delete: {
    kind: 12,
    from: ['client'],
    request: { ...routed, bucket, name, requestId: timedId, ifVersion: optional(version) },
    reply: acknowledged,
  },
  /** Replaces the user metadata (and content type when given) over the same bytes. */
  'set-metadata': {
    kind: 13,
    from: ['client'],
    request: {
      ...routed,
      bucket,
      name,
      requestId: timedId,
      metadata,
      contentType: optional(contentType),
      ifVersion: optional(version),
    },
    reply: acknowledged,
  },
  /**
   * A file's record and, with `end` above `start`, those of segment 0's blocks that hold bytes start … end−1 of the
   * file. Payload: whole blocks beginning at `offset`; empty when the range lies beyond segment 0. `ifVersion`: refused
   * `gone` when the record is another version. `acknowledged` is false when `any` read what may yet be rolled back.
   */
  get: {
    kind: 14,
    from: ['client'],
    request: {
      ...routed,
      bucket,
      name,
      consistency: oneOf('linearizable', 'any'),
      start: count(),
      end: count(),
      ifVersion: optional(version),
    },
    reply: { record: fileRecord, offset: count(), sums, acknowledged: flag() },
  },
  /** Blocks of a segment ≥ 1 that hold its bytes start … end−1; any holder answers, segments are immutable. */
  'get-segment': {
    kind: 15,
    from: ['client', 'peer'],
    request: { slot, bucket, name, uploadId: timedId, index: count(limits.segmentsMax), start: count(), end: count() },
    reply: { size: count(), offset: count(), sums },
  },
  /**
   * Live names of the given slots (a bitmap, bit 0 = slot 0 lowest bit of byte 0), in order of UTF-8 bytes, all of
   * which this peer must serve as primary. Payload: rows (src/protocol/rows.ts). `more`: the page was full.
   */
  list: {
    kind: 16,
    from: ['client'],
    request: {
      bucket,
      prefix: text(limits.nameBytesMax),
      after: text(limits.nameBytesMax),
      limit: count(limits.listPageRowsMax),
      slots: bytes(limits.slotsMax / 8),
    },
    reply: { more: flag() },
  },
  /** How this peer's own copy of a file's segment (0 = the record and its first bytes) is; verifies the bytes. */
  'copy-state': {
    kind: 17,
    from: ['client', 'peer'],
    request: { slot, bucket, name, uploadId: timedId, index: count(limits.segmentsMax) },
    reply: { state: oneOf('ok', 'missing', 'damaged'), version: optional(version), size: count() },
  },
  /** A reader found this peer's copy bad: it verifies and, when it is, fetches a good one. */
  'report-damage': {
    kind: 18,
    from: ['client', 'peer'],
    request: { slot, bucket, name, uploadId: timedId, index: count(limits.segmentsMax) },
    reply: { state: oneOf('ok', 'missing', 'damaged') },
  },

  /** How far this peer is with reading all its copies; `start`: it begins, or goes on faster. Reply payload: JSON. */
  scrub: { kind: 19, from: ['client'], request: { start: flag() }, reply: {} },

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
      ...mark,
    },
    reply: { ignored: flag() },
  },
  /** Adds and drops request ids of one key. Payload: id rows to put, then `drops` id rows to drop. */
  'settle-ids': {
    kind: 32,
    from: ['peer'],
    request: { ...fenced, key, asOf: version, drops: count() },
    reply: { ignored: flag() },
  },
  /** Raises the promise, then answers the 64 bucket digests of the slot (8 bytes each). */
  digests: { kind: 33, from: ['peer'], request: fenced, reply: { buckets: exactBytes(limits.digestBuckets * 8) } },
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

  // --- Peer → master ----------------------------------------------------------------------------------------------
  /** After hello: asks for a place in the cluster. Reply payload: the map, which names this incarnation (F9). */
  join: {
    kind: 60,
    from: ['peer'],
    request: {
      clusterId: optional(id),
      peerId: optional(id),
      storeId: id,
      incarnation: count(),
      address,
      zone: text(255),
      weight: measure(),
      /** Of the newest map this peer accepted: a master with an older one, or of another lineage, stops. */
      mapEpoch: count(),
      lineage: optional(id),
    },
    reply: { clusterId: id, peerId: id },
  },
  /** Compare-and-set of slot records, each by its slotEpoch (F17, F18). Reply payload: the map after it. */
  change: {
    kind: 61,
    from: ['peer'],
    request: {
      changes: list(
        object({ slot, slotEpoch: count(), op: oneOf('add', 'remove', 'handover'), peer: id, storeId: optional(id) }),
        500,
      ),
    },
    reply: { epoch: count() },
  },
  /** This peer stops on purpose. Reply payload: the map without it. */
  goodbye: { kind: 62, from: ['peer'], request: {}, reply: { epoch: count() } },
  /** A connection to a peer broke: look at it now. */
  suspect: { kind: 63, from: ['peer', 'client'], request: { peer: id }, reply: {} },

  /** Something an operator should know about a copy here. */
  report: {
    kind: 64,
    from: ['peer'],
    request: { kind: oneOf('copy-damaged', 'copy-repaired'), slot, what: text(2048) },
    reply: {},
  },

  // --- Master → peer ----------------------------------------------------------------------------------------------
  ping: {
    kind: 70,
    from: ['master'],
    request: { clusterMs: count(), mapEpoch: count() },
    reply: {
      mapEpoch: count(),
      lineage: optional(id),
      incarnation: count(),
      lagMs: measure(),
      freeBytes: count(),
      totalBytes: count(),
      /** As primary: files and their bytes. On this disk: bytes of every role. */
      files: count(),
      logicalBytes: count(),
      storedBytes: count(),
      /** Copies known to be bad. */
      damaged: count(),
      /** Cluster time since which every copy was read and verified; 0: never yet. */
      verifiedSinceMs: count(),
    },
  },
  /** Payload: the map. */
  'push-map': { kind: 71, from: ['master'], request: {}, reply: { epoch: count() } },
  /** A wish: hand these slots over, each at this slotEpoch (F20). */
  'wish-handover': {
    kind: 72,
    from: ['master'],
    request: { wishes: list(object({ slot, slotEpoch: count(), to: id }), 500) },
    reply: {},
  },
  /** Reply payload: a row for each slot that this peer holds anything of, in any role. */
  'slot-amounts': { kind: 73, from: ['master'], request: {}, reply: {} },

  // --- Client → master --------------------------------------------------------------------------------------------
  /** Reply payload: JSON as `dfs status --json` prints it. */
  status: { kind: 80, from: ['client'], request: {}, reply: {} },
  /** Events with seq above `after`, waiting up to `waitMs` for one. Reply payload: a JSON array. */
  events: {
    kind: 81,
    from: ['client'],
    request: { after: count(), limit: count(1000), waitMs: count(60_000) },
    reply: {},
  },
  /** What an operator wants of a peer. `dryRun`: only what would be moved. Reply payload: JSON, docs/command-line.md. */
  'change-peer': {
    kind: 82,
    from: ['client'],
    request: {
      peer: id,
      op: oneOf('drain', 'enable', 'maintenance', 'remove', 'repair', 'set'),
      weight: optional(measure()),
      zone: optional(text(255)),
      dryRun: flag(),
    },
    reply: {},
  },
  /** Settings of the whole cluster, those that are named. Reply payload as of `change-peer`. */
  'change-cluster': {
    kind: 83,
    from: ['client'],
    request: {
      replicas: optional(count(limits.replicasMax)),
      minInSync: optional(count(limits.replicasMax)),
      repairBytesPerSecond: optional(count()),
      movesPaused: optional(flag()),
      dryRun: flag(),
    },
    reply: {},
  },
  /** What would be unreadable, unwritable or lost if these peers stopped now. Reply payload: JSON. */
  'what-if': { kind: 84, from: ['client'], request: { stop: list(id, limits.peersMax) }, reply: {} },
} as const satisfies Record<string, Message>;

export type MessageName = keyof typeof messages;
export type RequestOf<N extends MessageName> = CheckedShape<(typeof messages)[N]['request']>;
export type ReplyOf<N extends MessageName> = CheckedShape<(typeof messages)[N]['reply']>;

const namesByKind = new Map<number, MessageName>(
  Object.entries(messages).map(([messageName, message]) => [message.kind, messageName as MessageName]),
);

export function messageNameOf(kind: number): MessageName | undefined {
  return namesByKind.get(kind);
}
