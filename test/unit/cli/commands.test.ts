import { beforeEach, describe, expect, it } from 'vitest';
import { toPeersText } from '../../../src/cli/cluster-text.js';
import { printable, shownName, toJsonLine } from '../../../src/cli/escaping.js';
import { loadPaint } from '../../../src/cli/paint.js';
import { forEachBounded } from '../../../src/cli/parallel.js';
import { toProgressText } from '../../../src/cli/progress.js';
import { nearest } from '../../../src/cli/suggestion.js';
import { formatBytes, formatDuration } from '../../../src/cli/units.js';
import { DfsError, type ErrorCode, refusals } from '../../../src/core/errors.js';
import { FakeCluster, runDfs } from './fake-world.js';

let cluster: FakeCluster;
beforeEach(() => {
  cluster = new FakeCluster();
});

describe('an error', () => {
  it.each(Object.entries(refusals))('%s ends with its exit code', async (code, { exitCode }) => {
    cluster.failures.set('a', new DfsError(code as ErrorCode, 'Why'));
    cluster.put('a', '');
    expect((await runDfs(cluster, ['stat', 'a'])).exitCode).toBe(exitCode);
  });

  it('says what failed, why, what next, and which request', async () => {
    cluster.failures.set('a', new DfsError('no-space', 'p1 is full', { advice: 'Free space', requestId: '0a1b' }));
    const { stderr } = await runDfs(cluster, ['rm', 'a']);
    expect(stderr).toBe('dfs: cannot remove a: p1 is full\n  Free space\n  request 0a1b\n');
  });

  it('of the connection is told once', async () => {
    cluster.connectFailure = new DfsError('unavailable', 'No master answered at 127.0.0.1:7420');
    const ran = await runDfs(cluster, ['rm', 'a', 'b']);
    expect(ran).toEqual({
      ...{ exitCode: 6, stdout: '' },
      stderr: 'dfs: No master answered at 127.0.0.1:7420\n  See what is wrong with: dfs status\n',
    });
  });
});

describe('a cluster that stops answering', () => {
  it('is given up after some names, not waited for by each', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `n${index}`);
    for (const name of names) cluster.failures.set(name, new DfsError('timed-out', 'No answer'));
    const ran = await runDfs(cluster, ['rm', ...names]);
    expect(ran.exitCode).toBe(6);
    expect(ran.stderr).toContain('Gave up: 16 in a row had no answer');
    expect(ran.stderr.split('\n').length).toBeLessThan(100);
  });
});

describe('a closed standard output', () => {
  it('ends the program without a word', async () => {
    for (const name of ['a', 'b', 'c']) cluster.put(name, '');
    expect(await runDfs(cluster, ['ls'], { closeAfterWrites: 1 })).toEqual({ exitCode: 1, stdout: 'a\n', stderr: '' });
    const receive = ['receive', 'a', '-o', '-'];
    cluster.put('a', 'several pieces of text');
    expect(await runDfs(cluster, receive, { closeAfterWrites: 1 })).toMatchObject({ exitCode: 1, stderr: '' });
  });
});

describe('commands', () => {
  it('cp copies bytes, type and metadata; mv removes the old name too', async () => {
    cluster.put('a', 'text');
    await runDfs(cluster, ['set-metadata', 'a', 'by=Ada', 'eq=a=b']);
    expect(await runDfs(cluster, ['cp', 'a', 'b'])).toMatchObject({ exitCode: 0 });
    expect(cluster.files.get('b')).toMatchObject({ metadata: { by: 'Ada', eq: 'a=b' } });
    expect(await runDfs(cluster, ['mv', 'b', 'c'])).toMatchObject({ exitCode: 0 });
    expect([...cluster.files.keys()].sort()).toEqual(['a', 'c']);
    expect(await runDfs(cluster, ['cp', 'nothing', 'd'])).toMatchObject({ exitCode: 3 });
  });

  it('set asks before it removes copies: on a terminal, elsewhere it needs --yes', async () => {
    const fewer = ['set', 'replicas', '1'];
    const refused = await runDfs(cluster, fewer);
    expect(refused).toMatchObject({ exitCode: 2 });
    expect(refused.stderr).toContain('Add --yes');
    expect(await runDfs(cluster, fewer, { answer: 'n' })).toMatchObject({ exitCode: 0 });
    expect(cluster.changes).toEqual([]);
    expect(await runDfs(cluster, fewer, { answer: 'y' })).toMatchObject({ exitCode: 0 });
    expect(await runDfs(cluster, [...fewer, '--yes'])).toMatchObject({ exitCode: 0 });
    expect(await runDfs(cluster, ['set', 'replicas', '3'])).toMatchObject({ exitCode: 0 });
    expect(await runDfs(cluster, ['set', 'min-in-sync', '1'])).toMatchObject({ exitCode: 0 });
    expect(cluster.changes).toEqual([{ replicas: 1 }, { replicas: 1 }, { replicas: 3 }, { minInSync: 1 }]);
  });

  it('rm removes names and prefixes', async () => {
    for (const name of ['a', 'p/1', 'p/2', 'q']) cluster.put(name, '');
    expect(await runDfs(cluster, ['rm', '--prefix', 'p/', '--yes'])).toMatchObject({ exitCode: 0 });
    expect(await runDfs(cluster, ['rm', 'a', 'nothing'])).toMatchObject({ exitCode: 8 });
    expect([...cluster.files.keys()]).toEqual(['q']);
  });

  it('ls --json has one object a line with the fixed fields', async () => {
    cluster.put('a', 'x');
    cluster.put('b', 'y');
    const rows = (await runDfs(cluster, ['ls', '--json'])).stdout.trim().split('\n');
    expect(Object.keys(JSON.parse(rows[1] ?? ''))).toEqual([
      ...['bucket', 'name', 'size', 'version', 'checksum', 'contentType', 'modifiedAt', 'segments'],
    ]);
  });

  it('locate answers where an absent name would go', async () => {
    const ran = await runDfs(cluster, ['locate', 'nothing', '--json']);
    expect(ran.exitCode).toBe(0);
    expect(JSON.parse(ran.stdout)).toMatchObject({ exists: false, slot: 3, segments: [] });
  });

  it('status, peers and events have the fixed fields', async () => {
    const status = JSON.parse((await runDfs(cluster, ['status', '--json'])).stdout);
    expect(Object.keys(status)).toEqual([
      ...['clusterId', 'epoch', 'health', 'reasons', 'replicas', 'minInSync', 'uptimeSeconds', 'files', 'bytes'],
      ...['master', 'peers', 'slots', 'repair', 'moves', 'checkpoints'],
    ]);
    const peer = JSON.parse((await runDfs(cluster, ['peers', '--json'])).stdout);
    expect(Object.keys(peer)).toEqual([
      ...['id', 'address', 'zone', 'weight', 'state', 'storeId', 'incarnation', 'primarySlots', 'backupSlots'],
      ...['joiningSlots', 'files', 'bytes', 'freeBytes', 'lastHeardMs'],
    ]);
    const event = await runDfs(cluster, ['events']);
    expect(event.stdout).toContain('p1 \\e[2J is up');
  });

  it.each([
    ['healthy', [], 0],
    ['degraded', [], 0],
    ['unavailable', [], 6],
    ['degraded', ['--wait', 'available'], 0],
    ['degraded', ['--wait', 'healthy', '--timeout', '0.2'], 6],
    ['unavailable', ['--wait', 'available', '--timeout', '0.2'], 6],
  ] as const)('status of a cluster that is %s with %j exits %i', async (health, flags, exitCode) => {
    cluster.health = health;
    expect((await runDfs(cluster, ['status', ...flags])).exitCode).toBe(exitCode);
  });

  it('status --wait goes on while no master answers', async () => {
    cluster.connectFailure = new DfsError('unavailable', 'Nobody answers');
    const waiting = runDfs(cluster, ['status', '--wait', 'healthy', '--timeout', '10']);
    cluster.connectFailure = undefined;
    expect(await waiting).toMatchObject({ exitCode: 0 });
  });

  it('--quiet prints errors only', async () => {
    cluster.put('a', 'x');
    expect(await runDfs(cluster, ['ls', '--quiet'])).toEqual({ exitCode: 0, stdout: '', stderr: '' });
    expect((await runDfs(cluster, ['stat', 'b', '--quiet'])).stderr).toContain('dfs: ');
  });
});

describe('names', () => {
  it.each([
    ['plain name.txt', 'plain name.txt'],
    ["it's 100% #1 “ü” 🎉", "it's 100% #1 “ü” 🎉"],
    ['back\\slash', 'back\\slash'],
    ['two\nlines', "$'two\\nlines'"],
    ['\u001b[2Jgone', "$'\\e[2Jgone'"],
    ["it's\ttabbed\\", "$'it\\'s\\ttabbed\\\\'"],
    ['\u202egpj.exe', "$'\\u202egpj.exe'"],
    ['\u0007\u007f\u009b', "$'\\x07\\x7f\\u009b'"],
  ])('%j is shown as %s', (name, shown) => expect(shownName(name)).toBe(shown));

  it('in JSON are the very same, and harmless to look at', () => {
    const name = 'a\u001b[2J\u009b\u202e\u2028\u007f"\\';
    const line = toJsonLine({ name });
    expect(JSON.parse(line)).toEqual({ name });
    expect(line).toMatch(/^[\x20-\x7e]*$/);
  });

  it('in messages stay on their line and steer nothing', () => {
    expect(printable('a\nb\u001b]0;title\u0007')).toBe('a\\nb\\e]0;title\\x07');
  });
});

describe('what people read', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1.0 KiB'],
    [1.5 * 1024 ** 3, '1.5 GiB'],
  ])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    [0, '0 s'],
    [59.6, '1 min 0 s'],
    [200, '3 min 20 s'],
    [7500, '2 h 5 min'],
    [273_600, '3 d 4 h'],
  ])('%d seconds are %s', (seconds, text) => expect(formatDuration(seconds)).toBe(text));

  it('a peer that the master has not heard of has dashes for numbers', async () => {
    const slots = { primarySlots: 8, backupSlots: 0, joiningSlots: 0 };
    const identity = { id: 'p1', address: '127.0.0.1:7421', zone: 'a', weight: 1, storeId: 'ab', incarnation: 1 };
    const unheard = {
      files: null,
      bytes: null,
      keptBytes: null,
      freeBytes: null,
      totalBytes: null,
      fullness: null,
      isSlow: false,
      latency: { readMedianMs: null, readP99Ms: null, syncMedianMs: null, syncP99Ms: null, pingP99Ms: null },
      lastHeardMs: null,
      damaged: null,
      verifiedSince: null,
    };
    const paint = await loadPaint({ isColourful: false });
    const text = toPeersText(
      [{ ...identity, ...slots, ...unheard, state: 'down', mode: 'normal', isOut: false }],
      paint,
    );
    expect(text.split('\n')[1]?.split(/ +/).slice(3)).toEqual(['down', '8', '0', '0', '–', '–', '–']);
  });

  it('progress has bytes, rate and time left', () => {
    const half = { subject: 'x', doneBytes: 512, totalBytes: 1024, bytesPerSecond: 256, columns: 100 };
    expect(toProgressText(half)).toBe('████████████░░░░░░░░░░░░ 50 %  512 B of 1.0 KiB  256 B/s  ETA 2 s  x');
    expect(toProgressText({ ...half, totalBytes: undefined })).toBe('512 B  256 B/s  x');
    expect(toProgressText({ ...half, subject: 'x'.repeat(200) }).length).toBeLessThanOrEqual(96);
  });

  it.each([
    ['sned', 'send'],
    ['LS', 'ls'],
    ['recieve', 'receive'],
    ['xylophone', undefined],
  ])('%s is nearest to %s', (word, found) => expect(nearest(word, ['send', 'receive', 'ls', 'stat'])).toBe(found));
});

describe('many at once', () => {
  it('never go above their number nor their weight, except one alone', async () => {
    let running = 0;
    let weight = 0;
    const seen: number[] = [];
    const bounds = { atOnce: 4, weightMax: 10, weightOf: (item: number) => item };
    await forEachBounded([1, 1, 1, 1, 1, 9, 3, 50, 2, 2], bounds, async (item) => {
      running++;
      weight += Math.min(item, 10);
      expect(running).toBeLessThanOrEqual(4);
      expect(weight).toBeLessThanOrEqual(10);
      await new Promise((resolve) => setTimeout(resolve, 1));
      seen.push(item);
      running--;
      weight -= Math.min(item, 10);
    });
    expect(seen).toHaveLength(10);
  });

  it('end with the first failure, once what runs has ended', async () => {
    let ended = 0;
    const bounds = { atOnce: 2, weightMax: 10, weightOf: () => 1 };
    const work = forEachBounded([1, 2, 3, 4, 5, 6], bounds, async (item) => {
      await new Promise((resolve) => setTimeout(resolve, item));
      ended++;
      if (item === 1) throw new Error('first');
    });
    await expect(work).rejects.toThrow('first');
    expect(ended).toBeLessThan(4);
  });
});
