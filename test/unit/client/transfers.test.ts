import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileClient } from '../../../src/client/file-client.js';
import { formatChecksum, xxh64 } from '../../../src/core/checksum.js';
import { limits } from '../../../src/core/limits.js';
import { FakeCluster, noise } from './fake-cluster.js';

const mebibyte = 1024 * 1024;

describe('a transfer', () => {
  let cluster: FakeCluster;
  let client: FileClient;

  beforeEach(async () => {
    cluster = await FakeCluster.start({ peers: 3 });
    client = await cluster.client();
  });

  afterEach(() => cluster.stop());

  it.each([0, 1, 65_536, 65_537, 4 * mebibyte, 4 * mebibyte + 1, 23 * mebibyte + 17])(
    'of %i bytes gives back the same bytes',
    async (sizeBytes) => {
      const bytes = noise(sizeBytes);
      const receipt = await client.put('a/b', bytes);
      expect(receipt).toMatchObject({ size: sizeBytes, checksum: formatChecksum(xxh64(bytes)), attempts: 1 });
      expect(receipt.segments).toBe(Math.max(1, Math.ceil(sizeBytes / (4 * mebibyte))));
      const file = await client.get('a/b');
      expect(file.stat.checksum).toBe(receipt.checksum);
      expect(Buffer.compare(await file.bytes(), bytes)).toBe(0);
    },
  );

  it('of one segment is one request', async () => {
    await client.put('one', noise(4 * mebibyte));
    expect(cluster.peers.flatMap((peer) => [...peer.named('put'), ...peer.named('put-segment')])).toHaveLength(1);
  });

  it.each([undefined, 9 * mebibyte + 5])('of a stream of size %s in odd pieces is cut into segments', async (size) => {
    const bytes = noise(9 * mebibyte + 5);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 70_001) }, (_, at) =>
      bytes.subarray(at * 70_001, (at + 1) * 70_001),
    );
    const receipt = await client.put('stream', Readable.from(pieces), size === undefined ? {} : { size });
    expect(receipt.segments).toBe(3);
    expect(Buffer.compare(await (await client.get('stream')).bytes(), bytes)).toBe(0);
  });

  it.each([
    ['shorter', 100],
    ['longer', 5],
  ])('whose source is %s than its size fails and leaves the old version', async (_, pieces) => {
    const receipt = await client.put('kept', 'old');
    const chunks = Array.from({ length: pieces }, () => noise(100_000));
    const size = pieces === 100 ? 100 * 100_000 + 1 : 5 * 100_000 - 1;
    await expect(client.put('kept', Readable.from(chunks), { size })).rejects.toMatchObject({ code: 'failed' });
    expect((await client.stat('kept')).version).toBe(receipt.version);
  });

  it.each([
    ['ifAbsent', { ifAbsent: true }],
    ['ifVersion', { ifVersion: '1.1' }],
  ])('of a large file that %s refuses is refused before its bytes are sent', async (_, condition) => {
    await client.put('there', 'old');
    await expect(client.put('there', noise(9 * mebibyte), condition)).rejects.toMatchObject({ code: 'conflict' });
    expect(cluster.peers.flatMap((peer) => peer.named('put-segment'))).toEqual([]);
    expect((await client.put('free', noise(9 * mebibyte), { ifAbsent: true })).segments).toBe(3);
  });

  it('whose source fails half way fails and leaves the old version', async () => {
    const receipt = await client.put('kept', 'old');
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield noise(6 * mebibyte);
      throw new Error('The disk broke');
    }
    await expect(client.put('kept', broken())).rejects.toThrow('The disk broke');
    expect((await client.stat('kept')).version).toBe(receipt.version);
  });

  it('keeps no more than its window under way', async () => {
    let underWay = 0;
    let most = 0;
    for (const peer of cluster.peers) {
      peer.script = (request) => {
        if (request.name !== 'put-segment') return undefined;
        most = Math.max(most, ++underWay);
        return cluster.answer(peer, request).finally(() => underWay--);
      };
    }
    await client.put('wide', noise(60 * mebibyte), { segmentBytes: mebibyte });
    expect(most).toBeLessThanOrEqual(limits.clientWindowSegments);
    await client.put('wider', Readable.from([noise(20 * mebibyte), noise(30 * mebibyte)]), {
      segmentBytes: 16 * mebibyte,
    });
    expect((await client.stat('wider')).segments).toBe(4);
  });

  it('of a range moves only the blocks that hold it', async () => {
    const bytes = noise(20 * mebibyte);
    await client.put('big', bytes);
    for (const peer of cluster.peers) peer.sentBytes = 0;
    const range = { start: 3 * mebibyte + 7, end: 9 * mebibyte - 11 };
    const part = await (await client.get('big', { range })).bytes();
    expect(Buffer.compare(part, bytes.subarray(range.start, range.end))).toBe(0);
    const moved = cluster.peers.reduce((sum, peer) => sum + peer.sentBytes, 0);
    expect(moved).toBeLessThanOrEqual(range.end - range.start + 4 * limits.blockBytes);
  });

  it.each([
    [{ start: 0 }, 0, 9 * mebibyte],
    [{ start: 5 }, 5, 9 * mebibyte],
    [{ start: 9 * mebibyte }, 9 * mebibyte, 9 * mebibyte],
    [{ start: 1, end: 99 * mebibyte }, 1, 9 * mebibyte],
    [{ start: 7, end: 7 }, 7, 7],
    [{ start: 4 * mebibyte, end: 4 * mebibyte + 1 }, 4 * mebibyte, 4 * mebibyte + 1],
  ])('of the range %j gives exactly that', async (range, start, end) => {
    const bytes = noise(9 * mebibyte);
    await client.put('big', bytes);
    const file = await client.get('big', { range });
    expect(file.range).toEqual({ start, end });
    expect(Buffer.compare(await file.bytes(), bytes.subarray(start, end))).toBe(0);
  });

  it('of a range that starts behind the end is refused', async () => {
    await client.put('small', 'abc');
    await expect(client.get('small', { range: { start: 4 } })).rejects.toMatchObject({ code: 'invalid' });
  });

  it('reports the fewest copies of its parts', async () => {
    for (const peer of cluster.peers) {
      peer.script = (request) => {
        if (request.name !== 'put-segment' || request.header.index !== 2) return undefined;
        return cluster.answer(peer, request).then(({ header }) => ({
          header: { ...header, copies: { durable: 1, wanted: 2 } },
        }));
      };
    }
    const receipt = await client.put('thin', noise(9 * mebibyte));
    expect(receipt).toMatchObject({ copies: { durable: 1, wanted: 2 }, degraded: true });
  });

  it('stamps its ids with the clock of the cluster', async () => {
    await client.put('timed', noise(5 * mebibyte));
    const put = cluster.primaryOf('timed').named('put')[0];
    for (const id of [put?.header.requestId, put?.header.uploadId]) {
      const atMs = Number.parseInt(
        Buffer.from(id ?? [])
          .toString('hex')
          .slice(0, 12),
        16,
      );
      expect(Math.abs(atMs - cluster.clusterMs)).toBeLessThan(60_000);
    }
  });

  it.each(['put', 'get', 'list'] as const)('%s that was cancelled before it began sends nothing', async (call) => {
    const signal = AbortSignal.abort();
    const calls = {
      put: () => client.put('x', 'y', { signal }),
      get: () => client.get('x', { signal }),
      list: () => client.list({ signal }).next(),
    };
    await expect(calls[call]()).rejects.toMatchObject({ code: 'cancelled' });
    expect(cluster.peers.flatMap((peer) => peer.requests)).toEqual([]);
  });

  it('may use the memory of each piece again once the next one is asked for', async () => {
    const bytes = noise(40 * mebibyte);
    await client.put('big', Readable.from([bytes]));
    const copies: Buffer[] = [];
    for await (const piece of (await client.get('big', { reuseMemory: true })).body) {
      copies.push(Buffer.from(piece));
    }
    expect(Buffer.compare(Buffer.concat(copies), bytes)).toBe(0);
    const again = await (await client.get('big', { reuseMemory: true })).bytes();
    expect(Buffer.compare(again, bytes)).toBe(0);
  });

  it('whose reader stops early asks for no more', async () => {
    await client.put('big', noise(60 * mebibyte), { segmentBytes: mebibyte });
    for await (const piece of (await client.get('big')).body) if (piece.length > 0) break;
    const asked = cluster.peers.flatMap((peer) => peer.named('get-segment')).length;
    expect(asked).toBeLessThanOrEqual(limits.clientWindowSegments);
  });

  it('can be cancelled while its source is silent', async () => {
    const controller = new AbortController();
    const silent = new Readable({ read: () => undefined });
    const put = client.put('silent', silent, { signal: controller.signal });
    controller.abort();
    await expect(put).rejects.toMatchObject({ code: 'cancelled' });
    expect(silent.destroyed).toBe(true);
  });
});
