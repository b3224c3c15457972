/**
 * What clients ask of peers: files, listings, the state of copies.
 */
import { limits } from '../core/limits.js';
import { bytes, count, exactBytes, flag, list, measure, oneOf, optional, text } from './checks.js';
import type { Message } from './message.js';
import {
  acknowledged,
  bucket,
  checkpoint,
  contentType,
  fileRecord,
  id,
  keyBytesMax,
  metadata,
  name,
  routed,
  slot,
  sums,
  timedId,
  version,
} from './message-fields.js';

export const clientMessages = {
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
   * With `elsewhere` a slow primary may leave out bytes that others hold too (`leftOut`): they are read there, by
   * version. `slow`: peers to read last.
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
      elsewhere: optional(flag()),
    },
    reply: {
      record: fileRecord,
      offset: count(),
      sums,
      acknowledged: flag(),
      leftOut: optional(flag()),
      slow: optional(list(id, limits.peersMax)),
    },
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

  /** How far this peer is with reading all its copies; `start`: it begins, or goes on faster. */
  scrub: {
    kind: 19,
    from: ['client'],
    request: { start: flag() },
    reply: {
      isRunning: flag(),
      /** Of the pass that runs, or of the last one; times by the cluster's clock, 0 for never. */
      startedMs: count(),
      /** Everything there was read since then, and verified or written down as bad. */
      allSinceMs: count(),
      entries: count(),
      bytes: count(),
      bad: count(),
    },
  },

  /** Which slots this peer's part of a checkpoint has whole. Reply payload: vouch rows. */
  'checkpoint-slots': { kind: 20, from: ['client'], request: { checkpoint }, reply: {} },
  /**
   * Files of a checkpoint in the given slots, in order of bucket and name, after the position `after` (bucket, 0, name;
   * empty: from the start); of all buckets without `bucket`. Reply payload: file rows. `more`: the page was full.
   */
  'checkpoint-files': {
    kind: 21,
    from: ['client'],
    request: {
      checkpoint,
      bucket: optional(bucket),
      prefix: text(limits.nameBytesMax),
      after: bytes(keyBytesMax),
      limit: count(limits.listPageRowsMax),
      slots: bytes(limits.slotsMax / 8),
    },
    reply: { more: flag() },
  },
  /**
   * As `get-segment`, of a checkpoint's part here. Of segment 0 the `record` comes along, whatever its `uploadId`.
   */
  'checkpoint-read': {
    kind: 22,
    from: ['client'],
    request: {
      checkpoint,
      bucket,
      name,
      uploadId: optional(timedId),
      index: count(limits.segmentsMax),
      start: count(),
      end: count(),
    },
    reply: { record: optional(fileRecord), size: count(), offset: count(), sums },
  },

  /** How this peer's host and process are, for `dfs doctor`. */
  'examine-peer': {
    kind: 25,
    from: ['client'],
    request: {},
    reply: {
      /** By its own clock, ms since 1970. */
      wallMs: count(),
      node: text(64),
      /** How late its event loop was at worst in the last seconds. */
      lagMs: measure(),
      freeBytes: count(),
      totalBytes: count(),
      reserveBytes: count(),
      damaged: count(),
      verifiedSinceMs: count(),
      /** Whether it is connected to a master. */
      isJoined: flag(),
    },
  },
} as const satisfies Record<string, Message>;
