/**
 * Whether an answer's blocks are what was asked for, and the part of them that was wanted.
 *
 * A peer answers whole blocks with the sums their writer made; here they are compared with those of what arrived, so
 * nothing between the writer's memory and this one goes unnoticed (S5).
 */
import { sameBytes } from '../core/checksum.js';
import { DfsError } from '../core/errors.js';
import { limits } from '../core/limits.js';

export interface Blocks {
  /** Where in the segment the payload begins. */
  readonly offset: number;
  readonly payload: Uint8Array | undefined;
  /** Told by the writer. */
  readonly sums: Uint8Array;
  /** Of what arrived. */
  readonly arrivedSums: Uint8Array | undefined;
}

const nothing = new Uint8Array(0);

/** Bytes `start` … `end` − 1 of a segment of `sizeBytes`. Throws DfsError `integrity`. */
export function wantedBytes(
  blocks: Blocks,
  wanted: { start: number; end: number; sizeBytes: number; about: string },
): Uint8Array {
  const { start, end, sizeBytes, about } = wanted;
  if (start >= end) return nothing;
  const { offset, payload, sums, arrivedSums } = blocks;
  const firstByte = start - (start % limits.blockBytes);
  const endByte = Math.min(sizeBytes, Math.ceil(end / limits.blockBytes) * limits.blockBytes);
  if (payload === undefined || offset !== firstByte || payload.length !== endByte - firstByte) {
    throw new DfsError('integrity', `${about}: the answer holds other bytes than those asked for`);
  }
  if (arrivedSums === undefined || !sameBytes(sums, arrivedSums)) {
    throw new DfsError('integrity', `${about}: a block does not match its checksum`);
  }
  return start === firstByte && end === endByte ? payload : payload.subarray(start - offset, end - offset);
}
