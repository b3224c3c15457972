import { expect, it } from 'vitest';
import { givePayloadMemory, takePayloadMemory } from '../../../src/core/payload-memory.js';

const mebibyte = 1024 * 1024;

// Whether it is the same memory; whether it has the same bytes would take long to see.
const isSame = (bytes: Uint8Array, other: Uint8Array): boolean => bytes.buffer === other.buffer;

it('memory given back is taken again, once, for about the same size', () => {
  const bytes = takePayloadMemory(3 * mebibyte);
  givePayloadMemory(bytes);
  const isTakenAgain = (size: number): boolean => isSame(takePayloadMemory(size), bytes);
  const sizes = [2 * mebibyte, 3 * mebibyte - 1000, 3 * mebibyte];
  expect(sizes.map(isTakenAgain)).toEqual([false, true, false]);
});

it.each([64 * 1024 + 1, 100_000, 200_001, mebibyte, 4 * mebibyte + 4096])(
  '%i bytes waste less than an eighth',
  (size) => {
    const bytes = takePayloadMemory(size);
    expect(bytes).toHaveLength(size);
    expect(bytes.buffer.byteLength).toBeLessThan(size * 1.125);
  },
);

it('a part stands for all of the memory it lies in', () => {
  const bytes = takePayloadMemory(5 * mebibyte);
  givePayloadMemory(bytes.subarray(mebibyte, 2 * mebibyte));
  expect(isSame(takePayloadMemory(5 * mebibyte), bytes)).toBe(true);
});

it('small memory, and what others made, is left to the collector', () => {
  for (const bytes of [takePayloadMemory(5000), new Uint8Array(4 * mebibyte), Buffer.alloc(3 * mebibyte)]) {
    givePayloadMemory(bytes);
    expect(isSame(takePayloadMemory(bytes.length), bytes)).toBe(false);
  }
});

it('no more than a few transfers need is kept: what was given last, whatever its size', () => {
  const given = Array.from({ length: 40 }, () => takePayloadMemory(mebibyte));
  for (const bytes of given) givePayloadMemory(bytes);
  const larger = takePayloadMemory(2 * mebibyte);
  givePayloadMemory(larger);
  expect(isSame(takePayloadMemory(2 * mebibyte), larger)).toBe(true);
  const taken = given.map(() => takePayloadMemory(mebibyte).buffer);
  expect(given.filter((bytes) => taken.includes(bytes.buffer))).toHaveLength(30);
});

it('memory given back twice would have two users', () => {
  const bytes = takePayloadMemory(6 * mebibyte);
  givePayloadMemory(bytes);
  expect(() => givePayloadMemory(bytes)).toThrow('given back once');
});
