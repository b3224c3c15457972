/**
 * Chance from the operating system.
 */
import { randomBytes, randomInt } from 'node:crypto';
import type { Random } from '../core/environment.js';

const fractionSteps = 2 ** 48 - 1;

export const systemRandom: Random = {
  bytes: (count) => new Uint8Array(randomBytes(count)),
  fraction: () => randomInt(fractionSteps) / fractionSteps,
};
