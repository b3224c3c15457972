import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectClient } from '../../../src/client/file-client.js';
import { cacheFileName } from '../../../src/client/map-cache.js';
import type { SmallFiles } from '../../../src/core/storage.js';
import { FakeCluster, FakePeer, nameServedBy, slotOf } from './fake-cluster.js';

class MemoryFiles implements SmallFiles {
  readonly files = new Map<string, Uint8Array>();
  isReadOnly = false;

  async read(name: string): Promise<Uint8Array | undefined> {
    return this.files.get(name);
  }

  async replace(name: string, content: Uint8Array): Promise<void> {
    if (this.isReadOnly) throw new Error('EROFS: read-only file system');
    this.files.set(name, content);
  }
}

describe('a fresh client', () => {
  let cluster: FakeCluster;
  let cacheFiles: MemoryFiles;

  beforeEach(async () => {
    cluster = await FakeCluster.start({ peers: 3 });
    cacheFiles = new MemoryFiles();
  });

  afterEach(() => cluster.stop());

  const fileName = (): string => cacheFileName([cluster.master.address]);

  const warmCache = async (): Promise<void> => {
    const client = await cluster.client({ cacheFiles });
    await client.put('before', 'x');
    await client.close();
  };

  it('stores and reads by its cached map while the master is stopped', async () => {
    await warmCache();
    await cluster.kill(cluster.master);
    const client = await cluster.client({ cacheFiles });
    await client.put('after', 'content');
    expect(Buffer.from(await (await client.get('after')).bytes()).toString()).toBe('content');
  });

  it('finds its way by a stale cached map, through a backup, while the master is stopped', async () => {
    await warmCache();
    await cluster.kill(cluster.master);
    const dead = cluster.peer('p1');
    await cluster.kill(dead);
    cluster.failOver(dead);
    const client = await cluster.client({ cacheFiles });
    const receipt = await client.put(nameServedBy(cluster, cluster.peer('p2')), 'x');
    expect(receipt.primary.id).toBe('p2');
    const name = Array.from({ length: 99 }, (_, at) => `n${at}`).find((one) => slotOf(one) % 3 === 0) ?? '';
    expect((await client.put(name, 'x')).copies.durable).toBe(1);
  });

  it('remembers the newer map that a hello told of', async () => {
    await warmCache();
    const slot = slotOf('x');
    cluster.change([slot], (record, epoch) => ({ ...record, slotEpoch: epoch }));
    const before = cacheFiles.files.get(fileName());
    const client = await cluster.client({ cacheFiles });
    await client.put('x', 'x');
    while (cacheFiles.files.get(fileName()) === before) await new Promise((resolve) => setTimeout(resolve, 5));
    await client.close();
  });

  it.each([
    ['garbage', () => Buffer.from('not a map at all')],
    ['nothing', () => new Uint8Array(0)],
    ['a flipped bit', (good: Uint8Array) => good.map((byte, at) => (at === 60 ? byte ^ 4 : byte))],
    ['a cut end', (good: Uint8Array) => good.subarray(0, good.length - 3)],
  ])('ignores and rebuilds a cache that holds %s', async (_, spoil) => {
    await warmCache();
    const good = cacheFiles.files.get(fileName()) ?? new Uint8Array(0);
    cacheFiles.files.set(fileName(), spoil(good));
    const client = await cluster.client({ cacheFiles });
    await client.put('x', 'y');
    await client.close();
    expect(cacheFiles.files.get(fileName())?.length).toBe(good.length);
  });

  it('does without a cache that cannot be written', async () => {
    cacheFiles.isReadOnly = true;
    const client = await cluster.client({ cacheFiles });
    expect((await client.put('x', 'y')).size).toBe(1);
  });

  it('replaces the cached map of another cluster', async () => {
    await warmCache();
    const other = 'd'.repeat(32);
    cluster.publish({ ...cluster.map, clusterId: other, epoch: 3 });
    const client = await cluster.client({ cacheFiles });
    expect((await client.put('x', 'y')).size).toBe(1);
    expect(cluster.files.size).toBe(2);
  });

  it('does not follow its masters to another cluster in the middle of its work', async () => {
    const client = await cluster.client();
    await client.put('x', 'y');
    const dead = cluster.primaryOf('x');
    await cluster.kill(dead);
    await new Promise(setImmediate);
    cluster.publish({ ...cluster.map, clusterId: 'd'.repeat(32), epoch: 99 });
    await expect(client.put('x', 'z', { timeoutMs: 500 })).rejects.toThrow();
    expect(cluster.peers.flatMap((peer) => peer.named('put'))).toHaveLength(1);
  });

  it('says which master it could not reach, soon', async () => {
    await cluster.kill(cluster.master);
    const startedMs = cluster.environment.clock.monotonicMs();
    await expect(cluster.client({ timeoutMs: 30_000 })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(cluster.master.address),
      advice: expect.stringContaining('dfs-master'),
    });
    expect(cluster.environment.clock.monotonicMs() - startedMs).toBeLessThan(5000);
  });

  it('goes by the masters that answer when others do not', async () => {
    const client = await connectClient(cluster.environment, {
      masters: ['127.0.0.1:1', cluster.master.address],
      timeoutMs: 3000,
    });
    await client.put('x', 'y');
    await expect(client.status()).resolves.toEqual({ health: 'healthy' });
    await client.close();
  });

  it('connects to a master that has no peers yet, and says so when asked to store', async () => {
    const empty = new FakePeer('master', '127.0.0.1:7499');
    empty.script = (request) => (request.name === 'map' ? Promise.resolve({ header: { epoch: 0 } }) : undefined);
    await cluster.listen(empty);
    const client = await connectClient(cluster.environment, { masters: [empty.address], timeoutMs: 300 });
    await expect(client.put('x', 'y')).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('no peers yet'),
    });
    await client.close();
    await cluster.kill(empty);
  });

  it.each([['nonsense'], ['127.0.0.1'], ['127.0.0.1:0'], ['127.0.0.1:70000'], ['']])(
    'refuses %j as the address of a master',
    async (address) => {
      await expect(connectClient(cluster.environment, { masters: [address] })).rejects.toMatchObject({
        code: 'invalid',
      });
    },
  );

  it('refuses to start without any master', async () => {
    await expect(connectClient(cluster.environment, { masters: [] })).rejects.toMatchObject({ code: 'invalid' });
  });
});
