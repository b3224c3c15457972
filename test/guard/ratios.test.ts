/**
 * Nothing has become twice as slow: what work of a client takes, as a multiple of the bare moves of bytes that it
 * cannot do without, measured in turn over real daemons.
 *
 * Other work on the machine only ever adds to what something takes, so of many short rounds the quickest counts, on
 * both sides. The bounds lie between what was seen on a busy machine and twice what was seen on a quiet one
 * (docs/performance.md). By itself, as nothing else may run beside it:
 *
 *   npm run build && DFS_GUARD=1 TMPDIR=/dev/shm npx vitest run
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { MachineLimits } from '../../src/core/local-machine.js';
import type { DfsClient } from '../../src/dfs.js';
import { type Cluster, checkout, startCluster } from '../launcher.js';

const rounds = 10;
const smallBytes = 4096;
const largeBytes = 64 * 1024 * 1024;
const small = Buffer.alloc(smallBytes, 'dfs');
const large = Buffer.alloc(largeBytes, 'dfs');

let cluster: Cluster;
let dfs: DfsClient;
let bare: MachineLimits;

/** As it was built: what runs beside it starts programs that lie there. */
async function built<T>(path: string): Promise<T> {
  return (await import(join(checkout, 'dist', path))) as T;
}

beforeAll(async () => {
  cluster = await startCluster({ peers: 2 });
  const limits = await built<typeof import('../../src/io/machine-limits.js')>('io/machine-limits.js');
  const library = await built<typeof import('../../src/dfs.js')>('dfs.js');
  bare = await limits.machineLimits(cluster.dir);
  dfs = await library.DfsClient.connect({ masters: [cluster.master.address], cacheDir: join(cluster.dir, 'guard') });
});

afterAll(async () => {
  await dfs?.close().catch(() => undefined);
  await cluster?.stop();
});

async function timed(work: () => Promise<unknown>): Promise<number> {
  const fromMs = performance.now();
  await work();
  return performance.now() - fromMs;
}

type Took = () => Promise<number>;

/** The quickest of all rounds over the sum of the quickest of each bare work; all answer how long one took. */
async function ratio(ours: Took, ...theirs: readonly Took[]): Promise<number> {
  let least = Infinity;
  const bareLeast = theirs.map(() => Infinity);
  for (let round = 0; round < rounds; round++) {
    for (const [at, took] of theirs.entries()) bareLeast[at] = Math.min(bareLeast[at] ?? 0, await took());
    least = Math.min(least, await ours());
  }
  const bareMs = bareLeast.reduce((sum, ms) => sum + ms, 0);
  console.log(`${least.toFixed(3)} ms, bare ${bareMs.toFixed(3)} ms: ${(least / bareMs).toFixed(2)} times`);
  return least / bareMs;
}

/** How long each of so many operations takes, so many at a time. */
async function each(count: number, inFlight: number, operation: (at: number) => Promise<unknown>): Promise<number> {
  let begun = 0;
  const some = async (): Promise<void> => {
    while (begun < count) await operation(begun++);
  };
  const tookMs = await timed(() => Promise.all(Array.from({ length: inFlight }, some)));
  return tookMs / count;
}

const put = (at: number): Promise<unknown> => dfs.put(`small-${at}`, small);
const get = async (at: number): Promise<unknown> => (await dfs.get(`small-${at}`)).bytes();

/** An answer of so many bytes from another process; a commit of LMDB. */
const echo =
  (count: number, inFlight: number): Took =>
  async () =>
    (await bare.echoesMs({ count, sizeBytes: smallBytes, inFlight })) / count;
const lmdb =
  (count: number, inFlight: number): Took =>
  async () =>
    (await bare.putsMs({ count, sizeBytes: smallBytes, inFlight })) / count;

it('a put of 4 KiB, one at a time', async () => {
  expect(await ratio(() => each(100, 1, put), echo(1000, 1), lmdb(1000, 1))).toBeLessThan(45);
});

it('puts of 4 KiB, 64 in flight', async () => {
  expect(await ratio(() => each(1000, 64, put), echo(4000, 64), lmdb(4000, 64))).toBeLessThan(18);
});

it('a get of 4 KiB, one at a time', async () => {
  expect(await ratio(() => each(100, 1, get), echo(1000, 1))).toBeLessThan(10);
});

it('gets of 4 KiB, 64 in flight', async () => {
  expect(await ratio(() => each(1000, 64, get), echo(4000, 64))).toBeLessThan(7.2);
});

it('a large file out', async () => {
  const send = () => timed(() => dfs.put('large', large));
  expect(await ratio(send, () => bare.twoHopsMs(largeBytes))).toBeLessThan(1.7);
});

it('a large file in', async () => {
  const receive = () =>
    timed(async () => {
      const file = await dfs.get('large', { reuseMemory: true });
      for await (const piece of file.body) expect(piece.length).toBeGreaterThan(0);
    });
  expect(await ratio(receive, () => bare.oneHopMs(largeBytes))).toBeLessThan(1.45);
});
