/**
 * Plain data as msgpack: the headers of frames and the bodies of entries, without extensions, so that any language can
 * speak it.
 *
 * Bytes from outside are walked token by token against a budget before the decoder sees them: it would allocate
 * whatever a five-byte array header claims, and revive extension types.
 */
import { isUtf8 } from 'node:buffer';
// This entry has no native part: nothing to load at start-up, and untrusted bytes stay in checked code.
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
  int64AsType: 'number',
  copyBuffers: true, // a 16-byte id must not keep alive the 64 KiB it arrived in
});

const emptyHeader: Header = Object.freeze({});
const emptyHeaderBytes = Uint8Array.of(0x80);

export function packPlain(value: object): Uint8Array {
  for (const _ in value) return withoutBuffer(packr.pack(value));
  return emptyHeaderBytes;
}

/** Refuses `invalid` what is not exactly one map of plain data within the budget. */
export function unpackPlain(bytes: Uint8Array, entriesMax: number = limits.msgpackEntriesMax): Header {
  if (bytes.length === 1 && bytes[0] === 0x80) return emptyHeader;
  new TokenWalk(bytes, entriesMax).walk();
  return packr.unpack(withoutBuffer(bytes)) as Header;
}

/** The decoder makes binary fields of its source's class, and a Buffer's `slice` would not copy. */
function withoutBuffer(bytes: Uint8Array): Uint8Array {
  return bytes instanceof Buffer ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;
}

const protoKey = '__proto__';

/** What a msgpack token announces; ranges of the specification's first bytes. */
type Token = { readonly items: number; readonly isMap: boolean } | undefined;

class TokenWalk {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;
  readonly #entriesMax: number;
  #entries = 0;

  constructor(bytes: Uint8Array, entriesMax: number) {
    this.#bytes = bytes;
    this.#entriesMax = entriesMax;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  walk(): void {
    const first = this.#bytes[0] ?? 0;
    const isMap = (first >= 0x80 && first <= 0x8f) || first === 0xde || first === 0xdf;
    if (!isMap) refuse('invalid', 'The msgpack value is not a map');
    this.#value(1);
    if (this.#offset !== this.#bytes.length) refuse('invalid', 'The msgpack map has bytes after its map');
  }

  #value(depth: number): void {
    const container = this.#token();
    if (container === undefined) return;
    if (depth > limits.msgpackDepthMax)
      refuse('invalid', `The msgpack map is nested deeper than ${limits.msgpackDepthMax}`);
    this.#entries += container.items;
    if (this.#entries > this.#entriesMax) {
      refuse('invalid', `The msgpack map has more than ${this.#entriesMax} entries`);
    }
    for (let item = 0; item < container.items; item++) {
      if (container.isMap) this.#key();
      this.#value(depth + 1);
    }
  }

  /** Passes one token; for a list or map, only its head. */
  #token(): Token {
    const first = this.#u8();
    if (first < 0x80 || first >= 0xe0) return undefined; // small whole numbers
    if (first < 0x90) return { items: first & 0x0f, isMap: true };
    if (first < 0xa0) return { items: first & 0x0f, isMap: false };
    if (first < 0xc0) return this.#text(first & 0x1f);
    switch (first) {
      case 0xc0: // nil
      case 0xc2: // false
      case 0xc3: // true
        return undefined;
      case 0xc4:
        return this.#skip(this.#u8());
      case 0xc5:
        return this.#skip(this.#u16());
      case 0xc6:
        return this.#skip(this.#u32());
      case 0xcc: // whole numbers of 1 byte
      case 0xd0:
        return this.#skip(1);
      case 0xcd: // of 2
      case 0xd1:
        return this.#skip(2);
      case 0xca: // float32, whole numbers of 4
      case 0xce:
      case 0xd2:
        return this.#skip(4);
      case 0xcb: // float64, whole numbers of 8
      case 0xcf:
      case 0xd3:
        return this.#skip(8);
      case 0xd9:
        return this.#text(this.#u8());
      case 0xda:
        return this.#text(this.#u16());
      case 0xdb:
        return this.#text(this.#u32());
      case 0xdc:
        return { items: this.#u16(), isMap: false };
      case 0xdd:
        return { items: this.#u32(), isMap: false };
      case 0xde:
        return { items: this.#u16(), isMap: true };
      case 0xdf:
        return { items: this.#u32(), isMap: true };
      default:
        return refuse('invalid', `The msgpack map holds an extension or unknown type 0x${first.toString(16)}`);
    }
  }

  #key(): void {
    const first = this.#bytes[this.#offset] ?? 0;
    const isText = (first >= 0xa0 && first < 0xc0) || (first >= 0xd9 && first <= 0xdb);
    if (!isText) refuse('invalid', 'A key in the msgpack map is not text');
    this.#token();
    if (this.#endsWithProto()) refuse('invalid', `A key in the msgpack map is ${protoKey}`);
  }

  /** Whether the text just passed is `__proto__`; its length byte or bytes stand before it, so the end decides. */
  #endsWithProto(): boolean {
    const start = this.#offset - protoKey.length;
    if (start < 1 || this.#lastTextBytes !== protoKey.length) return false;
    for (let index = 0; index < protoKey.length; index++) {
      if (this.#bytes[start + index] !== protoKey.charCodeAt(index)) return false;
    }
    return true;
  }

  #lastTextBytes = 0;

  #text(length: number): undefined {
    const start = this.#offset;
    this.#skip(length);
    this.#lastTextBytes = length;
    for (let index = start; index < this.#offset; index++) {
      if ((this.#bytes[index] as number) < 0x80) continue;
      if (!isUtf8(this.#bytes.subarray(index, this.#offset))) refuse('invalid', 'Text in the msgpack map is not UTF-8');
      return undefined;
    }
    return undefined;
  }

  #skip(count: number): undefined {
    if (count > this.#bytes.length - this.#offset) refuse('invalid', 'The msgpack map ends in the middle of a value');
    this.#offset += count;
    return undefined;
  }

  #u8(): number {
    this.#skip(1);
    return this.#bytes[this.#offset - 1] as number;
  }

  #u16(): number {
    this.#skip(2);
    return this.#view.getUint16(this.#offset - 2);
  }

  #u32(): number {
    this.#skip(4);
    return this.#view.getUint32(this.#offset - 4);
  }
}
