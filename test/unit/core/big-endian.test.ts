import { describe, expect, it } from 'vitest';
import {
  readF64,
  readU16,
  readU32,
  readU64,
  u64Bytes,
  writeF64,
  writeU16,
  writeU32,
  writeU64,
} from '../../../src/core/big-endian.js';

const at = 3;
const bytes = new Uint8Array(16);
const view = new DataView(bytes.buffer);

describe('a number in bytes', () => {
  it.each([0, 1, 255, 256, 0xffff])('of 16 bits is as a DataView has it: %d', (value) => {
    writeU16(bytes, at, value);
    expect([view.getUint16(at), readU16(bytes, at)]).toEqual([value, value]);
  });

  it.each([0, 1, 0xffff, 0x10000, 0x80000001, 0xffffffff])('of 32 bits is as a DataView has it: %d', (value) => {
    writeU32(bytes, at, value);
    expect([view.getUint32(at), readU32(bytes, at)]).toEqual([value, value]);
  });

  it.each([0n, 1n, 0x1_0000_0000n, 0x8000_0000_0000_0001n, 2n ** 64n - 1n])(
    'of 64 bits is as a DataView has it: %d',
    (value) => {
      writeU64(bytes, at, value);
      expect([view.getBigUint64(at), readU64(bytes, at), readU64(u64Bytes(value))]).toEqual([value, value, value]);
    },
  );

  it.each([0, -1, 0.1, 2 ** 53 - 1, Number.NEGATIVE_INFINITY])(
    'with a fraction is as a DataView has it: %d',
    (value) => {
      writeF64(bytes, at, value);
      expect([view.getFloat64(at), readF64(bytes, at)]).toEqual([value, value]);
    },
  );

  it('that is not all there throws', () => {
    const seven = new Uint8Array(7);
    expect(() => readU16(seven, 6)).toThrow(RangeError);
    expect(() => readU32(seven, 4)).toThrow(RangeError);
    expect(() => readU64(seven)).toThrow(RangeError);
    expect(() => readF64(seven)).toThrow(RangeError);
  });
});
