/**
 * Frames as bytes: a fixed head of 40 bytes, a msgpack header, raw payload bytes (docs/wire-format.md).
 *
 * The decoder takes bytes as they come, in any pieces, and holds what it was told to bounds before it allocates. It
 * trusts nothing: what breaks the format is a WireViolation, after which the connection must be closed. Only a payload
 * that does not match its checksum is handed on, marked: the stream around it is sound.
 */
import { assert, assertDefined } from '../core/assert.js';
import { readU64, writeU64 } from '../core/big-endian.js';
import { blockCount, foldSums, xxh64 } from '../core/checksum.js';
import { isRefusal } from '../core/errors.js';
import { limits } from '../core/limits.js';
import type { Frame, FrameType } from '../core/network.js';
import { takePayloadMemory } from '../core/payload-memory.js';
import { type Header, unpackPlain } from './codec.js';

/** Version of this layout; the first 13 bytes keep their meaning in every version. */
export const frameVersion = 1;
export const frameHeadBytes = 40;

const magic = Uint8Array.of(0xdf, 0x64, 0x66, 0x73); // no ASCII text and no TLS record starts so
const checksumAt = 4;
const versionAt = 12;
const typeAt = 13;
const kindAt = 14;
const requestIdAt = 16;
const headerLengthAt = 24;
const payloadLengthAt = 28;
const payloadFoldAt = 32;

const frameTypes: readonly FrameType[] = [
  'request',
  'reply',
  'refusal',
  'cancel',
  'ask-credit',
  'credit',
  'keep-alive',
];
const typeNumbers = new Map(frameTypes.map((type, index) => [type, index + 1]));

/** The other side broke the format; the message says how. */
export class WireViolation extends Error {
  override name = 'WireViolation';
}

function violation(message: string): never {
  throw new WireViolation(message);
}

/**
 * Writes a frame's head and header into `target` at `offset` and returns where they end. `header` is the encoded
 * header, `payloadFold` the fold of the payload's block checksums (0 without payload).
 */
export function writeHead(
  frame: Frame,
  encoded: { header: Uint8Array; payloadFold: bigint },
  target: Buffer,
  offset: number,
): number {
  const payloadBytes = frame.payload?.length ?? 0;
  assert(encoded.header.length <= limits.frameHeaderBytesMax, `A header of ${encoded.header.length} bytes is too long`);
  assert(payloadBytes <= limits.framePayloadBytesMax, `A payload of ${payloadBytes} bytes is too long`);
  target.set(magic, offset);
  target[offset + versionAt] = frameVersion;
  target[offset + typeAt] = typeNumbers.get(frame.type) as number;
  target.writeUInt16BE(frame.kind, offset + kindAt);
  target.writeUInt32BE(Math.floor(frame.requestId / 2 ** 32), offset + requestIdAt);
  target.writeUInt32BE(frame.requestId % 2 ** 32, offset + requestIdAt + 4);
  target.writeUInt32BE(encoded.header.length, offset + headerLengthAt);
  target.writeUInt32BE(payloadBytes, offset + payloadLengthAt);
  writeU64(target, offset + payloadFoldAt, encoded.payloadFold);
  target.set(encoded.header, offset + frameHeadBytes);
  const end = offset + frameHeadBytes + encoded.header.length;
  writeU64(target, offset + checksumAt, xxh64(target.subarray(offset + versionAt, end)));
  return end;
}

export interface FrameSink {
  /** A reason to close the connection, or undefined to take the payload in. */
  admit(frame: Omit<Frame, 'payload' | 'sums'>, payloadBytes: number): string | undefined;
  onFrame(frame: Frame): void;
}

/** A payload under way. */
interface Arrival {
  readonly head: Frame;
  readonly announcedFold: bigint;
  readonly payload: Uint8Array;
  readonly sums: Uint8Array;
  filledBytes: number;
}

const partialStartBytes = 512;

export class FrameDecoder {
  readonly #sink: FrameSink;
  /** A head and header that arrive in pieces. */
  #partial = Buffer.alloc(0);
  #partialBytes = 0;
  #arrival: Arrival | undefined;
  #paused = false;
  #leftover: Buffer[] = [];
  #receivedPayloadBytes = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  get receivedPayloadBytes(): number {
    return this.#receivedPayloadBytes;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  /** Hands over every frame that these bytes complete; throws WireViolation. The bytes are not kept or changed. */
  push(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length && !this.#paused) {
      offset = this.#arrival ? this.#fillPayload(this.#arrival, chunk, offset) : this.#collectHead(chunk, offset);
    }
    if (offset < chunk.length) this.#leftover.push(Buffer.from(chunk.subarray(offset))); // a copy: see above
  }

  /**
   * Where the next bytes may be put at once, to be handed over by `filled`: what a payload under way still lacks, up to
   * `bytesMax`. Undefined when something else comes next.
   */
  room(bytesMax: number): Uint8Array | undefined {
    if (this.#arrival === undefined || this.#paused || this.#leftover.length > 0) return undefined;
    const { payload, filledBytes } = this.#arrival;
    return payload.subarray(filledBytes, filledBytes + bytesMax);
  }

  /** So many bytes came into the room given last. */
  filled(count: number): void {
    const arrival = assertDefined(this.#arrival, 'The room of a payload was filled');
    assert(this.#leftover.length === 0, 'Nothing came before what is in the room');
    this.#count(arrival, count);
  }

  pause(): void {
    this.#paused = true;
  }

  /** Goes on with what had arrived; throws WireViolation. It may be paused again when this returns. */
  resume(): void {
    this.#paused = false;
    const chunks = this.#leftover;
    this.#leftover = [];
    for (const chunk of chunks) this.push(chunk);
  }

  #collectHead(chunk: Buffer, offset: number): number {
    const available = chunk.length - offset;
    if (this.#partialBytes === 0 && available >= frameHeadBytes) {
      const wholeBytes = checkFixedHead(chunk, offset);
      if (available >= wholeBytes) {
        this.#takeHead(chunk, offset, offset + wholeBytes);
        return offset + wholeBytes;
      }
    }
    return this.#collectPieces(chunk, offset);
  }

  #collectPieces(chunk: Buffer, offset: number): number {
    let at = offset;
    for (let wantedBytes = frameHeadBytes; ; ) {
      if (this.#partialBytes >= frameHeadBytes) wantedBytes = checkFixedHead(this.#partial, 0);
      const count = Math.min(wantedBytes - this.#partialBytes, chunk.length - at);
      this.#appendPartial(chunk.subarray(at, at + count), wantedBytes);
      at += count;
      checkMagic(this.#partial, 0, this.#partialBytes);
      if (this.#partialBytes < wantedBytes) return at;
      if (wantedBytes > frameHeadBytes) break;
    }
    const whole = this.#partial;
    const wholeBytes = this.#partialBytes;
    this.#partial = Buffer.alloc(0);
    this.#partialBytes = 0;
    this.#takeHead(whole, 0, wholeBytes);
    return at;
  }

  /** Grows with what has arrived, not with what was announced. */
  #appendPartial(piece: Uint8Array, wantedBytes: number): void {
    const neededBytes = this.#partialBytes + piece.length;
    if (neededBytes > this.#partial.length) {
      const grownBytes = Math.max(neededBytes, Math.min(wantedBytes, this.#partial.length * 2), partialStartBytes);
      const grown = Buffer.allocUnsafeSlow(grownBytes);
      grown.set(this.#partial.subarray(0, this.#partialBytes));
      this.#partial = grown;
    }
    this.#partial.set(piece, this.#partialBytes);
    this.#partialBytes = neededBytes;
  }

  #takeHead(source: Buffer, start: number, end: number): void {
    if (xxh64(source.subarray(start + versionAt, end)) !== readU64(source, start + checksumAt)) {
      violation('A frame head does not match its checksum');
    }
    const typeNumber = source[start + typeAt] as number;
    const type = frameTypes[typeNumber - 1] ?? violation(`Unknown frame type ${typeNumber}`);
    const kind = source.readUInt16BE(start + kindAt);
    const requestId = source.readUInt32BE(start + requestIdAt) * 2 ** 32 + source.readUInt32BE(start + requestIdAt + 4);
    if (!Number.isSafeInteger(requestId)) violation('A request id is above 2^53');
    const header = decodeChecked(source.subarray(start + frameHeadBytes, end));
    const head: Frame = { type, kind, requestId, header, payload: undefined, sums: undefined };
    const payloadBytes = source.readUInt32BE(start + payloadLengthAt);
    const reason = this.#sink.admit(head, payloadBytes);
    if (reason !== undefined) violation(reason);
    const announcedFold = readU64(source, start + payloadFoldAt);
    if (payloadBytes === 0) {
      if (announcedFold !== 0n) violation('A frame without payload has a payload checksum');
      this.#sink.onFrame(head);
      return;
    }
    const sums = new Uint8Array(blockCount(payloadBytes) * 8);
    this.#arrival = { head, announcedFold, payload: takePayloadMemory(payloadBytes), sums, filledBytes: 0 };
  }

  #fillPayload(arrival: Arrival, chunk: Uint8Array, offset: number): number {
    const { payload } = arrival;
    const count = Math.min(payload.length - arrival.filledBytes, chunk.length - offset);
    payload.set(chunk.subarray(offset, offset + count), arrival.filledBytes);
    this.#count(arrival, count);
    return offset + count;
  }

  #count(arrival: Arrival, count: number): void {
    const { payload } = arrival;
    const firstBlock = Math.floor(arrival.filledBytes / limits.blockBytes);
    arrival.filledBytes += count;
    this.#receivedPayloadBytes += count;
    const isWhole = arrival.filledBytes === payload.length;
    const blocksDone = isWhole ? blockCount(payload.length) : Math.floor(arrival.filledBytes / limits.blockBytes);
    for (let block = firstBlock; block < blocksDone; block++) {
      const start = block * limits.blockBytes;
      writeU64(arrival.sums, block * 8, xxh64(payload.subarray(start, start + limits.blockBytes)));
    }
    if (isWhole) {
      this.#arrival = undefined;
      const damaged = foldSums(arrival.sums) !== arrival.announcedFold;
      this.#sink.onFrame({ ...arrival.head, payload, sums: arrival.sums, damaged });
    }
  }
}

function checkMagic(source: Uint8Array, start: number, availableBytes: number): void {
  for (let index = 0; index < Math.min(magic.length, availableBytes); index++) {
    if (source[start + index] !== magic[index]) violation('These bytes are not a dfs frame');
  }
}

/** The bytes of head and header together, by a head of which only the fixed part may have arrived. */
function checkFixedHead(source: Buffer, start: number): number {
  checkMagic(source, start, frameHeadBytes);
  const version = source[start + versionAt];
  if (version !== frameVersion) violation(`The other side sends frames of version ${version}, not ${frameVersion}`);
  const headerBytes = source.readUInt32BE(start + headerLengthAt);
  if (headerBytes === 0) violation('A frame has no header');
  if (headerBytes > limits.frameHeaderBytesMax) violation(`A header of ${headerBytes} bytes is above its limit`);
  const payloadBytes = source.readUInt32BE(start + payloadLengthAt);
  if (payloadBytes > limits.framePayloadBytesMax) violation(`A payload of ${payloadBytes} bytes is above its limit`);
  return frameHeadBytes + headerBytes;
}

function decodeChecked(bytes: Uint8Array): Header {
  try {
    return unpackPlain(bytes);
  } catch (error) {
    if (isRefusal(error)) return violation(error.message);
    throw error;
  }
}
