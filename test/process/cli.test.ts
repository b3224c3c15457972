import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Cluster, checkout, runCommand, startCluster, until } from '../launcher.js';

const dfsPath = join(checkout, 'bin', 'dfs');
let cluster: Cluster;
let folder: string;

beforeAll(async () => {
  cluster = await startCluster({ peers: 3 });
});
afterAll(() => cluster.stop());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dfs-cli-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (...parts: string[]) => join(folder, ...parts);
const environment = () => ({ DFS_MASTER: cluster.master.address, DFS_CACHE: join(cluster.dir, 'cache') });
const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const leftovers = () => readdirSync(folder, { recursive: true }).filter((name) => String(name).includes('.part'));

async function inFours<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += 4) await Promise.all(items.slice(start, start + 4).map(task));
}

/** Runs a line of bash with `dfs` in its path. */
const shell = (line: string) =>
  runCommand('bash', ['-c', `dfs() { '${dfsPath}' "$@"; }; cd '${folder}'; ${line}`], { env: environment() });

describe('bytes', () => {
  it.each([0, 1, 65_536, 65_537, 4 * 1024 * 1024, 4 * 1024 * 1024 + 1, 20_000_000])(
    'of %i come back as they were, from a file and from standard input',
    async (sizeBytes) => {
      const bytes = randomBytes(sizeBytes);
      writeFileSync(at('file'), bytes);
      const [receipt = {}] = await cluster.dfsJson(['send', at('file'), '--as', `bytes/${sizeBytes}`]);
      expect(receipt).toMatchObject({ size: sizeBytes, copies: { wanted: 2 }, degraded: false });
      // Three while a slot of the new cluster moves.
      const { durable } = receipt.copies as { durable: number };
      expect(durable).toBeGreaterThanOrEqual(2);
      await cluster.dfsJson(['receive', `bytes/${sizeBytes}`, '-o', at('back')]);
      expect(digest(readFileSync(at('back')))).toBe(digest(bytes));
      expect(await shell(`dfs send - --as piped <file && dfs receive piped -o - | cmp - file`)).toMatchObject({
        code: 0,
      });
      expect(leftovers()).toEqual([]);
    },
  );

  it('of a range are exactly those', async () => {
    const bytes = randomBytes(10_000_000);
    writeFileSync(at('file'), bytes);
    await cluster.dfsJson(['send', at('file'), '--as', 'ranged']);
    for (const [first, last] of [
      [0, 0],
      [65_535, 65_536],
      [4_194_303, 4_194_304],
      [9_999_999, 9_999_999],
    ] as const) {
      await cluster.dfsJson(['receive', 'ranged', '--range', `${first}-${last}`, '-o', at('part'), '--force']);
      expect(digest(readFileSync(at('part')))).toBe(digest(bytes.subarray(first, last + 1)));
    }
  });

  it('of a folder come back as a folder', async () => {
    for (let index = 0; index < 300; index++) {
      mkdirSync(at(`tree/${index % 7}`), { recursive: true });
      writeFileSync(at(`tree/${index % 7}/${index}`), randomBytes(index * 37));
    }
    const receipts = await cluster.dfsJson(['send', '--recursive', at('tree')]);
    expect(receipts).toHaveLength(300);
    await cluster.dfsJson(['receive', '--recursive', '--prefix', 'tree/', '-o', at('back')]);
    expect(await shell('diff -r tree back/tree')).toMatchObject({ code: 0, stdout: '' });
  });
});

describe('names', () => {
  const odd = [
    ...['with space', '100%', '#hash', `it's "quoted"`, 'ümläut', '🎉', 'two\nlines', 'tab\tbell\u0007', '\u202ertl'],
    ...['\u001b[31mred', '.', '..', 'a/../../etc/passwd', 'a', 'a/', 'a//b', '/a', 'back\\slash', '-dash', '$HOME'],
    ...['caf\u00e9', 'cafe\u0301', 'x'.repeat(1024), 'é'.repeat(512)],
  ];

  it('are kept literally, each a file of its own', async () => {
    await inFours(odd, async (name) => {
      await cluster.dfsJson(['--bucket', 'odd', 'send', '-', '--as', name], `content of ${name}`);
    });
    const listed = (await cluster.dfsJson(['--bucket', 'odd', 'ls'])).map((entry) => String(entry.name));
    const inOrder = [...odd].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    expect(listed).toEqual(inOrder);
    await inFours(odd, async (name) => {
      const back = await cluster.dfs(['--bucket', 'odd', 'receive', '-o', '-', '--', name]);
      expect(back).toMatchObject({ code: 0, stdout: `content of ${name}` });
    });
  });

  it('never steer the terminal', async () => {
    for (const argv of [['ls'], ['ls', '-l'], ['stat', '\u001b[31mred'], ['locate', '\u001b[31mred']]) {
      const { code, stdout } = await cluster.dfs(['--bucket', 'odd', ...argv]);
      expect(code).toBe(0);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these must not appear
      expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    }
  });

  it.each([
    ['', 2],
    ['x'.repeat(1025), 2],
    ['é'.repeat(513), 2],
  ])('like %j are refused with exit code %i', async (name, code) => {
    const sent = await cluster.dfs(['send', '-', '--as', name], { input: 'x' });
    expect(sent).toMatchObject({ code, stdout: '' });
    expect(sent.stderr).toMatch(/name/i);
  });

  it('that are not UTF-8 are skipped, each by its name', async () => {
    mkdirSync(at('d'));
    writeFileSync(at('d/good'), 'x');
    writeFileSync(Buffer.concat([Buffer.from(at('d/bad')), Buffer.from([0xff])]), 'x');
    const sent = await cluster.dfs(['send', '-r', at('d'), '--prefix', 'utf8/']);
    expect(sent.code).toBe(8);
    expect(sent.stderr).toMatch(/d\/bad.*is not UTF-8/);
    expect(await cluster.dfsJson(['ls', 'utf8/'])).toMatchObject([{ name: 'utf8/d/good' }]);
  });

  it('that would leave the folder are skipped when a prefix is received', async () => {
    for (const name of ['../evil', '/etc/evil', 'x/../../evil', 'fine/file']) {
      await cluster.dfsJson(['--bucket', 'escape', 'send', '-', '--as', name], 'x');
    }
    const got = await cluster.dfs(['--bucket', 'escape', 'receive', '-r', '--prefix', '', '-o', at('in')]);
    expect(got.code).toBe(8);
    expect(got.stderr.match(/cannot receive/g)).toHaveLength(3);
    expect(readdirSync(folder, { recursive: true }).sort()).toEqual(['in', 'in/fine', 'in/fine/file']);
  });
});

describe('a local file', () => {
  it('that is written to while it is sent fails, and the old version stays', async () => {
    await cluster.dfsJson(['send', '-', '--as', 'growing'], 'old version');
    const line = `head -c 100000000 /dev/zero >growing
      while :; do echo more >>growing; sleep 0.01; done & writer=$!
      dfs send growing; code=$?; kill $writer; exit $code`;
    const sent = await shell(line);
    expect(sent).toMatchObject({ code: 1, stdout: '' });
    expect(sent.stderr).toContain('changed while it was being read');
    expect((await cluster.dfs(['receive', 'growing', '-o', '-'])).stdout).toBe('old version');
  });

  it('that exists is kept unless --force is given', async () => {
    await cluster.dfsJson(['send', '-', '--as', 'target'], 'new');
    writeFileSync(at('target'), 'old');
    expect(await cluster.dfs(['receive', 'target', '-o', at('target')])).toMatchObject({ code: 5 });
    expect(readFileSync(at('target'), 'utf8')).toBe('old');
  });

  it.skipIf(process.getuid?.() !== 0)('that does not fit on the disk leaves nothing', async () => {
    const bytes = randomBytes(8 * 1024 * 1024);
    await cluster.dfsJson(['send', '-', '--as', 'too-big'], bytes);
    mkdirSync(at('small'));
    await runCommand('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', at('small')]);
    try {
      const got = await cluster.dfs(['receive', 'too-big', '-o', at('small/file')]);
      expect(got).toMatchObject({ code: 1 });
      expect(got.stderr).toContain('the local disk is full');
      expect(readdirSync(at('small'))).toEqual([]);
    } finally {
      await runCommand('umount', [at('small')]);
    }
  });

  it('is untouched by Ctrl-C while it is received', async () => {
    await cluster.dfsJson(['send', '-', '--as', 'long'], randomBytes(60_000_000));
    writeFileSync(at('target'), 'old');
    const argv = ['receive', 'long', '--force', '-o', at('target')];
    const child = spawn(dfsPath, argv, { env: { ...process.env, ...environment() }, stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await until(() => leftovers().length > 0, 'the temporary file appears');
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(readFileSync(at('target'), 'utf8')).toBe('old');
    expect(leftovers()).toEqual([]);
  });
});

describe('pipes', () => {
  it.each([
    'dfs receive piped -o - | head -c 10',
    'dfs ls --json | head -n 1',
    'dfs status | true',
    'dfs ls >&-',
    'dfs receive piped -o /dev/null <&- >/dev/null',
  ])('that close early leave no stack trace: %s', async (line) => {
    await cluster.dfsJson(['send', '-', '--as', 'piped'], randomBytes(20_000_000));
    const { stderr } = await shell(line);
    expect(stderr).not.toMatch(/ {4}at |Error:|EPIPE/);
  });
});

describe('a master', () => {
  it('that nobody is at is told quickly, with what to do', async () => {
    const ran = await shell('DFS_CACHE=$PWD/none dfs --master 127.0.0.1:1 ls');
    expect(ran).toMatchObject({ code: 6, stdout: '' });
    expect(ran.stderr).toMatch(/127\.0\.0\.1:1[\s\S]*\n {2}Check /);
  });

  it.each([
    ['HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
    ['an SSH server', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ])('that is really %s is told apart', async (_, greeting) => {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.write(greeting);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    try {
      const ran = await shell(`DFS_CACHE=$PWD/none dfs --master 127.0.0.1:${port} --timeout 3 ls`);
      expect(ran.stdout).toBe('');
      expect([6, 78]).toContain(ran.code);
      expect(ran.stderr).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}`));
    } finally {
      server.close();
    }
  });

  it('of another cluster at the same address is noticed, and its map is learnt', async () => {
    const other = await startCluster({ peers: 1, replicas: 1 });
    const cache = at('cache');
    try {
      const env = { DFS_MASTER: other.master.address, DFS_CACHE: cache };
      await runCommand(dfsPath, ['send', '-', '--as', 'x'], { input: 'other', env });
      // The cache of the other cluster, under the name of this one's master.
      await shell(`DFS_CACHE='${cache}/own' dfs ls --limit 1`);
      const [own] = readdirSync(join(cache, 'own'));
      const [others] = readdirSync(cache).filter((name) => name !== 'own');
      writeFileSync(join(cache, 'own', String(own)), readFileSync(join(cache, String(others))));
    } finally {
      await other.stop();
    }
    await cluster.dfsJson(['send', '-', '--as', 'here'], 'this one');
    const ran = await shell(`DFS_CACHE='${cache}/own' dfs receive here -o -`);
    expect(ran).toMatchObject({ code: 0, stdout: 'this one' });
  });

  it.each([
    ['corrupt', 'dfs ls >/dev/null; for f in cache/*; do head -c 3000 /dev/urandom >$f; done'],
    ['emptied', 'dfs ls >/dev/null; for f in cache/*; do : >$f; done'],
    ['a file instead of a folder', 'rm -rf cache; echo x >cache'],
    ['not writable', 'rm -rf cache; ln -s /proc cache'],
  ])('is found with a cache that is %s', async (_, spoil) => {
    await cluster.dfsJson(['send', '-', '--as', 'cached'], 'found');
    const ran = await shell(`export DFS_CACHE=$PWD/cache; ${spoil}; dfs receive cached -o -`);
    expect(ran).toMatchObject({ code: 0, stdout: 'found', stderr: '' });
  });
});

describe('a configuration file', () => {
  it.each([
    ['empty', '', /empty/],
    ['binary', '\u0000\u0001', /not text/],
    ['with an unknown key', 'mastr = "127.0.0.1:7420"', /unknown key "mastr"\n {2}Did you mean "master"/],
    ['with a key twice', 'json = true\njson = false', /"json" is given twice/],
    ['with port 70000', 'master = "127.0.0.1:70000"', /not an address/],
    ['with a timeout below zero', 'timeout = -1', /not a number of seconds/],
  ])('that is %s is refused', async (_, text, message) => {
    writeFileSync(at('dfs.toml'), text);
    const ran = await cluster.dfs(['--config', at('dfs.toml'), 'ls']);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toMatch(message);
  });
});

describe('dfs bench', () => {
  it('measures each kind of work on real files and leaves none behind', async () => {
    const small = ['--sizes', '1K', '--in-flight', '4', '--files', '20', '--runs', '1', '--clients', '2'];
    const rows = await cluster.dfsJson(['--bucket', 'bench', 'bench', ...small, '--large', '3M', '--limits', folder]);
    const ofOneClient = ['put', 'get', 'mixed', 'delete'];
    expect(rows.map(({ work }) => work)).toEqual([...ofOneClient, 'send', 'receive', 'list', 'start', 'put', 'get']);
    expect(rows.map(({ clients }) => clients)).toEqual([...Array(8).fill(undefined), 2, 2]);
    for (const { perSecond } of rows) expect(perSecond).toMatchObject({ median: expect.any(Number) });
    const limits = rows.map(({ limit }) => (limit as { of: string; share: number } | undefined)?.of);
    expect(limits).toEqual([
      ...['LMDB alone', 'bare echo', undefined, undefined],
      ...[expect.stringMatching('two'), 'one hop', undefined, "node -e ''"],
      ...['LMDB alone', 'bare echo'],
    ]);
    expect(await cluster.dfsJson(['--bucket', 'bench', 'ls'])).toEqual([]);
  });
});

describe('dfs dev', () => {
  it('runs a cluster whose printed next steps work as printed, and leaves nothing behind', async () => {
    const env = { ...process.env, DFS_CACHE: at('cache'), TMPDIR: folder };
    const child = spawn(dfsPath, ['dev', '--port', '0'], { env, stdio: ['ignore', 'pipe', 'inherit'], cwd: checkout });
    let printed = '';
    child.stdout.on('data', (text: Buffer) => (printed += text));
    const ended = new Promise((resolve) => child.once('exit', resolve));
    try {
      await until(() => printed.includes('kill -9'), 'the next steps are printed', 40_000);
      const steps = printed
        .split('\n')
        .filter((line) => line.startsWith('  '))
        .map((line) => line.trim());
      const calm = steps.filter((line) => !line.startsWith('kill'));
      const [kill] = steps.filter((line) => line.startsWith('kill'));
      const again = calm.filter((line) => line.includes('receive') || line.startsWith('export'));
      const script = ['set -e', ...calm, kill, ...again].join('\n');
      const ran = await runCommand('bash', ['-c', script], { env: { DFS_CACHE: at('cache') }, cwd: checkout });
      expect(ran).toMatchObject({ code: 0 });
      expect(ran.stdout).toMatch(/healthy[\s\S]*hello\n$/);
    } finally {
      child.kill('SIGINT');
    }
    expect(await ended).toBe(0);
    expect(readdirSync(folder).filter((name) => name.startsWith('dfs-'))).toEqual([]);
    expect(existsSync(at('cache'))).toBe(true);
  });
});
