/**
 * What only a real folder meets: the order of system calls, strangers in a file's place, a full disk.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { StorageFailure } from '../../src/core/errors.js';
import { openSmallFiles } from '../../src/io/small-files.js';
import { makeSmallDisk, noMounting, whenMounting } from './full-disk.js';
import { mark, noTracing, outline, underStrace, whenTraced } from './strace.js';
import { temporaryFolder } from './temporary-folder.js';

let folder: { path: string; remove(): Promise<void> };

beforeEach(() => {
  folder = temporaryFolder();
});

afterEach(() => folder.remove());

const traced = ['-e', 'trace=fsync,rename,renameat,renameat2,access,faccessat,faccessat2'];
const calls = {
  'sync new file': /^(<\.\.\. )?fsync\(.*map\.new>/,
  rename: /^(<\.\.\. )?rename\w*\(/,
  'sync folder': /^(<\.\.\. )?fsync\(/,
};

it.skipIf(noTracing)(
  whenTraced('a replacement is whole on the disk before it takes the name, and durable after'),
  async () => {
    const files = openSmallFiles(folder.path);
    const trace = await underStrace(traced, async () => {
      await files.replace('map', Buffer.from('new'));
      mark('resolved');
    });
    expect(outline(trace, calls)).toEqual(['sync new file', 'rename', 'sync folder', 'resolved']);
  },
);

it.skipIf(noTracing)(
  whenTraced('a replacement that cannot be synced leaves the old content and is the end'),
  async () => {
    const files = openSmallFiles(folder.path);
    await files.replace('map', Buffer.from('old'));
    await underStrace(['-e', 'inject=fsync:error=EIO'], async () => {
      await expect(files.replace('map', Buffer.from('new'))).rejects.toThrow(StorageFailure);
    });
    expect(Buffer.from((await files.read('map')) ?? []).toString()).toBe('old');
  },
);

it('what a crash left of a replacement is in nobody’s way', async () => {
  writeFileSync(join(folder.path, 'map.new'), 'half of a lon');
  const files = openSmallFiles(folder.path);
  expect(await files.read('map')).toBeUndefined();
  await files.replace('map', Buffer.from('new'));
  expect(Buffer.from((await files.read('map')) ?? []).toString()).toBe('new');
  expect(existsSync(join(folder.path, 'map.new'))).toBe(false);
});

it.each([
  ['folder', (path: string) => mkdirSync(path)],
  ['link', (path: string) => symlinkSync('/etc/hostname', path)],
  ['link to nothing', (path: string) => symlinkSync('/nowhere', path)],
  ['pipe', (path: string) => void spawnSync('mkfifo', [path])],
])('a %s in the place of a file is a failure, never an absent file', async (_, make) => {
  make(join(folder.path, 'map'));
  await expect(openSmallFiles(folder.path).read('map')).rejects.toThrow(/not a regular file/);
});

it.skipIf(noMounting)(whenMounting('a full disk refuses a replacement and keeps the old content'), async () => {
  const disk = makeSmallDisk(1);
  try {
    const files = openSmallFiles(disk.path);
    await files.replace('map', Buffer.from('old'));
    await expect(files.replace('map', Buffer.alloc(2_000_000))).rejects.toMatchObject({ code: 'no-space' });
    expect(Buffer.from((await files.read('map')) ?? []).toString()).toBe('old');
    await files.replace('map', Buffer.from('newer'));
  } finally {
    disk.remove();
  }
});
