/**
 * Memory of large payloads, used again once somebody is certainly done with it.
 *
 * The garbage collector learns late of memory outside its heap: a fast transfer would leave a multiple of what it holds
 * lying about, and the collector would run for nothing else. Whoever gives memory back promises that nothing reads or
 * sends it any more; who does not bother leaves it to the collector.
 */
import { assert } from './assert.js';
import { limits } from './limits.js';

const keptBytesMax = 32 * 1024 * 1024;
const keptFromBytes = limits.inlineBytesMax + 1; // smaller ones lie in the index, and with its entries
const stepsPerDoubling = 8;

/** What was made here and may be kept. */
const ours = new WeakSet<ArrayBufferLike>();
/** In the order in which it was given back. */
const kept: ArrayBufferLike[] = [];
let keptBytes = 0;

/** With whatever content: all of it is to be written. No Buffer, whose `slice` does not copy. */
export function takePayloadMemory(sizeBytes: number): Uint8Array {
  if (sizeBytes < keptFromBytes) {
    // Not cleared first.
    const { buffer, byteOffset } = Buffer.allocUnsafe(sizeBytes);
    return new Uint8Array(buffer, byteOffset, sizeBytes);
  }
  const heldBytes = roundedUp(sizeBytes);
  const found = kept.findLastIndex((memory) => memory.byteLength === heldBytes);
  const [memory] = found < 0 ? [] : kept.splice(found, 1);
  if (memory !== undefined) {
    keptBytes -= heldBytes;
    return new Uint8Array(memory, 0, sizeBytes);
  }
  const { buffer } = Buffer.allocUnsafeSlow(heldBytes);
  ours.add(buffer);
  return new Uint8Array(buffer, 0, sizeBytes);
}

/**
 * Takes back what these bytes lie in, all of it; nothing happens when that was not made here, or is small. What was
 * given back longest ago makes room.
 */
export function givePayloadMemory(bytes: Uint8Array | undefined): void {
  if (bytes === undefined || !ours.has(bytes.buffer)) return;
  assert(!kept.includes(bytes.buffer), 'Memory is given back once');
  kept.push(bytes.buffer);
  keptBytes += bytes.buffer.byteLength;
  while (keptBytes > keptBytesMax) keptBytes -= kept.shift()?.byteLength ?? 0;
}

/** So that sizes which differ by less than an eighth share memory. */
function roundedUp(sizeBytes: number): number {
  const step = 2 ** Math.floor(Math.log2(sizeBytes)) / stepsPerDoubling;
  return Math.ceil(sizeBytes / step) * step;
}
