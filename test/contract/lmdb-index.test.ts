/**
 * What only the real index meets: the order of its system calls, a disk that fails or fills, a damaged file.
 */
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StorageFailure } from '../../src/core/errors.js';
import type { IndexStore } from '../../src/core/storage.js';
import { createIndex, openIndex, setAsideIndex } from '../../src/io/lmdb-index.js';
import { makeSmallDisk, noMounting, whenMounting } from './full-disk.js';
import { mark, noTracing, outline, underStrace, whenTraced } from './strace.js';
import { temporaryFolder } from './temporary-folder.js';

const key = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const everything = { from: new Uint8Array(0) };
const options = { noSpaceBelowBytes: 0 };

let folder: { path: string; remove(): Promise<void> };
let path: string;

beforeEach(() => {
  folder = temporaryFolder();
  path = join(folder.path, 'index.mdb');
});

afterEach(() => folder.remove());

function put(index: IndexStore, name: string, sizeBytes = 3000): Promise<void> {
  return index.transact((transaction) => transaction.put('entries', key(name), new Uint8Array(sizeBytes)));
}

async function reopen(): Promise<IndexStore> {
  const found = await openIndex(path, options);
  if (found.state !== 'open') throw new Error(`The index is ${found.state}`);
  return found.index;
}

describe('a commit', () => {
  const calls = {
    'sync pages': /^(<\.\.\. )?fdatasync(\(.*index\.mdb>| resumed).*= 0/,
    'write meta page': /^(<\.\.\. )?pwrite64(\(.*index\.mdb>.*, 128, \d+| resumed).*= 128/,
  };

  it.skipIf(noTracing)(whenTraced('is on the disk, meta page last, before its caller hears of it'), async () => {
    const index = await createIndex(path, options);
    await put(index, 'first');
    const trace = await underStrace(['-e', 'trace=fdatasync,pwrite64,access,faccessat,faccessat2'], async () => {
      mark('begin');
      await put(index, 'second');
      mark('resolved');
    });
    await index.close();
    expect(outline(trace, calls)).toEqual(['begin', 'sync pages', 'write meta page', 'resolved']);
    // The meta page goes through a descriptor opened for synchronous writes.
    const opened = await underStrace(['-e', 'trace=openat'], async () => (await reopen()).close());
    expect(opened.join('\n')).toMatch(/index\.mdb", O_WRONLY\|O_DSYNC/);
  });

  it.skipIf(noTracing)(whenTraced('is shared by everyone who asked while another was in flight'), async () => {
    const index = await createIndex(path, options);
    const trace = await underStrace(['-e', 'trace=fdatasync,access,faccessat,faccessat2'], async () => {
      await Promise.all(Array.from({ length: 200 }, (_, at) => put(index, `k${at}`)));
    });
    await index.close();
    expect(outline(trace, calls).length).toBeLessThanOrEqual(3);
  });

  it.skipIf(noTracing).each([
    ['the sync of its pages', 'fdatasync'],
    ['the write of its meta page', 'pwrite64'],
  ])(whenTraced('that fails in %s fails everyone, shows nothing, and is the end'), async (_, call) => {
    const change = async (index: IndexStore): Promise<PromiseSettledResult<void>[]> => {
      const changes = ['a', 'b'].map((name) => put(index, name));
      await new Promise((resolve) => setImmediate(resolve));
      return Promise.allSettled([...changes, put(index, 'c')]);
    };
    const first = await createIndex(path, options);
    await put(first, 'kept');
    const trace = await underStrace(['-P', path, '-e', 'trace=pwrite64'], async () => void (await change(first)));
    await first.close();
    // Of the two commits each writes its meta page last, and the same steps make the same writes again.
    const writes = trace.filter((line) => line.startsWith('pwrite64('));
    const metaWrite = 1 + writes.findIndex((line) => calls['write meta page'].test(line));
    path = join(folder.path, 'again.mdb');
    const index = await createIndex(path, options);
    await put(index, 'kept');
    let outcomes: PromiseSettledResult<void>[] = [];
    const when = call === 'pwrite64' ? `:when=${metaWrite}` : '';
    await underStrace(['-P', path, '-e', `inject=${call}:error=EIO${when}`], async () => {
      outcomes = await change(index);
    });
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: expect.any(StorageFailure) });
    // After a failed meta page LMDB refuses reads as well.
    if (call === 'fdatasync') expect(index.keys('entries', everything)).toHaveLength(1);
    else expect(() => index.keys('entries', everything)).toThrow(StorageFailure);
    await expect(put(index, 'later')).rejects.toThrow(StorageFailure);
    await index.close();
    const again = await reopen();
    expect(again.keys('entries', everything)).toHaveLength(1);
    await again.close();
  });
});

describe('a full disk', () => {
  it.skipIf(noTracing)(whenTraced('that takes no meta page either is the end'), async () => {
    const first = await createIndex(path, options);
    const trace = await underStrace(['-P', path, '-e', 'trace=pwrite64'], () => put(first, 'a'));
    await first.close();
    // The meta page is the last of a commit's writes, and the same steps make the same writes again.
    const metaWrite = trace.filter((line) => line.startsWith('pwrite64(')).length;
    path = join(folder.path, 'again.mdb');
    const second = await createIndex(path, { noSpaceBelowBytes: Number.MAX_SAFE_INTEGER });
    await underStrace(['-P', path, '-e', `inject=pwrite64:error=ENOSPC:when=${metaWrite}`], async () => {
      await expect(put(second, 'a')).rejects.toThrow(StorageFailure);
    });
    await second.close();
  });

  it.skipIf(noMounting)(whenMounting('refuses, keeps what there is, lets deletes through and recovers'), async () => {
    const disk = makeSmallDisk(8);
    try {
      const onDisk = join(disk.path, 'index.mdb');
      const limited = { noSpaceBelowBytes: 1024 * 1024 };
      let index = await createIndex(onDisk, limited);
      let count = 0;
      let failure: unknown;
      while (failure === undefined && count < 1000) {
        failure = await put(index, `k${count}`, 60_000).then(
          () => void count++,
          (error: unknown) => error,
        );
      }
      expect(failure).toMatchObject({ code: 'no-space' });
      expect(count).toBeGreaterThan(50);
      expect(index.keys('entries', everything)).toHaveLength(count);

      await index.close();
      expect(statfsSync(disk.path).bavail * 4096).toBeLessThan(64 * 1024);
      const found = await openIndex(onDisk, limited);
      if (found.state !== 'open') throw new Error('An index on a full disk opens');
      index = found.index;
      for (let at = 0; at < 10; at++) {
        await index.transact((transaction) => transaction.delete('entries', key(`k${at}`)));
      }
      for (let at = 0; at < 5; at++) await put(index, `new${at}`, 60_000);
      expect(index.keys('entries', everything)).toHaveLength(count - 5);
      await index.close();
    } finally {
      disk.remove();
    }
  });
});

describe('an index file', () => {
  async function makeSome(): Promise<void> {
    const index = await createIndex(path, options);
    for (let round = 0; round < 20; round++) {
      await Promise.all(
        Array.from({ length: 20 }, (_, at) => put(index, `k${round}-${at}`, at % 5 === 0 ? 9000 : 400)),
      );
    }
    await index.close();
  }

  async function expectLost(reason: RegExp): Promise<void> {
    const before = readFileSync(path);
    expect(await openIndex(path, options)).toMatchObject({ state: 'lost', reason: expect.stringMatching(reason) });
    expect(readFileSync(path).equals(before), 'the file is left as it was').toBe(true);
  }

  it('that is not there is absent', async () => {
    expect(await openIndex(path, options)).toEqual({ state: 'absent' });
  });

  it('of zero length is lost', async () => {
    writeFileSync(path, '');
    await expectLost(/empty/);
  });

  it.each([100, 5000, 100_000])('of %i bytes of garbage is lost', async (sizeBytes) => {
    writeFileSync(path, Buffer.alloc(sizeBytes, 'garbage'));
    await expectLost(/meta page|too early/);
  });

  it.each([0.001, 0.1, 0.5, 0.9, 0.99])('cut to %f of its length is lost', async (part) => {
    await makeSome();
    truncateSync(path, Math.floor(statSync(path).size * part));
    await expectLost(/outside the file|too early/);
  });

  it('with a page overwritten is lost', async () => {
    await makeSome();
    const bytes = readFileSync(path);
    // The root of the named trees: LMDB would follow what it says.
    const newest = bytes.readBigUInt64LE(152) > bytes.readBigUInt64LE(4096 + 152) ? 0 : 4096;
    const root = Number(bytes.readBigUInt64LE(newest + 136));
    bytes.fill(0xa5, root * 4096, (root + 1) * 4096);
    writeFileSync(path, bytes);
    await expectLost(/page \d+/);
  });

  it('with a bad meta page is lost, never taken back to an older state', async () => {
    await makeSome();
    const bytes = readFileSync(path);
    bytes.fill(0, 4096, 8192);
    writeFileSync(path, bytes);
    await expectLost(/meta page/);
  });

  it('in which a read meets damage is under suspicion at the next start', async () => {
    await makeSome();
    const index = await reopen();
    const bytes = readFileSync(path);
    const newest = bytes.readBigUInt64LE(152) > bytes.readBigUInt64LE(4096 + 152) ? 0 : 4096;
    const root = Number(bytes.readBigUInt64LE(newest + 136));
    expect(existsSync(`${path}-suspect`)).toBe(false);
    // Every page but the meta pages and the root of the named trees gets an impossible kind.
    const file = openSync(path, 'r+');
    for (let page = 2; page < bytes.length / 4096; page++) {
      if (page !== root) writeSync(file, Buffer.from([0x08]), 0, 1, page * 4096 + 18);
    }
    closeSync(file);
    expect(() => index.get('entries', key('k1-1'))).toThrow(StorageFailure);
    await index.close();
    expect(existsSync(`${path}-suspect`)).toBe(true);
    await expectLost(/wrong kind/);
  });

  it('of another version of the format ends the program instead of costing the store', async () => {
    await makeSome();
    const bytes = readFileSync(path);
    bytes.writeUInt32LE(3, 28);
    writeFileSync(path, bytes);
    await expect(openIndex(path, options)).rejects.toThrow(/version 3/);
  });

  it('whose place holds a folder or a link is lost', async () => {
    mkdirSync(path);
    expect(await openIndex(path, options)).toMatchObject({ state: 'lost' });
    path = join(folder.path, 'linked.mdb');
    symlinkSync('/dev/zero', path);
    expect(await openIndex(path, options)).toMatchObject({ state: 'lost' });
  });

  it('that is shorter than its meta page says, for its last pages are free, is whole', async () => {
    const index = await createIndex(path, options);
    await put(index, 'kept');
    await index.transact((transaction) => {
      transaction.put('entries', key('gone'), new Uint8Array(500_000));
      transaction.get('entries', key('gone')); // writes it before it is deleted again
      transaction.delete('entries', key('gone'));
    });
    await index.close();
    const bytes = readFileSync(path);
    const newest = bytes.readBigUInt64LE(152) > bytes.readBigUInt64LE(4096 + 152) ? 0 : 4096;
    expect(bytes.length).toBeLessThan((Number(bytes.readBigUInt64LE(newest + 144)) + 1) * 4096);
    const again = await reopen();
    expect(again.keys('entries', everything)).toHaveLength(1);
    await put(again, 'more', 60_000);
    await again.close();
  });

  it('is put aside when lost, so that a new one can be made in its place', async () => {
    writeFileSync(path, 'garbage');
    await expect(createIndex(path, options)).rejects.toThrow(/already/);
    await setAsideIndex(path);
    expect(readFileSync(`${path}.lost`, 'utf8')).toBe('garbage');
    await (await createIndex(path, options)).close();
    await (await reopen()).close();
  });

  it('copied while it is written to opens whole', async () => {
    const index = await createIndex(path, options);
    await put(index, 'first');
    const copy = join(folder.path, 'copy.mdb');
    cpSync(path, copy);
    await put(index, 'second');
    await index.close();
    expect(await openIndex(copy, options).then((found) => found.state)).toBe('open');
  });
});
