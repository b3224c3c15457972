import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DfsError } from '../../../src/core/errors.js';
import { localFiles } from '../../../src/io/local-files.js';
import { FakeCluster, runDfs } from './fake-world.js';

let folder: string;
let cluster: FakeCluster;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dfs-cli-'));
  cluster = new FakeCluster();
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (...parts: string[]) => join(folder, ...parts);
const make = (path: string, text: string) => {
  mkdirSync(join(at(path), '..'), { recursive: true });
  writeFileSync(at(path), text);
};
const lines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
const leftovers = () => readdirSync(folder, { recursive: true }).filter((name) => String(name).includes('.part'));

describe('send', () => {
  it('gives a file its base name, and a receipt', async () => {
    make('photos/cat.jpg', 'meow');
    const ran = await runDfs(cluster, ['send', at('photos/cat.jpg'), '--json']);
    expect(ran).toMatchObject({ exitCode: 0, stderr: '' });
    expect(cluster.text('cat.jpg')).toBe('meow');
    expect(Object.keys(JSON.parse(ran.stdout))).toEqual([
      ...['bucket', 'name', 'size', 'segments', 'checksum', 'version', 'slot', 'slotEpoch'],
      ...['primary', 'backups', 'copies', 'degraded', 'attempts', 'durationMs'],
    ]);
  });

  it('writes the receipt for people', async () => {
    make('cat.jpg', 'meow');
    const { stdout } = await runDfs(cluster, ['SEND', at('cat.jpg')]);
    expect(stdout).toBe(
      'cat.jpg  4 B  xxh64:0123456789abcdef  version 7.1  ' +
        'on p1 127.0.0.1:7421 + p2 127.0.0.1:7422  2 of 2 copies durable\n',
    );
  });

  it('puts the folder and the prefix before the names of a folder', async () => {
    for (const name of ['a.txt', 'deep/b.txt', 'deep/er/c.txt', '.hidden']) make(`photos/${name}`, name);
    mkdirSync(at('photos/empty'));
    symlinkSync('a.txt', at('photos/link.txt'));
    expect(await runDfs(cluster, ['send', '-r', at('photos/'), '--prefix', '2026/'])).toMatchObject({ exitCode: 0 });
    expect([...cluster.files.keys()].sort()).toEqual([
      ...['2026/photos/.hidden', '2026/photos/a.txt', '2026/photos/deep/b.txt', '2026/photos/deep/er/c.txt'],
      '2026/photos/link.txt',
    ]);
  });

  it('takes standard input under the name that --as gives', async () => {
    expect(await runDfs(cluster, ['send', '-', '--as', 'in'], { stdin: 'piped' })).toMatchObject({ exitCode: 0 });
    expect(cluster.text('in')).toBe('piped');
  });

  it.each<[string, (path: string) => void, number, RegExp]>([
    ['missing file', () => undefined, 3, /no such file or folder/],
    ['folder without --recursive', (path) => mkdirSync(path), 2, /it is a folder\n {2}Add --recursive/],
    ['pipe', (path) => execFileSync('mkfifo', [path]), 2, /it is a pipe, not a file\n {2}.*--as NAME < /],
    ['link to nothing', (path) => symlinkSync('nowhere', path), 3, /no such file/],
  ])('refuses a %s and goes on with the others', async (_, create, exitCode, message) => {
    create(at('odd'));
    const alone = await runDfs(cluster, ['send', at('odd')]);
    expect(alone).toMatchObject({ exitCode, stdout: '' });
    expect(alone.stderr).toMatch(message);
    make('fine', 'yes');
    const both = await runDfs(cluster, ['send', at('odd'), at('fine')]);
    expect(both.exitCode).toBe(8);
    expect(cluster.text('fine')).toBe('yes');
  });

  it('refuses a file it may not read', async () => {
    make('secret', 'x');
    chmodSync(at('secret'), 0o000);
    chmodSync(folder, 0o755);
    const ownId = process.geteuid?.();
    process.seteuid?.(ownId === 0 ? 65_534 : (ownId ?? 0)); // root may read everything
    const ran = await runDfs(cluster, ['send', at('secret')]).finally(() => process.seteuid?.(ownId ?? 0));
    expect(ran).toMatchObject({ exitCode: 1, stdout: '' });
    expect(ran.stderr).toMatch(/secret: permission denied\n {2}Check its permissions/);
  });

  it('skips names that are not UTF-8, loops of links and devices, each by name', async () => {
    make('d/fine', 'yes');
    writeFileSync(Buffer.concat([Buffer.from(at('d/bad')), Buffer.from([0xff, 0xfe])]), 'no');
    symlinkSync('.', at('d/loop'));
    execFileSync('mkfifo', [at('d/pipe')]);
    const ran = await runDfs(cluster, ['send', '-r', at('d')]);
    expect(ran.exitCode).toBe(8);
    expect(ran.stderr).toMatch(/bad\S* its name is not UTF-8/);
    expect(ran.stderr).toMatch(/loop is a link to a folder/);
    expect(ran.stderr).toMatch(/pipe is not a regular file/);
    expect([...cluster.files.keys()]).toEqual(['d/fine']);
  });

  it.each<[string, (path: string) => void]>([
    ['grows', (path) => appendFileSync(path, 'more')],
    ['shrinks', (path) => truncateSync(path, 10)],
    ['is emptied', (path) => truncateSync(path, 0)],
    ['is rewritten', (path) => writeFileSync(path, Buffer.alloc(3 * 1024 * 1024, 2))],
  ])('fails when a file %s while it is read', async (_, change) => {
    writeFileSync(at('log'), Buffer.alloc(3 * 1024 * 1024, 1));
    const source = await localFiles.open(at('log'));
    await new Promise((resolve) => setTimeout(resolve, 20)); // the clock of the file system must have moved on
    const reading = (async () => {
      let pieces = 0;
      for await (const _ of source.read()) if (++pieces === 1) change(at('log'));
    })();
    await expect(reading).rejects.toThrow(/changed while it was being read/);
    await source.close();
  });

  it('goes on when one of many cannot be stored', async () => {
    for (let index = 0; index < 50; index++) make(`many/${index}`, 'x');
    cluster.failures.set('many/7', new DfsError('no-space', 'The disk is full', { requestId: 'ab12' }));
    const ran = await runDfs(cluster, ['send', '-r', at('many'), '--json']);
    expect(ran.exitCode).toBe(8);
    const failed = lines(ran.stdout).filter((line) => 'error' in line);
    expect(failed).toEqual([
      { name: at('many/7'), error: { code: 'no-space', message: 'The disk is full', requestId: 'ab12', advice: null } },
    ]);
    expect(cluster.files.size).toBe(49);
  });
});

describe('receive', () => {
  it('makes a file of the last part of the name', async () => {
    cluster.put('photos/cat.jpg', 'meow meow');
    const ran = await runDfs(cluster, ['receive', 'photos/cat.jpg', '-o', `${folder}/`, '--json']);
    expect(ran).toMatchObject({ exitCode: 0, stderr: '' });
    expect(readFileSync(at('cat.jpg'), 'utf8')).toBe('meow meow');
    expect(JSON.parse(ran.stdout)).toMatchObject({ name: 'photos/cat.jpg', path: at('cat.jpg'), bytes: 9 });
    expect(leftovers()).toEqual([]);
  });

  it('writes to the path that -o gives, or to standard output', async () => {
    cluster.put('a', 'one');
    cluster.put('b', 'two');
    expect(await runDfs(cluster, ['receive', 'a', '-o', at('new/folder/x')])).toMatchObject({ exitCode: 0 });
    expect(readFileSync(at('new/folder/x'), 'utf8')).toBe('one');
    expect(await runDfs(cluster, ['RECEIVE', 'a', 'b', '-o', '-'])).toEqual({
      ...{ exitCode: 0, stdout: 'onetwo', stderr: '' },
    });
    expect((await runDfs(cluster, ['receive', 'a', '--range', '1-1', '-o', '-'])).stdout).toBe('n');
  });

  it('keeps a file that exists unless --force is given', async () => {
    cluster.put('a', 'new');
    make('a', 'old');
    const kept = await runDfs(cluster, ['receive', 'a', '-o', at('a')]);
    expect(kept).toMatchObject({ exitCode: 5 });
    expect(kept.stderr).toMatch(/exists already and was kept\n {2}Give --force/);
    expect(readFileSync(at('a'), 'utf8')).toBe('old');
    expect(await runDfs(cluster, ['receive', 'a', '-o', at('a'), '--force'])).toMatchObject({ exitCode: 0 });
    expect(readFileSync(at('a'), 'utf8')).toBe('new');
  });

  it('keeps a file that appears while it receives', async () => {
    cluster.put('a', 'from the cluster');
    cluster.whileReading = () => make('a', 'mine');
    expect(await runDfs(cluster, ['receive', 'a', '-o', at('a')])).toMatchObject({ exitCode: 5 });
    expect(readFileSync(at('a'), 'utf8')).toBe('mine');
    expect(leftovers()).toEqual([]);
  });

  it.each(['..', '../x', 'a/../../x', '/etc/x', 'a//b', 'a/', './x', '.'])(
    'of a prefix skips the name %j',
    async (name) => {
      cluster.put(name, 'evil');
      cluster.put('.fine', 'yes');
      cluster.put('a-fine/b', 'yes');
      cluster.put('/', 'evil');
      const ran = await runDfs(cluster, ['receive', '-r', '--prefix', '', '-o', at('in')]);
      expect(ran.exitCode).toBe(8);
      expect(ran.stderr).toContain(`cannot receive ${name}`);
      expect(readdirSync(folder, { recursive: true }).sort()).toEqual(['in', 'in/.fine', 'in/a-fine', 'in/a-fine/b']);
    },
  );

  it.each(['..', 'a/..', 'a/', '.'])('of one name asks where %j should go', async (name) => {
    cluster.put(name, 'odd');
    const ran = await runDfs(cluster, ['receive', name]);
    expect(ran).toMatchObject({ exitCode: 2 });
    expect(ran.stderr).toContain('Say where it should go with -o PATH');
    expect(await runDfs(cluster, ['receive', name, '-o', at('x')])).toMatchObject({ exitCode: 0 });
  });

  it('removes what it has written when it is interrupted, and leaves the target', async () => {
    cluster.put('a', 'a long text in many pieces');
    make('a', 'old');
    let interrupt: () => void = () => undefined;
    cluster.whileReading = () => interrupt();
    const argv = ['receive', 'a', '--force', '-o', at('a')];
    const ran = await runDfs(cluster, argv, { onStart: (handler) => (interrupt = handler) });
    expect(ran.exitCode).toBe(130);
    expect(readFileSync(at('a'), 'utf8')).toBe('old');
    expect(leftovers()).toEqual([]);
  });

  it('removes what it has written when the bytes turn out bad', async () => {
    cluster.put('a', 'a long text in many pieces');
    cluster.whileReading = () => {
      throw new DfsError('integrity', 'Block 3 does not match its checksum');
    };
    expect(await runDfs(cluster, ['receive', 'a', '-o', at('a')])).toMatchObject({ exitCode: 7 });
    expect(existsSync(at('a'))).toBe(false);
    expect(leftovers()).toEqual([]);
  });

  it('begins anew when the file is replaced under it', async () => {
    cluster.put('a', 'old old old');
    cluster.whileReading = () => {
      cluster.whileReading = () => undefined;
      cluster.put('a', 'new');
      throw new DfsError('gone', 'This version was replaced and its bytes swept');
    };
    expect(await runDfs(cluster, ['receive', 'a', '-o', at('a')])).toMatchObject({ exitCode: 0 });
    expect(readFileSync(at('a'), 'utf8')).toBe('new');
  });

  it('says which names are missing', async () => {
    cluster.put('a', 'x');
    expect(await runDfs(cluster, ['receive', 'b', '-o', at('x')])).toMatchObject({ exitCode: 3 });
    expect(await runDfs(cluster, ['receive', 'a', 'b', '-o', at('y')])).toMatchObject({ exitCode: 8 });
    expect(await runDfs(cluster, ['receive', '-r', '--prefix', 'zzz'])).toMatchObject({ exitCode: 3 });
  });
});
