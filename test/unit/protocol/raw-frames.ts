/**
 * Frames made byte by byte from docs/wire-format.md alone, without the program's encoder: any field can be wrong.
 */
import { pack } from 'msgpackr';
import xxhash from 'xxhash-wasm';

const { h64Raw: xxh64 } = await xxhash();
const blockBytes = 65_536;

export const typeNumbers = {
  request: 1,
  reply: 2,
  refusal: 3,
  cancel: 4,
  'ask-credit': 5,
  credit: 6,
  'keep-alive': 7,
} as const;

export interface RawFrame {
  readonly type?: keyof typeof typeNumbers | number;
  readonly kind?: number;
  readonly requestId?: number | bigint;
  readonly header?: object | Uint8Array;
  readonly payload?: Uint8Array;
  /** What the head says, where that is not the truth. */
  readonly magic?: number;
  readonly version?: number;
  readonly headerLength?: number;
  readonly payloadLength?: number;
  readonly payloadFold?: bigint;
  readonly headChecksum?: bigint;
}

export function rawFrame(frame: RawFrame): Buffer {
  const { type = 'request', kind = 0, requestId = 0, payload } = frame;
  const header = frame.header instanceof Uint8Array ? frame.header : plainMsgpack(frame.header ?? {});
  const head = Buffer.alloc(40);
  head.writeUInt32BE(frame.magic ?? 0xdf646673, 0);
  head.writeUInt8(frame.version ?? 1, 12);
  head.writeUInt8(typeof type === 'number' ? type : typeNumbers[type], 13);
  head.writeUInt16BE(kind, 14);
  head.writeBigUInt64BE(BigInt(requestId), 16);
  head.writeUInt32BE(frame.headerLength ?? header.length, 24);
  head.writeUInt32BE(frame.payloadLength ?? payload?.length ?? 0, 28);
  head.writeBigUInt64BE(frame.payloadFold ?? (payload?.length ? checksumOf(payload) : 0n), 32);
  const covered = Buffer.concat([head.subarray(12), header]);
  head.writeBigUInt64BE(frame.headChecksum ?? xxh64(covered), 4);
  return Buffer.concat([head, header, payload ?? new Uint8Array(0)]);
}

function checksumOf(payload: Uint8Array): bigint {
  const sums = Buffer.alloc(Math.ceil(payload.length / blockBytes) * 8);
  for (let at = 0; at * blockBytes < payload.length; at++) {
    sums.writeBigUInt64BE(xxh64(payload.subarray(at * blockBytes, (at + 1) * blockBytes)), at * 8);
  }
  return xxh64(sums);
}

function plainMsgpack(value: object): Uint8Array {
  return pack(JSON.parse(JSON.stringify(value)) as object);
}

/** Bytes that differ from place to place. */
export function patterned(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let index = 0; index < sizeBytes; index++) bytes[index] = (index * 31 + (index >> 8)) & 0xff;
  return bytes;
}
