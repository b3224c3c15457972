/**
 * The bytes of entries on this disk: small ones inside the index, larger ones in a file of their own under an id that
 * is never used again. Bytes are durable before any entry names them (S1).
 */
import { blockSums, sameBytes } from '../core/checksum.js';
import type { Random } from '../core/environment.js';
import { DfsError, refuse } from '../core/errors.js';
import { toHex } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { givePayloadMemory } from '../core/payload-memory.js';
import type { ByteStore, FileId } from '../core/storage.js';
import { bodyOf, type Entry, nowhere, type Placed, type StoredEntry } from './entry.js';
import {
  isSame,
  readHeader,
  readSegment,
  type SegmentHeader,
  type SegmentIdentity,
  verifySegment,
  writeSegment,
} from './segment-file.js';

export interface Blocks {
  /** Whole blocks, beginning at `offset` of the entry's bytes. What was read from a file nobody else has in memory. */
  readonly bytes: Uint8Array;
  readonly offset: number;
  /** As stored: the reader at the far end compares. */
  readonly sums: Uint8Array;
}

export type CopyState = 'ok' | 'missing' | 'damaged';

export const noBlocks: Blocks = { bytes: new Uint8Array(0), offset: 0, sums: new Uint8Array(0) };

export class Copies {
  readonly #store: ByteStore;
  readonly #random: Random;
  /** Files that an entry may yet come to name: a write waits for its replicas as long as these take. */
  readonly #staged = new Set<FileId>();
  /** Those of them that were found here: to be left where they are when no entry comes to name them. */
  readonly #adopted = new Set<FileId>();

  constructor(store: ByteStore, random: Random) {
    this.#store = store;
    this.#random = random;
  }

  /** Makes the bytes durable, unless they are small enough to travel with the entry. Throws `no-space`. */
  async stage(entry: Entry, bytes: Uint8Array, sums: Uint8Array): Promise<Placed> {
    if (bytes.length === 0) return nowhere;
    if (bytes.length <= limits.inlineBytesMax) return { where: 'inline', bytes, sums };
    const fileId = toHex(this.#random.bytes(16));
    this.#staged.add(fileId);
    try {
      await writeSegment(this.#store, fileId, identityOf(entry), bytes, sums);
    } catch (error) {
      this.#staged.delete(fileId);
      throw error;
    }
    return { where: 'file', fileId, size: bytes.length };
  }

  /**
   * Takes a file that was found here for the entry's bytes, durably: only when it is the entry's by its header, and all
   * of it was read and is what `sums` say.
   */
  async adopt(entry: Entry, fileId: FileId, sums: Uint8Array): Promise<Placed | undefined> {
    const read = await readSegment(this.#store, fileId, identityOf(entry), { start: 0, end: Infinity });
    const isGood = read.state === 'ok' && sameBytes(read.sums, sums) && sameBytes(blockSums(read.bytes), sums);
    if (!isGood) return undefined;
    this.#staged.add(fileId);
    this.#adopted.add(fileId);
    const placed: Placed = { where: 'file', fileId, size: read.bytes.length };
    // What was read may not have left the memory of the system: its writer perhaps died before the sync.
    await this.orDiscard(placed, this.#store.sync(fileId));
    return placed;
  }

  /** What the file of an entry says of itself, its bytes unread; undefined when it has none, or one of no use. */
  async headerOf({ placed, ...entry }: StoredEntry): Promise<SegmentHeader | undefined> {
    if (placed.where !== 'file') return undefined;
    const header = await readHeader(this.#store, placed.fileId);
    return header !== undefined && isSame(header.identity, identityOf(entry)) ? header : undefined;
  }

  /** The bytes are staged and their write has not ended: no stray, however old the file. */
  isStaged(fileId: FileId): boolean {
    return this.#staged.has(fileId);
  }

  /** Stands for bytes that no holder can read: a file that is not there. */
  lost(sizeBytes: number): Extract<Placed, { where: 'file' }> {
    return { where: 'file', fileId: toHex(this.#random.bytes(16)), size: sizeBytes };
  }

  /** The write of staged bytes has ended: an entry names them durably, or never will. */
  release(placed: Placed): void {
    if (placed.where !== 'file') return;
    this.#staged.delete(placed.fileId);
    this.#adopted.delete(placed.fileId);
  }

  /** Removes staged bytes that no entry came to name. */
  async discard(placed: Placed): Promise<void> {
    if (placed.where === 'file' && !this.#adopted.has(placed.fileId)) await this.#store.remove(placed.fileId);
    this.release(placed);
  }

  /** After a failure of the disk nobody knows whether an entry names the staged bytes: they stay. */
  async orDiscard<T>(placed: Placed, step: Promise<T>): Promise<T> {
    try {
      return await step;
    } catch (error) {
      if (error instanceof DfsError) await this.discard(placed);
      throw error;
    }
  }

  /** The blocks that hold bytes start … end−1, without hashing them. Refuses `integrity` when the copy is bad. */
  async readBlocks(entry: StoredEntry, range: { start: number; end: number }): Promise<Blocks> {
    const { placed } = entry;
    switch (placed.where) {
      case 'none':
        return noBlocks;
      case 'inline':
        return range.start < range.end ? { bytes: placed.bytes, offset: 0, sums: placed.sums } : noBlocks;
      case 'file': {
        if (range.start >= range.end) return noBlocks;
        const read = await readSegment(this.#store, placed.fileId, identityOf(entry), range);
        if (read.state === 'ok') return read;
        return refuse('integrity', `The stored copy is ${read.state}: ${read.reason}`);
      }
    }
  }

  /** Reads all of it and keeps nothing. Refuses `integrity` when it is not what it should be. */
  async readBack(entry: StoredEntry): Promise<void> {
    const { bytes } = await this.readVerified(entry);
    givePayloadMemory(bytes);
  }

  /** All bytes, hashed and compared. Refuses `integrity` when the copy is bad. */
  async readVerified(entry: StoredEntry): Promise<{ bytes: Uint8Array; sums: Uint8Array }> {
    const { placed } = entry;
    const blocks = await this.readBlocks(entry, { start: 0, end: placed.where === 'none' ? 0 : Infinity });
    if (!sameBytes(blockSums(blocks.bytes), blocks.sums))
      refuse('integrity', 'The stored bytes do not match their checksum');
    return blocks;
  }

  async stateOf(entry: StoredEntry): Promise<CopyState> {
    const { placed } = entry;
    switch (placed.where) {
      case 'none':
        return 'ok';
      case 'inline':
        return sameBytes(blockSums(placed.bytes), placed.sums) ? 'ok' : 'damaged';
      case 'file':
        return (await verifySegment(this.#store, placed.fileId, identityOf(entry))).state;
    }
  }
}

/** What the file of an entry says of itself. */
export function identityOf(entry: Entry): SegmentIdentity {
  if (entry.kind === 'segment') {
    const { bucket, name, uploadId, index } = bodyOf(entry, 'segment');
    return { bucket, name, uploadId, index };
  }
  const { bucket, name, uploadId } = bodyOf(entry, 'record');
  return { bucket, name, uploadId, index: 0 };
}
