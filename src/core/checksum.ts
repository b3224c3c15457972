/**
 * xxh64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md) over bytes, and the block checksums on it.
 *
 * Bytes on the move carry one xxh64 per block of 64 KiB, made once by the sender. The *fold* of a payload is the xxh64
 * of its block checksums in order: whoever has verified the blocks has verified the payload.
 */
import xxhash from 'xxhash-wasm';
import { writeU64 } from './big-endian.js';
import { limits } from './limits.js';

const api = await xxhash();

export function xxh64(bytes: Uint8Array): bigint {
  return api.h64Raw(bytes);
}

export interface RunningChecksum {
  update(bytes: Uint8Array): void;
  digest(): bigint;
}

/** The whole content's checksum, fed in order. */
export function runningXxh64(): RunningChecksum {
  const hash = api.create64();
  return {
    update: (bytes) => void hash.update(bytes),
    digest: () => hash.digest(),
  };
}

/** The form users see: "xxh64:0123456789abcdef". */
export function formatChecksum(checksum: bigint): string {
  return `xxh64:${checksum.toString(16).padStart(16, '0')}`;
}

export function blockCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / limits.blockBytes);
}

/** 8 bytes, big endian, for each block of 64 KiB. */
export function blockSums(bytes: Uint8Array): Uint8Array {
  const sums = new Uint8Array(blockCount(bytes.length) * 8);
  for (let block = 0; block * 8 < sums.length; block++) {
    const start = block * limits.blockBytes;
    writeU64(sums, block * 8, api.h64Raw(bytes.subarray(start, start + limits.blockBytes)));
  }
  return sums;
}

export function foldSums(sums: Uint8Array): bigint {
  return api.h64Raw(sums);
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
