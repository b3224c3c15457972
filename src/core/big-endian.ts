/**
 * Numbers in bytes, the most significant byte first: what a DataView does, for arrays of a few bytes.
 *
 * A view costs ten times what is done with it then, and moves the bytes of a small array off the engine's own heap.
 * Reading past the end throws a RangeError.
 */

const eight = new Uint8Array(8);
const view = new DataView(eight.buffer);

export function readU16(bytes: Uint8Array, at = 0): number {
  return byteAt(bytes, at) * 0x100 + byteAt(bytes, at + 1);
}

export function readU32(bytes: Uint8Array, at = 0): number {
  return readU16(bytes, at) * 0x10000 + readU16(bytes, at + 2);
}

export function readU64(bytes: Uint8Array, at = 0): bigint {
  load(bytes, at);
  return view.getBigUint64(0);
}

export function readF64(bytes: Uint8Array, at = 0): number {
  load(bytes, at);
  return view.getFloat64(0);
}

export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  writeU16(bytes, at, value >>> 16);
  writeU16(bytes, at + 2, value);
}

export function writeU64(bytes: Uint8Array, at: number, value: bigint): void {
  view.setBigUint64(0, value);
  bytes.set(eight, at);
}

export function writeF64(bytes: Uint8Array, at: number, value: number): void {
  view.setFloat64(0, value);
  bytes.set(eight, at);
}

export function u64Bytes(value: bigint): Uint8Array {
  view.setBigUint64(0, value);
  return new Uint8Array(eight);
}

function load(bytes: Uint8Array, at: number): void {
  for (let index = 0; index < eight.length; index++) eight[index] = byteAt(bytes, at + index);
}

function byteAt(bytes: Uint8Array, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new RangeError(`There is no byte ${at} in ${bytes.length}`);
  return byte;
}
