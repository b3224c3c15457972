/**
 * What only real files meet: the order of system calls, a disk that fails or fills, strangers in a file's place.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, statfsSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StorageFailure } from '../../src/core/errors.js';
import { type ByteFiles, openByteFiles } from '../../src/io/byte-files.js';
import { makeSmallDisk, noMounting, whenMounting } from './full-disk.js';
import { mark, noTracing, outline, underStrace, whenTraced } from './strace.js';
import { temporaryFolder } from './temporary-folder.js';

const header = new Uint8Array(4096).fill(1);
const bytes = new Uint8Array(100_000).fill(2);
const id = `a${'0'.repeat(31)}`;

let folder: { path: string; remove(): Promise<void> };
let store: ByteFiles;
let file: string;

beforeEach(async () => {
  folder = temporaryFolder();
  store = await openByteFiles(join(folder.path, 'bytes'));
  file = join(folder.path, 'bytes', 'a', id);
});

afterEach(async () => {
  await store.close();
  await folder.remove();
});

function idOf(at: number): string {
  return `a${at.toString(16).padStart(31, '0')}`;
}

describe('creating a file', () => {
  const calls = {
    create: /O_WRONLY\|O_CREAT\|O_EXCL\|O_NOFOLLOW/,
    write: /^(<\.\.\. )?writev(\(.*00000>| resumed).*= 104096/,
    'sync file': /^(<\.\.\. )?fdatasync(\(.*00000>| resumed).*= 0/,
    'sync folder': /^(<\.\.\. )?fsync(\(.*\/bytes\/a>| resumed).*= 0/,
  };
  const traced = ['-e', 'trace=openat,writev,fdatasync,fsync,access,faccessat,faccessat2'];

  it.skipIf(noTracing)(whenTraced('ends with its content, then its folder, on the disk'), async () => {
    const trace = await underStrace(traced, async () => {
      mark('begin');
      await store.create(id, header, bytes);
      mark('resolved');
    });
    expect(outline(trace, calls)).toEqual(['begin', 'create', 'write', 'sync file', 'sync folder', 'resolved']);
  });

  it.skipIf(noTracing)(whenTraced('of before is made durable with its content, then its folder'), async () => {
    await store.create(id, header, bytes);
    const trace = await underStrace(traced, async () => {
      mark('begin');
      await store.sync(id);
      mark('resolved');
    });
    expect(outline(trace, calls)).toEqual(['begin', 'sync file', 'sync folder', 'resolved']);
  });

  it.skipIf(noTracing)(whenTraced('shares the sync of the folder with others'), async () => {
    const trace = await underStrace(['-e', 'trace=fsync'], async () => {
      await Promise.all(Array.from({ length: 64 }, (_, at) => store.create(idOf(at), header, bytes)));
    });
    const syncs = outline(trace, calls).length;
    expect(syncs).toBeGreaterThan(0);
    expect(syncs).toBeLessThan(40);
  });

  it.skipIf(noTracing).each(['fdatasync', 'fsync'])(
    whenTraced('whose %s fails is the end: nobody knows what is on the disk'),
    async (call) => {
      await underStrace(['-e', `inject=${call}:error=EIO`], async () => {
        await expect(store.create(id, header, bytes)).rejects.toThrow(StorageFailure);
      });
    },
  );

  it.skipIf(noTracing)(whenTraced('goes on after a short write'), async () => {
    await underStrace(['-P', file, '-e', 'inject=writev:retval=5000'], async () => {
      await store.create(id, header, bytes);
    });
    // The injected call wrote nothing, so the file begins with what followed the 5000 bytes it claimed.
    expect(await store.sizeOf(id)).toBe(header.length + bytes.length - 5000);
  });

  it.skipIf(noMounting)(whenMounting('on a full disk is refused and leaves nothing behind'), async () => {
    const disk = makeSmallDisk(4);
    try {
      const small = await openByteFiles(join(disk.path, 'bytes'));
      const written: string[] = [];
      const failures: unknown[] = [];
      for (let at = 0; at < 60; at++) {
        await small.create(idOf(at), header, bytes).then(
          () => written.push(idOf(at)),
          (error: unknown) => failures.push(error),
        );
      }
      expect(written.length).toBeGreaterThan(10);
      expect(failures.length).toBeGreaterThan(10);
      for (const failure of failures) expect(failure).toMatchObject({ code: 'no-space' });
      expect(readdirSync(join(disk.path, 'bytes', 'a')).sort()).toEqual(written);
      const before = statfsSync(disk.path).bavail;
      await small.remove(written[0] ?? '');
      expect(statfsSync(disk.path).bavail).toBeGreaterThan(before);
      await small.create(idOf(99), header, bytes);
      await small.close();
    } finally {
      disk.remove();
    }
  });
});

describe('in the place of a file', () => {
  async function expectMissing(): Promise<void> {
    expect(await store.read(id, { offset: 0, length: 10 })).toBeUndefined();
    expect(await store.sizeOf(id)).toBeUndefined();
    expect(await store.list(undefined, 10)).toEqual([]);
    await expect(store.create(id, header, bytes)).rejects.toThrow(/never reused/);
  }

  it('a link is not followed, and removing it spares what it points to', async () => {
    const secret = join(folder.path, 'secret');
    writeFileSync(secret, 'secret');
    symlinkSync(secret, file);
    await expectMissing();
    await store.remove(id);
    expect(existsSync(secret)).toBe(true);
    expect(existsSync(file)).toBe(false);
  });

  it('a pipe is not waited for', async () => {
    expect(spawnSync('mkfifo', [file]).status).toBe(0);
    await expectMissing();
  });

  it('a folder is left alone', async () => {
    mkdirSync(file);
    await expectMissing();
    await store.remove(id);
    expect(existsSync(file)).toBe(true);
  });

  it('a socket is not spoken to', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(file, resolve));
    await expectMissing();
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('strays', () => {
  it('with names that are no ids, or in the wrong folder, are not listed', async () => {
    await store.create(id, header, bytes);
    for (const name of ['readme', `${id}x`, id.toUpperCase(), `b${id.slice(1)}`]) {
      writeFileSync(join(folder.path, 'bytes', 'a', name), '');
    }
    expect((await store.list(undefined, 10)).map((found) => found.id)).toEqual([id]);
  });
});

describe('reading a file', () => {
  it.skipIf(noTracing)(whenTraced('the disk cannot read is refused as damage'), async () => {
    await store.create(id, header, bytes);
    await underStrace(['-P', file, '-e', 'inject=pread64:error=EIO'], async () => {
      await expect(store.read(id, { offset: 0, length: 10 })).rejects.toMatchObject({ code: 'integrity' });
    });
  });
});
