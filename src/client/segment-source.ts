/**
 * Cuts whatever the caller gave into segments, in order, each in memory of its own size.
 *
 * A declared size is held to: a source that ends early or goes on fails, so that a file which changed while it was sent
 * never replaces the version before it. Bytes given as one array are not copied.
 */
import { refuse } from '../core/errors.js';
import { takePayloadMemory } from '../core/payload-memory.js';
import type { Source } from './results.js';

/** A first buffer for a source of unknown size; most small files end within it. */
const firstBufferBytes = 64 * 1024;

export interface CutOptions {
  readonly segmentBytes: number;
  readonly size: number | undefined;
  /** Called whenever the source gave something. */
  readonly onBytes: () => void;
}

/** Yields at least one segment, which is empty for an empty source. */
export function cutIntoSegments(source: Source, options: CutOptions): AsyncGenerator<Uint8Array> {
  const bytes = toBytes(source);
  return bytes === undefined
    ? cutStream(source as AsyncIterable<Uint8Array | string>, options)
    : cutArray(bytes, options);
}

/** The bytes of a source that is all there; undefined for a stream. */
export function toBytes(source: Source): Uint8Array | undefined {
  if (typeof source === 'string') return Buffer.from(source, 'utf8');
  if (source instanceof Uint8Array) return source;
  const isIterable =
    source !== null && typeof source === 'object' && (Symbol.asyncIterator in source || Symbol.iterator in source);
  if (!isIterable) refuse('invalid', 'The bytes to store must be a Uint8Array, text, or a stream or iterable of them');
  return undefined;
}

/** Throws when the array does not have the declared size. */
export function checkSize(bytes: Uint8Array, size: number | undefined): void {
  if (size !== undefined && bytes.length > size) tooLong(size);
  if (size !== undefined && bytes.length < size) tooShort(bytes.length, size);
}

async function* cutArray(bytes: Uint8Array, { segmentBytes, size }: CutOptions): AsyncGenerator<Uint8Array> {
  checkSize(bytes, size);
  for (let start = 0; start === 0 || start < bytes.length; start += segmentBytes) {
    yield bytes.subarray(start, start + segmentBytes);
  }
}

async function* cutStream(
  source: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>,
  { segmentBytes, size, onBytes }: CutOptions,
): AsyncGenerator<Uint8Array> {
  let seenBytes = 0;
  let segments = 0;
  const filling = new GrowingBuffer(segmentBytes);
  for await (const given of source) {
    const chunk = toChunk(given);
    seenBytes += chunk.length;
    if (size !== undefined && seenBytes > size) tooLong(size);
    onBytes();
    for (let taken = 0; taken < chunk.length; ) {
      const expectedBytes = size === undefined ? guess(segments, segmentBytes) : size - segments * segmentBytes;
      taken += filling.append(chunk.subarray(taken), expectedBytes);
      if (!filling.isFull) continue;
      segments += 1;
      yield filling.take();
    }
  }
  if (size !== undefined && seenBytes < size) tooShort(seenBytes, size);
  if (filling.usedBytes > 0 || segments === 0) yield filling.take();
}

/** Nothing is known about the first segment; where one was full, another is likely to be. */
function guess(segments: number, segmentBytes: number): number | undefined {
  return segments === 0 ? undefined : segmentBytes;
}

function toChunk(given: unknown): Uint8Array {
  if (given instanceof Uint8Array) return given;
  if (typeof given === 'string') return Buffer.from(given, 'utf8');
  return refuse('invalid', 'The source yielded something that is neither bytes nor text');
}

function tooLong(size: number): never {
  return refuse('failed', `The source goes on beyond the ${size} bytes it was said to have; nothing was stored`, {
    advice: 'Was the file written to while it was sent? Send it again',
  });
}

function tooShort(seenBytes: number, size: number): never {
  return refuse('failed', `The source ended after ${seenBytes} of ${size} bytes; nothing was stored`, {
    advice: 'Was the file cut while it was sent? Send it again',
  });
}

/** Collects up to `capacity` bytes, in memory that grows with what comes. */
class GrowingBuffer {
  readonly #capacity: number;
  #bytes: Uint8Array = new Uint8Array(0);
  usedBytes = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get isFull(): boolean {
    return this.usedBytes === this.#capacity;
  }

  /** Takes what fits and returns how much. `expectedBytes`: what is known to come, this included. */
  append(chunk: Uint8Array, expectedBytes: number | undefined): number {
    const taken = Math.min(chunk.length, this.#capacity - this.usedBytes);
    const neededBytes = this.usedBytes + taken;
    if (neededBytes > this.#bytes.length) this.#grow(neededBytes, expectedBytes);
    this.#bytes.set(taken === chunk.length ? chunk : chunk.subarray(0, taken), this.usedBytes);
    this.usedBytes = neededBytes;
    return taken;
  }

  /** The bytes so far; begins anew. */
  take(): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.usedBytes);
    this.#bytes = new Uint8Array(0);
    this.usedBytes = 0;
    return bytes;
  }

  #grow(neededBytes: number, expectedBytes: number | undefined): void {
    const wanted = expectedBytes ?? Math.max(firstBufferBytes, this.#bytes.length * 4);
    const sizeBytes = Math.min(this.#capacity, Math.max(wanted, neededBytes));
    const grown = takePayloadMemory(sizeBytes);
    grown.set(this.#bytes.subarray(0, this.usedBytes));
    this.#bytes = grown;
  }
}
