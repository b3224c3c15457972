import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FileClient } from '../../../src/client/file-client.js';
import type { ListOptions } from '../../../src/client/results.js';
import { DfsError } from '../../../src/core/errors.js';
import { FakeCluster, noise } from './fake-cluster.js';

describe('a listing', () => {
  let cluster: FakeCluster;
  let client: FileClient;

  beforeEach(async () => {
    cluster = await FakeCluster.start({ peers: 3 });
    client = await cluster.client();
  });

  afterEach(() => cluster.stop());

  const namesOf = async (options: ListOptions = {}): Promise<string[]> => {
    const names: string[] = [];
    for await (const entry of client.list(options)) names.push(entry.name);
    return names;
  };

  const fill = async (names: readonly string[]): Promise<string[]> => {
    await Promise.all(names.map((name) => client.put(name, name)));
    return [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  };

  it('merges all peers in order of UTF-8 bytes', async () => {
    const sorted = await fill([
      'b',
      'a',
      'ä',
      'z',
      '\u{ffff}',
      '\u{1f600}',
      '\u{e000}',
      'a/b',
      'a/',
      'A',
      'a b',
      'aa',
      '\n',
    ]);
    expect(await namesOf()).toEqual(sorted);
  });

  it('goes on page by page', async () => {
    const sorted = await fill(Array.from({ length: 300 }, (_, at) => `name-${at}`));
    for (const peer of cluster.peers) {
      peer.script = (request) =>
        request.name === 'list' && request.header.limit > 7
          ? cluster.answer(peer, { ...request, header: { ...request.header, limit: 7 } })
          : undefined;
    }
    expect(await namesOf()).toEqual(sorted);
    expect(await namesOf({ limit: 20 })).toEqual(sorted.slice(0, 20));
    expect(await namesOf({ after: 'name-150', limit: 3 })).toEqual(
      sorted.slice(sorted.indexOf('name-150') + 1, sorted.indexOf('name-150') + 4),
    );
    expect(await namesOf({ prefix: 'name-29' })).toEqual(sorted.filter((name) => name.startsWith('name-29')));
  });

  const inPagesOf = (limit: number): void => {
    for (const peer of cluster.peers) {
      peer.script = (request) =>
        request.name === 'list'
          ? cluster.answer(peer, { ...request, header: { ...request.header, limit } })
          : undefined;
    }
  };
  const pagesAsked = (): number => cluster.peers.reduce((sum, peer) => sum + peer.named('list').length, 0);

  it('asks for the next page of each peer while the first is taken, and for no more', async () => {
    await fill(Array.from({ length: 300 }, (_, at) => `name-${at}`));
    inPagesOf(20);
    const listing = client.list();
    await listing.next();
    await vi.waitFor(() => expect(pagesAsked()).toBe(6));
    await listing.return(undefined);
    expect(pagesAsked()).toBe(6);
  });

  it('asks for nothing beyond its limit', async () => {
    const sorted = await fill(Array.from({ length: 30 }, (_, at) => `name-${at}`));
    expect(await namesOf({ limit: 5 })).toEqual(sorted.slice(0, 5));
    expect(pagesAsked()).toBe(3);
  });

  it('asks again for a page that failed on its way', async () => {
    const sorted = await fill(Array.from({ length: 200 }, (_, at) => `name-${at}`));
    let count = 0;
    for (const peer of cluster.peers) {
      peer.script = (request) => {
        if (request.name !== 'list') return undefined;
        if (++count % 3 === 0) throw new DfsError('busy', 'Too much to do');
        return cluster.answer(peer, { ...request, header: { ...request.header, limit: 10 } });
      };
    }
    expect(await namesOf()).toEqual(sorted);
  });

  it('leaves nothing out and doubles nothing when a peer dies in its middle', async () => {
    const sorted = await fill(Array.from({ length: 200 }, (_, at) => `name-${at}`));
    const dead = cluster.peer('p1');
    inPagesOf(5);
    const names: string[] = [];
    for await (const { name } of client.list()) {
      names.push(name);
      if (names.length !== 50) continue;
      await cluster.kill(dead);
      cluster.failOver(dead);
    }
    expect(names).toEqual(sorted);
  });

  it('asks again for slots that have moved', async () => {
    const sorted = await fill(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']);
    const slots = cluster.map.slots.map((_, slot) => slot);
    cluster.change(slots, (record, epoch) => ({
      ...record,
      primary: record.inSync[1],
      slotEpoch: epoch,
      term: epoch,
    }));
    expect(await namesOf()).toEqual(sorted);
  });

  it('of another bucket is another listing', async () => {
    await client.put('a', 'x');
    await client.bucket('photos').put('b', 'x', { contentType: 'image/png' });
    expect(await namesOf()).toEqual(['a']);
    const entries = [];
    for await (const entry of client.bucket('photos').list()) entries.push(entry);
    expect(entries).toEqual([
      {
        bucket: 'photos',
        name: 'b',
        size: 1,
        version: expect.stringMatching(/^5\.\d+$/),
        checksum: expect.stringMatching(/^xxh64:[0-9a-f]{16}$/),
        contentType: 'image/png',
        modifiedAt: '2027-01-15T08:00:00.000Z',
        segments: 1,
      },
    ]);
  });

  it('of a slot without a primary waits for one', async () => {
    await fill(['a', 'b', 'c', 'd']);
    const { map } = cluster;
    cluster.change([0, 1], (record, epoch) => ({ ...record, primary: undefined, slotEpoch: epoch, term: epoch }));
    const fresh = await cluster.client();
    const names: string[] = [];
    const listed = (async () => {
      for await (const { name } of fresh.list()) names.push(name);
    })();
    setTimeout(() => cluster.publish({ ...map, epoch: cluster.map.epoch + 1 }), 50);
    await listed;
    expect(names).toEqual(['a', 'b', 'c', 'd']);
  });
});

describe('locating a file', () => {
  let cluster: FakeCluster;
  let client: FileClient;

  beforeEach(async () => {
    cluster = await FakeCluster.start({ peers: 3 });
    client = await cluster.client();
  });

  afterEach(() => cluster.stop());

  it('tells the state of each copy of each segment', async () => {
    const receipt = await client.put('big', noise(9 * 1024 * 1024));
    const dead = cluster.peers.find((peer) => peer.id !== cluster.primaryOf('big').id);
    const odd = cluster.primaryOf('big');
    odd.script = (request) =>
      request.name === 'copy-state' && request.header.index === 0
        ? Promise.resolve({ header: { state: 'damaged', size: 1 } })
        : undefined;
    if (dead) await cluster.kill(dead);
    const location = await client.locate('big');
    expect(location).toMatchObject({ exists: true, version: receipt.version, slot: receipt.slot });
    expect(location.primary).toEqual(receipt.primary);
    expect(location.hash).toMatch(/^[0-9a-f]{16}$/);
    expect(location.segments.map(({ size }) => size)).toEqual([4194304, 4194304, 1048576]);
    expect(location.segments[0]?.copies[0]).toEqual({
      id: odd.id,
      address: odd.address,
      role: 'primary',
      state: 'damaged',
    });
    for (const copy of location.segments.flatMap(({ copies }) => copies)) {
      expect(copy.state === 'unreachable').toBe(copy.id === dead?.id);
    }
  });

  it('of an absent name tells where it would go', async () => {
    const location = await client.locate('absent');
    expect(location).toMatchObject({ exists: false, segments: [], primary: { id: cluster.primaryOf('absent').id } });
    expect(location).not.toHaveProperty('version');
  });
});

describe('names, buckets and options', () => {
  let cluster: FakeCluster;
  let client: FileClient;

  beforeEach(async () => {
    cluster = await FakeCluster.start();
    client = await cluster.client();
  });

  afterEach(() => cluster.stop());

  it.each(['', 'a'.repeat(1025), 'ä'.repeat(513), 'a\0b', '\ud800', 'a\udc00b'])('name %j is refused', async (name) => {
    for (const call of [client.put(name, 'x'), client.get(name), client.delete(name), client.locate(name)]) {
      await expect(call).rejects.toMatchObject({ code: 'invalid' });
    }
    expect(cluster.files.size).toBe(0);
  });

  it.each([
    'a'.repeat(1024),
    'ä'.repeat(512),
    '.',
    '..',
    'a/../../etc/passwd',
    '/a',
    'a//b',
    'a\nb',
    '\u202eb',
    '\x1b[31m',
  ])('name %j is kept as it is', async (name) => {
    await client.put(name, 'x');
    expect((await client.stat(name)).name).toBe(name);
  });

  it.each(['', 'ab', 'a'.repeat(64), 'Files', 'a_b', 'ä-b'])('bucket %j is refused', (bucket) => {
    expect(() => client.bucket(bucket)).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  it.each([
    { metadata: { a: 'x'.repeat(20_000) } },
    { metadata: { a: '\ud800' } },
    { contentType: 'x'.repeat(256) },
    { ifVersion: 'seven' },
    { size: -1 },
    { size: 1.5 },
    { segmentBytes: 1000 },
    { segmentBytes: 32 * 1024 * 1024 },
  ])('options %j are refused', async (options) => {
    await expect(client.put('x', 'y', options)).rejects.toMatchObject({ code: 'invalid' });
  });

  it('a change carries its conditions', async () => {
    const { version } = await client.put('x', 'y', { metadata: { a: 'b' }, ifAbsent: true });
    await client.delete('x', { ifVersion: version });
    const [epoch, counter] = version.split('.').map(Number);
    const [put] = cluster.primaryOf('x').named('put');
    const [deletion] = cluster.primaryOf('x').named('delete');
    expect(put?.header).toMatchObject({ ifAbsent: true, metadata: { a: 'b' } });
    expect(deletion?.header.ifVersion).toEqual({ epoch, counter });
    await expect(client.delete('x')).rejects.toMatchObject({ code: 'not-found', requestId: expect.any(String) });
  });
});
