/**
 * Plain data as msgpack: the headers of frames and the bodies of entries, without extensions, so that any language can
 * speak it (https://github.com/msgpack/msgpack/blob/master/spec.md).
 *
 * Bytes from outside are read here token by token against a budget, in one pass: a decoder of the usual kind allocates
 * whatever a five-byte array header claims, and revives extension types.
 */
import { isUtf8 } from 'node:buffer';
// This entry has no native part: nothing to load at start-up.
import { Packr } from 'msgpackr/pack';
import { refuse } from '../core/errors.js';
import { limits } from '../core/limits.js';

export type Header = Readonly<Record<string, unknown>>;

const packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  mapsAsObjects: true,
  moreTypes: false,
  encodeUndefinedAsNil: true,
});

const emptyHeader: Header = Object.freeze({});
const emptyHeaderBytes = Uint8Array.of(0x80);

export function packPlain(value: object): Uint8Array {
  for (const _ in value) {
    const packed = packr.pack(value);
    return new Uint8Array(packed.buffer, packed.byteOffset, packed.length); // a Buffer's slice is no copy
  }
  return emptyHeaderBytes;
}

/** Refuses `invalid` what is not exactly one map of plain data within the budget. Nothing of the bytes is kept. */
export function unpackPlain(bytes: Uint8Array, entriesMax: number = limits.msgpackEntriesMax): Header {
  if (bytes.length === 1 && bytes[0] === 0x80) return emptyHeader;
  return new PlainReader(bytes, entriesMax).read();
}

// --- Keys ------------------------------------------------------------------------------------------------------------

const protoKey = '__proto__';
const shortKeyBytes = 24;
/** The newest key of each place: the same few come again and again, and the engine wants the same string each time. */
const knownKeys: (string | undefined)[] = Array(1024).fill(undefined);

function placeOf(first: number, last: number, length: number): number {
  return ((length << 5) ^ (first << 2) ^ last) & (knownKeys.length - 1);
}

// --- Values ----------------------------------------------------------------------------------------------------------

class PlainReader {
  readonly #bytes: Uint8Array;
  readonly #entriesMax: number;
  #offset = 0;
  #entries = 0;
  #view: DataView | undefined;
  #text: Buffer | undefined;

  constructor(bytes: Uint8Array, entriesMax: number) {
    this.#bytes = bytes;
    this.#entriesMax = entriesMax;
  }

  read(): Header {
    const first = this.#bytes[0] ?? 0;
    const isMap = (first >= 0x80 && first <= 0x8f) || first === 0xde || first === 0xdf;
    if (!isMap) refuse('invalid', 'The msgpack value is not a map');
    const value = this.#value(1);
    if (this.#offset !== this.#bytes.length) refuse('invalid', 'The msgpack map has bytes after its map');
    return value as Header;
  }

  /** By the ranges of the specification's first bytes. */
  #value(depth: number): unknown {
    const first = this.#u8();
    if (first < 0x80) return first;
    if (first < 0x90) return this.#map(first & 0x0f, depth);
    if (first < 0xa0) return this.#list(first & 0x0f, depth);
    if (first < 0xc0) return this.#string(first & 0x1f);
    if (first >= 0xe0) return first - 0x100;
    if (first >= 0xca && first <= 0xd3) return this.#number(first);
    switch (first) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#u8());
      case 0xc5:
        return this.#binary(this.#u16());
      case 0xc6:
        return this.#binary(this.#u32());
      case 0xd9:
        return this.#string(this.#u8());
      case 0xda:
        return this.#string(this.#u16());
      case 0xdb:
        return this.#string(this.#u32());
      case 0xdc:
        return this.#list(this.#u16(), depth);
      case 0xdd:
        return this.#list(this.#u32(), depth);
      case 0xde:
        return this.#map(this.#u16(), depth);
      case 0xdf:
        return this.#map(this.#u32(), depth);
      default:
        return refuse('invalid', `The msgpack map holds an extension or unknown type 0x${first.toString(16)}`);
    }
  }

  #number(first: number): number {
    switch (first) {
      case 0xca:
        return this.#viewOf(4).getFloat32(this.#offset - 4);
      case 0xcb:
        return this.#viewOf(8).getFloat64(this.#offset - 8);
      case 0xcc:
        return this.#u8();
      case 0xcd:
        return this.#u16();
      case 0xce:
        return this.#u32();
      case 0xcf:
        return this.#u32() * 2 ** 32 + this.#u32();
      case 0xd0:
        return (this.#u8() << 24) >> 24;
      case 0xd1:
        return (this.#u16() << 16) >> 16;
      case 0xd2:
        return this.#u32() | 0;
      default: // 0xd3
        return (this.#u32() | 0) * 2 ** 32 + this.#u32();
    }
  }

  #enter(items: number, depth: number): void {
    if (depth > limits.msgpackDepthMax)
      refuse('invalid', `The msgpack map is nested deeper than ${limits.msgpackDepthMax}`);
    this.#entries += items;
    if (this.#entries > this.#entriesMax) {
      refuse('invalid', `The msgpack map has more than ${this.#entriesMax} entries`);
    }
  }

  #list(items: number, depth: number): unknown[] {
    this.#enter(items, depth);
    const list: unknown[] = [];
    for (let item = 0; item < items; item++) list.push(this.#value(depth + 1));
    return list;
  }

  #map(items: number, depth: number): Record<string, unknown> {
    this.#enter(items, depth);
    const map: Record<string, unknown> = {};
    for (let item = 0; item < items; item++) {
      const key = this.#key();
      map[key] = this.#value(depth + 1);
    }
    return map;
  }

  #key(): string {
    const first = this.#bytes[this.#offset] ?? 0;
    const isText = (first >= 0xa0 && first < 0xc0) || (first >= 0xd9 && first <= 0xdb);
    if (!isText) refuse('invalid', 'A key in the msgpack map is not text');
    const length = first & 0x1f;
    const isShort = first < 0xc0 && length > 0 && length <= shortKeyBytes;
    const key = (isShort && this.#knownKey(length)) || this.#newKey(isShort);
    if (key === protoKey) refuse('invalid', `A key in the msgpack map is ${protoKey}`);
    return key;
  }

  /** The key that stands here behind one byte of length, if it is known; it is passed then. */
  #knownKey(length: number): string | undefined {
    const bytes = this.#bytes;
    const start = this.#offset + 1;
    const known = knownKeys[placeOf(bytes[start] ?? 0, bytes[start + length - 1] ?? 0, length)];
    if (known === undefined || known.length !== length) return undefined;
    for (let at = 0; at < length; at++) if (bytes[start + at] !== known.charCodeAt(at)) return undefined;
    this.#offset = start + length;
    return known;
  }

  #newKey(isShort: boolean): string {
    const key = this.#value(0) as string;
    // Of others the bytes are not what charCodeAt tells.
    const isAscii = isShort && Buffer.byteLength(key) === key.length;
    if (isAscii) knownKeys[placeOf(key.charCodeAt(0), key.charCodeAt(key.length - 1), key.length)] = key;
    return key;
  }

  #string(length: number): string {
    const start = this.#skip(length);
    const end = this.#offset;
    const text = this.#textOf();
    for (let at = start; at < end; at++) {
      if ((this.#bytes[at] as number) < 0x80) continue;
      if (!isUtf8(this.#bytes.subarray(at, end))) refuse('invalid', 'Text in the msgpack map is not UTF-8');
      return text.toString('utf8', start, end);
    }
    return text.toString('latin1', start, end);
  }

  /** A copy: a 16-byte id must not keep alive the 64 KiB it arrived in. */
  #binary(length: number): Uint8Array {
    const start = this.#skip(length);
    const copy = new Uint8Array(length);
    copy.set(this.#bytes.subarray(start, this.#offset));
    return copy;
  }

  #textOf(): Buffer {
    const { buffer, byteOffset, length } = this.#bytes;
    this.#text ??= Buffer.from(buffer, byteOffset, length);
    return this.#text;
  }

  /** Passes so many bytes, of which the caller reads a number. */
  #viewOf(count: number): DataView {
    this.#skip(count);
    const { buffer, byteOffset, length } = this.#bytes;
    this.#view ??= new DataView(buffer, byteOffset, length);
    return this.#view;
  }

  /** Passes so many bytes; returns where they begin. */
  #skip(count: number): number {
    const start = this.#offset;
    if (count > this.#bytes.length - start) refuse('invalid', 'The msgpack map ends in the middle of a value');
    this.#offset += count;
    return start;
  }

  #u8(): number {
    return this.#bytes[this.#skip(1)] as number;
  }

  #u16(): number {
    return this.#u8() * 0x100 + this.#u8();
  }

  #u32(): number {
    return this.#u16() * 0x10000 + this.#u16();
  }
}
