/**
 * Chance from the operating system, fetched in blocks: a call for each id costs 3 µs, a piece of a block 0.1.
 */
import { randomBytes, randomInt } from 'node:crypto';
import type { Random } from '../core/environment.js';

const fractionSteps = 2 ** 48 - 1;
const blockBytes = 4096;

let block: Uint8Array = new Uint8Array(0);
let used = 0;

function bytes(count: number): Uint8Array {
  if (count > blockBytes) return new Uint8Array(randomBytes(count));
  if (used + count > block.length) {
    block = new Uint8Array(randomBytes(blockBytes));
    used = 0;
  }
  used += count;
  return block.slice(used - count, used);
}

export const systemRandom: Random = { bytes, fraction: () => randomInt(fractionSteps) / fractionSteps };
