import { expect, it } from 'vitest';
import { givePayloadMemory, takePayloadMemory } from '../../../src/core/payload-memory.js';

const mebibyte = 1024 * 1024;

it('memory given back is taken again, once, for the same size', () => {
  const bytes = takePayloadMemory(3 * mebibyte);
  givePayloadMemory(bytes);
  // Whether it is the same memory; whether it has the same bytes would take long to see.
  const isTakenAgain = (size: number): boolean => takePayloadMemory(size) === bytes;
  expect([2 * mebibyte, 3 * mebibyte, 3 * mebibyte].map(isTakenAgain)).toEqual([false, true, false]);
});

it('small memory, parts of memory and Buffers are left to the collector', () => {
  const whole = new Uint8Array(4 * mebibyte);
  for (const bytes of [new Uint8Array(5000), whole.subarray(mebibyte), Buffer.alloc(3 * mebibyte)]) {
    givePayloadMemory(bytes);
    expect(takePayloadMemory(bytes.length) === bytes).toBe(false);
  }
});

it('no more than a few transfers need is kept', () => {
  const given: Uint8Array[] = Array.from({ length: 40 }, () => new Uint8Array(mebibyte));
  for (const bytes of given) givePayloadMemory(bytes);
  const taken = given.map(() => takePayloadMemory(mebibyte));
  expect(taken.filter((bytes) => given.includes(bytes))).toHaveLength(32);
});
