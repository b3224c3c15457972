/**
 * A real peer whose index is deleted comes back whole, from the files that its disk still holds.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type Cluster, type Daemon, filesBelow, withCluster } from '../launcher.js';

const count = 20;
const fileBytes = 1024 * 1024;
/** Maps, digests, beacons and the index of the one that wrote them, whatever the files are. */
const few = 0.05 * count * fileBytes;

/** Not two alike. */
function contentOf(at: number): Buffer {
  const seed = createHash('sha512').update(`file ${at}`).digest();
  return Buffer.alloc(fileBytes, seed);
}

/** All that a process ever wrote, to wires and disks alike. */
async function writtenBytes({ pid }: Daemon): Promise<number> {
  const text = await readFile(`/proc/${pid}/io`, 'utf8');
  return Number(/^wchar: (\d+)$/m.exec(text)?.[1]);
}

/** Restarts it without its index, after `hurt`; answers what the other wrote until both were whole again. */
async function withoutIndex(
  cluster: Cluster,
  { loser, other, hurt }: { loser: Daemon; other: Daemon; hurt?: () => Promise<void> },
): Promise<number> {
  await loser.kill();
  await rm(join(loser.dataDir, 'index.mdb'));
  await hurt?.();
  const before = await writtenBytes(other);
  await loser.start();
  await cluster.waitHealthy();
  return (await writtenBytes(other)) - before;
}

async function expectAllGood(cluster: Cluster): Promise<void> {
  const verified = await cluster.dfsJson(['verify', '--all']);
  expect(verified).toHaveLength(count);
  expect(verified.filter(({ bad, left }) => JSON.stringify([bad, left]) !== '[[],[]]')).toEqual([]);
}

it('S5, S7: is whole again for a few bytes, and takes no file whose bytes are bad', async () => {
  await withCluster({ peers: 2, masterFlags: ['--slots', '64'] }, async (cluster) => {
    const [other, loser] = cluster.peers;
    if (other === undefined || loser === undefined) throw new Error('Two peers were started');
    const names = Array.from({ length: count }, (_, at) => `file-${at}`);
    const paths = names.map((name) => join(cluster.dir, name));
    await Promise.all(paths.map((path, at) => writeFile(path, contentOf(at))));
    await cluster.dfsJson(['send', ...paths]);
    const held = await filesBelow(join(loser.dataDir, 'bytes'));
    expect(held).toHaveLength(count);

    const written = await withoutIndex(cluster, { loser, other });
    console.info(`${((100 * written) / (count * fileBytes)).toFixed(1)} % of the data was written by its partner`);
    expect(written).toBeLessThan(few);
    expect(await filesBelow(join(loser.dataDir, 'bytes'))).toEqual(held);
    await expectAllGood(cluster);

    const rotten = held[7] ?? '';
    const hurt = async (): Promise<void> => {
      const bytes = await readFile(rotten);
      bytes[500_000] = (bytes[500_000] ?? 0) ^ 1;
      await writeFile(rotten, bytes);
    };
    const copied = await withoutIndex(cluster, { loser, other, hurt });
    expect(copied).toBeGreaterThan(fileBytes);
    expect(copied).toBeLessThan(fileBytes + few);
    // The bad one was left where it is, and nothing names it.
    expect(await filesBelow(join(loser.dataDir, 'bytes'))).toHaveLength(count + 1);
    await expectAllGood(cluster);

    await other.kill();
    const target = join(cluster.dir, 'back');
    await mkdir(target);
    await cluster.dfsJson(['receive', ...names, '-o', target]);
    const back = await Promise.all(names.map((name) => readFile(join(target, name))));
    expect(back.filter((bytes, at) => !contentOf(at).equals(bytes))).toEqual([]);
  });
});
