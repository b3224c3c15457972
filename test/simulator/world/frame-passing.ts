/**
 * How a frame gets from one simulated process to another without shared memory: as a copy, or as bytes through the real
 * codec.
 */
import { blockSums, foldSums, sameBytes } from '../../../src/core/checksum.js';
import type { Frame } from '../../../src/core/network.js';
import { takePayloadMemory } from '../../../src/core/payload-memory.js';
import { packPlain } from '../../../src/protocol/codec.js';
import { frameHeadBytes, writeHead } from '../../../src/protocol/frame.js';
import type { Seeded } from '../../contract/seeded.js';

type Header = Frame['header'];

export interface FrameItem {
  readonly kind: 'frame';
  /** Itself, or its bytes. */
  readonly content: Frame | Buffer;
  readonly sizeBytes: number;
  readonly onFlushed: (() => void) | undefined;
}

export type Item = FrameItem | { readonly kind: 'end'; readonly reason: string };

/** What was sent in one go. */
export interface Batch {
  readonly items: Item[];
  readonly sentInEvent: number;
  /** Its time has come; it arrives unless the link is cut. */
  isDue: boolean;
}

/** As the bytes would make it: a plain header, a payload of its own, computed sums. */
export function copyFrame(frame: Frame): Frame {
  const { type, kind, requestId } = frame;
  const header = copyPlain(frame.header) as Header;
  if (frame.payload === undefined || frame.payload.length === 0) {
    return { type, kind, requestId, header, payload: undefined, sums: undefined };
  }
  // As the real ones do: who gives it back too early sees it overwritten.
  const payload = takePayloadMemory(frame.payload.length);
  payload.set(frame.payload);
  const sums = blockSums(payload);
  const damaged = frame.sums !== undefined && !sameBytes(frame.sums, sums);
  return { type, kind, requestId, header, payload, sums, damaged };
}

/** What msgpack would make of it: fields that are undefined arrive as null. */
function copyPlain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value ?? null;
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(copyPlain);
  const copy: Record<string, unknown> = {};
  for (const key in value) copy[key] = copyPlain((value as Record<string, unknown>)[key]);
  return copy;
}

/** The frame's bytes, as src/io/tcp.ts writes them. */
export function encodeFrame(frame: Frame): Buffer {
  const header = packPlain(frame.header);
  const payload = frame.payload !== undefined && frame.payload.length > 0 ? frame.payload : undefined;
  const payloadFold = payload === undefined ? 0n : foldSums(frame.sums ?? blockSums(payload));
  const bytes = Buffer.allocUnsafeSlow(frameHeadBytes + header.length + (payload?.length ?? 0));
  const end = writeHead(frame, { header, payloadFold }, bytes, 0);
  if (payload !== undefined) bytes.set(payload, end);
  return bytes;
}

/** Cuts what arrived at once as the reads of a stream may: anywhere. */
export function* chunksOf(pieces: readonly Buffer[], chance: Seeded): Generator<Buffer> {
  const bytes = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  let start = 0;
  while (start < bytes.length) {
    const rest = bytes.length - start;
    const end = start + (chance.isLikely(0.6) ? rest : 1 + chance.below(rest));
    yield bytes.subarray(start, end);
    start = end;
  }
}
