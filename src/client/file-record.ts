/**
 * A file's record as the wire has it, turned into what users see, and the arithmetic of its segments.
 */
import { readU64 } from '../core/big-endian.js';
import { formatChecksum } from '../core/checksum.js';
import { formatVersion } from '../core/ids.js';
import { toIsoTime } from '../core/iso-time.js';
import type { WireFileRecord } from '../protocol/message-fields.js';
import type { FileStat } from './results.js';

export function checksumOf(record: WireFileRecord): bigint {
  return readU64(record.checksum);
}

export function toStat(record: WireFileRecord): FileStat {
  return {
    bucket: record.bucket,
    name: record.name,
    version: formatVersion(record.version),
    size: record.size,
    checksum: formatChecksum(checksumOf(record)),
    segments: record.segments,
    segmentBytes: record.segmentBytes,
    ...(record.contentType === undefined ? {} : { contentType: record.contentType }),
    metadata: record.metadata,
    createdAt: toIsoTime(record.createdAtMs),
    modifiedAt: toIsoTime(record.modifiedAtMs),
  };
}

/** How many bytes segment `index` of the file holds. */
export function segmentSizeOf(record: WireFileRecord, index: number): number {
  return Math.max(0, Math.min(record.segmentBytes, record.size - index * record.segmentBytes));
}
