import { beforeEach, expect, it } from 'vitest';
import { DfsError } from '../../../src/core/errors.js';
import { FakeCluster, runDfs } from './fake-world.js';

let cluster: FakeCluster;
beforeEach(() => {
  cluster = new FakeCluster();
  cluster.kept.set('a', 'then');
  cluster.kept.set('b/1', 'also then');
});

const restore = (...argv: string[]) => runDfs(cluster, ['checkpoint', 'restore', 'id', ...argv]);

it('create ends with 0 for a complete checkpoint, and with 8 and the reasons for another', async () => {
  const made = { id: 'x', at: 'now', isTimed: false, peers: ['p1'], missingSlots: [], reasons: [] };
  cluster.checkpoint = { ...made, state: 'complete' };
  const ran = await runDfs(cluster, ['checkpoint', 'create', '--json']);
  expect(ran.exitCode).toBe(0);
  expect(JSON.parse(ran.stdout)).toMatchObject({ id: 'x', state: 'complete' });
  cluster.checkpoint = { ...made, state: 'incomplete', missingSlots: [3], reasons: ['nobody vouches for 1 slots'] };
  const partial = await runDfs(cluster, ['checkpoint', 'create']);
  expect(partial.exitCode).toBe(8);
  expect(partial.stderr).toContain('nobody vouches for 1 slots');
});

it('restores one file, those of a prefix, or all, with a receipt each', async () => {
  expect((await restore('a')).exitCode).toBe(0);
  expect([...cluster.files.keys()]).toEqual(['a']);
  expect((await restore('--prefix', 'b/')).exitCode).toBe(0);
  expect(cluster.text('b/1')).toBe('also then');
  expect((await restore('a', '--as', 'old-a')).exitCode).toBe(0);
  expect(cluster.text('old-a')).toBe('then');
  cluster.files.clear();
  const ran = await restore('--all', '--json');
  expect(
    ran.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).name),
  ).toEqual(['a', 'b/1']);
  expect((await restore('absent')).exitCode).toBe(3);
});

it('keeps a file with other content unless forced, and counts the same one as restored', async () => {
  cluster.put('a', 'newer, and longer');
  cluster.put('b/1', 'also then');
  const ran = await restore('--all');
  expect(ran.exitCode).toBe(8);
  expect(ran.stderr).toContain('--force');
  expect(ran.stdout).toContain('is there already');
  expect(cluster.text('a')).toBe('newer, and longer');
  expect((await restore('a')).exitCode).toBe(5);
  expect((await restore('--all', '--force')).exitCode).toBe(0);
  expect(cluster.text('a')).toBe('then');
});

it('ends with 8 when some files fail, or when slots are missing', async () => {
  cluster.failures.set('a', new DfsError('no-space', 'Full'));
  expect((await restore('--all')).exitCode).toBe(8);
  expect(cluster.text('b/1')).toBe('also then');
  cluster.failures.clear();
  cluster.missingSlots = [1, 2];
  const ran = await restore('--all');
  expect(ran.exitCode).toBe(8);
  expect(ran.stderr).toContain('2 slots');
});

it('goes to another cluster when that is asked for', async () => {
  await restore('a', '--to-master', '10.0.0.9:7420');
  expect(cluster.settings?.masters).toEqual(['10.0.0.9:7420']);
});
