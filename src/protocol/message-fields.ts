/**
 * The fields that messages share: what a name, an id, a record on the wire may be.
 */
import { timedIdBytes } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { bytes, count, exactBytes, list, object, oneOf, optional, text, texts } from './checks.js';

export const id = text(64); // cluster, store and peer ids, lineages
export const address = text(255);
export const bucket = text(limits.bucketLengthMax);
export const name = text(limits.nameBytesMax);
export const checkpoint = text(64);
export const slot = count(limits.slotsMax - 1);
export const timedId = exactBytes(timedIdBytes);
export const keyBytesMax = 1200; // hash, kind, bucket, name and the upload id of a void
export const key = bytes(keyBytesMax);
export const sums = bytes((limits.segmentBytesMax / limits.blockBytes) * 8);
export const metadata = texts({ entriesMax: limits.metadataEntriesMax, bytesMax: limits.metadataBytesMax });
export const contentType = text(limits.contentTypeBytesMax);
export const version = object({ epoch: count(), counter: count() });
export const copies = object({ durable: count(limits.peersMax), wanted: count(limits.replicasMax) });

/** Where a client's request was routed: refused unless this very term of the slot is served here (rule F7). */
export const routed = { slot, term: count() };
/** From a slot's primary to a replica: refused when the slotEpoch is lower than the one promised (rule F4). */
export const fenced = { slot, slotEpoch: count(), term: count() };

export const entryKinds = ['record', 'tombstone', 'segment', 'void'] as const;
export type EntryKind = (typeof entryKinds)[number];

/** An entry as replicas exchange it: `body` is opaque here (src/peer/entry.ts says what it holds). */
export const entry = object({ key, kind: oneOf(...entryKinds), version, body: bytes(limits.uncreditedBytesMax), sums });

export const fileRecord = object({
  bucket,
  name,
  version,
  size: count(),
  checksum: exactBytes(8),
  segmentBytes: count(limits.segmentBytesMax),
  segments: count(limits.segmentsMax),
  uploadId: timedId,
  contentType: optional(contentType),
  metadata,
  createdAtMs: count(),
  modifiedAtMs: count(),
});

export const acknowledged = {
  version,
  slotEpoch: count(),
  copies,
  primary: id,
  backups: list(id, limits.peersMax),
};

export type WireEntry = ReturnType<typeof entry>;
export type WireFileRecord = ReturnType<typeof fileRecord>;
