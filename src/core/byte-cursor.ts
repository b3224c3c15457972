/**
 * Writes and reads the compact binary forms (maps, rows): big-endian numbers, varints, texts with their length.
 *
 * A varint is a whole number below 2^53 in groups of 7 bits, lowest first, the top bit set on all but the last byte.
 * The reader treats its bytes as foreign: whatever runs past the end or above a bound is refused as `invalid`.
 */
import { assert } from './assert.js';
import { readF64, readU64, writeF64, writeU64 } from './big-endian.js';
import { refuse } from './errors.js';

/** Most are one row of a table. */
const startBytes = 64;

export class ByteWriter {
  #bytes = new Uint8Array(startBytes);
  #length = 0;

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u64(value: bigint): void {
    this.#reserve(8);
    writeU64(this.#bytes, this.#length, value);
    this.#length += 8;
  }

  f64(value: number): void {
    this.#reserve(8);
    writeF64(this.#bytes, this.#length, value);
    this.#length += 8;
  }

  varint(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, `A varint is a whole number, not ${value}`);
    this.#reserve(8);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  /** The bytes alone: the reader must know how many. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** The number of bytes as a varint, then the bytes. */
  bytes(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /** UTF-8 behind its length in bytes. */
  text(text: string): void {
    this.bytes(Buffer.from(text));
  }

  /** What was written, in an array of its own. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 4, this.#length + count));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const shortTextBytes = 256; // ASCII up to this length, most names, is read sooner without the decoder

export class ByteReader {
  readonly #bytes: Uint8Array;
  /** The same bytes. */
  readonly #buffer: Buffer;
  readonly #what: string;
  #offset = 0;

  /** `what` names the bytes in refusals: "The cluster map". */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength); // a Buffer's slice is no copy
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number;
  }

  u64(): bigint {
    return readU64(this.#bytes, this.#take(8));
  }

  f64(): number {
    return readF64(this.#bytes, this.#take(8));
  }

  varint(max: number = Number.MAX_SAFE_INTEGER): number {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = this.#bytes[this.#take(1)] as number;
      value += (byte & 0x7f) * scale;
      if (value > max || scale > 2 ** 49) refuse('invalid', `${this.#what} holds a number above ${max}`);
      if (byte < 0x80) return value;
    }
  }

  /** A varint that announces how many items follow, each of at least `itemBytesMin` bytes. */
  count(itemBytesMin: number, max: number = Number.MAX_SAFE_INTEGER): number {
    const count = this.varint(max);
    if (count * itemBytesMin > this.remaining)
      refuse('invalid', `${this.#what} announces ${count} items but ends before`);
    return count;
  }

  /** A copy of the next `count` bytes. */
  raw(count: number): Uint8Array {
    const start = this.#take(count);
    return this.#bytes.slice(start, start + count);
  }

  bytes(max: number): Uint8Array {
    return this.raw(this.varint(max));
  }

  text(bytesMax: number): string {
    const length = this.varint(bytesMax);
    const start = this.#take(length);
    if (length <= shortTextBytes && this.#isAscii(start, start + length)) {
      return this.#buffer.toString('latin1', start, start + length);
    }
    try {
      return utf8.decode(this.#bytes.subarray(start, start + length));
    } catch (error) {
      return refuse('invalid', `${this.#what} holds text that is not UTF-8`, { cause: error });
    }
  }

  /** Refuses bytes left over. */
  finish(): void {
    if (this.remaining > 0) refuse('invalid', `${this.#what} has ${this.remaining} bytes too many`);
  }

  #isAscii(start: number, end: number): boolean {
    for (let at = start; at < end; at++) if ((this.#bytes[at] as number) >= 0x80) return false;
    return true;
  }

  #take(count: number): number {
    if (count > this.remaining) refuse('invalid', `${this.#what} ends too early`);
    const start = this.#offset;
    this.#offset += count;
    return start;
  }
}
