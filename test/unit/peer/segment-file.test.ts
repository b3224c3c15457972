/**
 * The header of a stored file, and what a read makes of files that are not what they should be.
 */
import { describe, expect, it } from 'vitest';
import { blockSums, sameBytes } from '../../../src/core/checksum.js';
import { DfsError } from '../../../src/core/errors.js';
import { limits } from '../../../src/core/limits.js';
import type { ByteStore } from '../../../src/core/storage.js';
import {
  decodeHeader,
  encodeHeader,
  readSegment,
  type SegmentIdentity,
  verifySegment,
  writeSegment,
} from '../../../src/peer/segment-file.js';

const id = '7'.repeat(32);
const { blockBytes, fileHeaderBytes } = limits;
const identity: SegmentIdentity = {
  bucket: 'files',
  name: 'photos/grüße.jpg',
  uploadId: new Uint8Array(16).map((_, at) => at),
  index: 3,
};

function contentOf(length: number): Uint8Array {
  return new Uint8Array(length).map((_, at) => (at * 31 + (at >> 8)) & 0xff);
}

/** Files in memory; counts reads. */
class MemoryBytes implements ByteStore {
  readonly files = new Map<string, Uint8Array>();
  reads = 0;

  async create(id: string, header: Uint8Array, bytes: Uint8Array): Promise<void> {
    this.files.set(id, new Uint8Array(Buffer.concat([header, bytes])));
  }

  async sync(): Promise<void> {}

  async read(id: string, range: { offset: number; length: number }): Promise<Uint8Array | undefined> {
    this.reads++;
    return this.files.get(id)?.subarray(range.offset, range.offset + range.length);
  }

  async sizeOf(id: string): Promise<number | undefined> {
    return this.files.get(id)?.length;
  }

  async remove(id: string): Promise<void> {
    this.files.delete(id);
  }

  async list(): Promise<readonly { id: string; modifiedAtMs: number }[]> {
    return [];
  }

  async space(): Promise<{ freeBytes: number; totalBytes: number }> {
    return { freeBytes: 1, totalBytes: 1 };
  }
}

async function stored(
  length: number,
  of: SegmentIdentity = identity,
): Promise<{ store: MemoryBytes; bytes: Uint8Array }> {
  const store = new MemoryBytes();
  const bytes = contentOf(length);
  await writeSegment(store, id, of, bytes, blockSums(bytes));
  return { store, bytes };
}

function fileOf(store: MemoryBytes): Uint8Array {
  const file = store.files.get(id);
  if (file === undefined) throw new Error('No file');
  return file;
}

describe('a header', () => {
  it('holds the longest name, the longest bucket and the largest segment', () => {
    const longest = {
      bucket: 'b'.repeat(63),
      name: '€'.repeat(341),
      uploadId: identity.uploadId,
      index: limits.segmentsMax,
    };
    const sums = new Uint8Array((limits.segmentBytesMax / blockBytes) * 8).fill(9);
    const header = { identity: longest, length: limits.segmentBytesMax, sums };
    expect(decodeHeader(encodeHeader(header))).toEqual(header);
  });

  it('keeps a name that begins with a byte order mark as it is', () => {
    const header = { identity: { ...identity, name: '\ufeffname' }, length: 0, sums: new Uint8Array(0) };
    expect(decodeHeader(encodeHeader(header))?.identity.name).toBe('\ufeffname');
  });

  it('with any one bit turned is not taken', () => {
    const bytes = encodeHeader({ identity, length: 70_000, sums: new Uint8Array(16) });
    for (let at = 0; at < bytes.length; at += at < 200 ? 1 : 61) {
      const turned = bytes.slice();
      turned[at] = (turned[at] ?? 0) ^ 0x10;
      expect(decodeHeader(turned), `byte ${at}`).toBeUndefined();
    }
  });

  it('cut short is not taken', () => {
    const bytes = encodeHeader({ identity, length: 0, sums: new Uint8Array(0) });
    for (const length of [0, 1, 8, 4095]) expect(decodeHeader(bytes.subarray(0, length))).toBeUndefined();
  });
});

describe('reading a segment', () => {
  it.each([1, blockBytes - 1, blockBytes, blockBytes + 1, 5 * blockBytes, 20 * blockBytes + 77])(
    'of %i bytes answers the whole blocks around any range, with their checksums',
    async (length) => {
      const { store, bytes } = await stored(length);
      const edges = [0, 1, blockBytes - 1, blockBytes, blockBytes + 1, length - 1, length, length + 1, 8 * blockBytes];
      for (const start of edges) {
        for (const end of [...edges, Infinity]) {
          if (start < 0 || start >= end) continue;
          const read = await readSegment(store, id, identity, { start, end });
          if (read.state !== 'ok') throw new Error(read.reason);
          const from = Math.min(length, start - (start % blockBytes));
          const to = Math.min(length, Math.ceil(end / blockBytes) * blockBytes);
          expect(sameBytes(read.bytes, bytes.subarray(from, to)), `${start}–${end}`).toBe(true);
          expect(read.offset).toBe(from);
          expect(sameBytes(read.sums, blockSums(read.bytes))).toBe(true);
        }
      }
    },
  );

  it('costs one read for the whole of it, and two for a range far inside', async () => {
    const { store } = await stored(limits.segmentBytesDefault);
    await readSegment(store, id, identity, { start: 0, end: limits.segmentBytesDefault });
    expect(store.reads).toBe(1);
    await readSegment(store, id, identity, { start: 2_000_000, end: 2_000_001 });
    expect(store.reads).toBe(3);
  });

  it('does not hash the bytes: that is the far reader’s part, and the scrub’s', async () => {
    const { store } = await stored(200_000);
    fileOf(store)[fileHeaderBytes + 100_000] = 1;
    expect((await readSegment(store, id, identity, { start: 0, end: 200_000 })).state).toBe('ok');
    expect(await verifySegment(store, id, identity)).toMatchObject({ state: 'damaged', reason: /checksums/ });
  });

  const damages: readonly (readonly [string, (file: Uint8Array) => Uint8Array, RegExp])[] = [
    ['empty', () => new Uint8Array(0), /header is unreadable/],
    ['cut inside its header', (file) => file.subarray(0, 4000), /header is unreadable/],
    ['cut inside its bytes', (file) => file.subarray(0, file.length - 1), /shorter/],
    ['longer by a byte', (file) => new Uint8Array(Buffer.concat([file, new Uint8Array(1)])), /longer/],
    ['zeros', (file) => new Uint8Array(file.length), /header is unreadable/],
  ];

  it.each(damages)('that is %s is damage', async (_, damage, reason) => {
    const { store } = await stored(300_000);
    store.files.set(id, damage(fileOf(store)));
    expect(await readSegment(store, id, identity, { start: 0, end: 300_000 })).toMatchObject({
      state: 'damaged',
      reason,
    });
    expect(await verifySegment(store, id, identity)).toMatchObject({ state: 'damaged', reason });
  });

  it.each<[string, Partial<SegmentIdentity>]>([
    ['name', { name: 'other' }],
    ['bucket', { bucket: 'other' }],
    ['index', { index: 4 }],
    ['upload', { uploadId: new Uint8Array(16) }],
  ])('of another %s in its place is damage', async (_, change) => {
    const { store } = await stored(1000, { ...identity, ...change });
    const read = await readSegment(store, id, identity, { start: 0, end: 1000 });
    expect(read).toMatchObject({ state: 'damaged', reason: expect.stringContaining('another segment') });
  });

  it('that is not there is missing, and one the disk cannot read is damage', async () => {
    const { store } = await stored(1000);
    expect((await readSegment(store, '8'.repeat(32), identity, { start: 0, end: 1 })).state).toBe('missing');
    expect((await verifySegment(store, '8'.repeat(32), identity)).state).toBe('missing');
    store.read = async () => {
      throw new DfsError('integrity', 'Reading failed');
    };
    expect((await readSegment(store, id, identity, { start: 0, end: 1 })).state).toBe('damaged');
  });
});
