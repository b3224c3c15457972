/**
 * Memory of large payloads, used again once somebody is certainly done with it.
 *
 * The garbage collector learns late of memory outside its heap: a fast transfer would leave a multiple of what it holds
 * lying about. Whoever gives memory back promises that nothing reads or sends it any more; who does not bother leaves
 * it to the collector.
 */
const keptBytesMax = 32 * 1024 * 1024;
const keptFromBytes = 1024 * 1024;

const keptBySize = new Map<number, Uint8Array[]>();
let keptBytes = 0;

/** Of this very size, with whatever content; every byte of it is to be written. */
export function takePayloadMemory(sizeBytes: number): Uint8Array {
  const kept = sizeBytes < keptFromBytes ? undefined : keptBySize.get(sizeBytes)?.pop();
  if (kept !== undefined) {
    keptBytes -= sizeBytes;
    return kept;
  }
  // Not cleared first, and a plain Uint8Array: a Buffer's `slice` would not copy.
  const buffer = Buffer.allocUnsafe(sizeBytes);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, sizeBytes);
}

/** Nothing happens for memory that is small, or part of something else. */
export function givePayloadMemory(bytes: Uint8Array): void {
  const sizeBytes = bytes.length;
  const isWhole = bytes.buffer.byteLength === sizeBytes && !(bytes instanceof Buffer);
  if (!isWhole || sizeBytes < keptFromBytes || keptBytes + sizeBytes > keptBytesMax) return;
  const kept = keptBySize.get(sizeBytes);
  if (kept === undefined) keptBySize.set(sizeBytes, [bytes]);
  else kept.push(bytes);
  keptBytes += sizeBytes;
}
