/**
 * From names and uploads to places in the hash space: xxh64 of the name's UTF-8 bytes, or of (upload id, index).
 */
import { writeU32 } from '../core/big-endian.js';
import { xxh64 } from '../core/checksum.js';
import type { TimedId } from '../core/ids.js';

export function hashOfName(name: string): bigint {
  return xxh64(Buffer.from(name, 'utf8'));
}

/** Where segment `index` ≥ 1 of an upload lives; segment 0 lives with its record, at the hash of the name. */
export function hashOfSegment(uploadId: TimedId, index: number): bigint {
  const bytes = new Uint8Array(uploadId.length + 4);
  bytes.set(uploadId);
  writeU32(bytes, uploadId.length, index);
  return xxh64(bytes);
}
