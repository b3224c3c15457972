import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileClient } from '../../../src/client/file-client.js';
import { blockSums } from '../../../src/core/checksum.js';
import { refuse } from '../../../src/core/errors.js';
import type { AnyIncoming, Outgoing } from '../../../src/protocol/session.js';
import { FakeCluster, type FakePeer, nameServedBy, noise } from './fake-cluster.js';

const mebibyte = 1024 * 1024;

/** The bytes changed on disk, their sums did not. */
function rotten(outgoing: Outgoing): Outgoing {
  const payload = Uint8Array.from(outgoing.payload ?? []);
  payload[0] = (payload[0] ?? 0) ^ 1;
  return { ...outgoing, payload, sums: blockSums(outgoing.payload ?? new Uint8Array(0)) };
}

describe('damaged bytes', () => {
  let cluster: FakeCluster;
  let client: FileClient;
  let primary: FakePeer;
  let name: string;

  beforeEach(async () => {
    cluster = await FakeCluster.start({ peers: 3 });
    client = await cluster.client();
    primary = cluster.peer('p1');
    name = nameServedBy(cluster, primary);
  });

  afterEach(() => cluster.stop());

  const rot = (peer: FakePeer, ...messages: string[]): void => {
    peer.script = (request: AnyIncoming) => {
      if (!messages.includes(request.name)) return undefined;
      return cluster.answer(peer, request).then((outgoing) => (outgoing.payload?.length ? rotten(outgoing) : outgoing));
    };
  };

  it('of the first segment come from another replica, and the bad copy is reported', async () => {
    const bytes = noise(100_000);
    await client.put(name, bytes);
    rot(primary, 'get');
    expect(Buffer.compare(await (await client.get(name)).bytes(), bytes)).toBe(0);
    const reports = primary.named('report-damage');
    expect(reports[0]?.header).toMatchObject({ name, index: 0 });
  });

  it('of a later segment come from another replica, and the bad copy is reported', async () => {
    const bytes = noise(40 * mebibyte);
    await client.put(name, bytes, { segmentBytes: mebibyte });
    rot(primary, 'get-segment');
    expect(Buffer.compare(await (await client.get(name)).bytes(), bytes)).toBe(0);
    const served = primary.named('get-segment');
    expect(served.length).toBeGreaterThan(0);
    expect(
      primary
        .named('report-damage')
        .map(({ header }) => header.index)
        .sort(),
    ).toEqual(served.map(({ header }) => header.index).sort());
  });

  it('on every replica are never returned', async () => {
    await client.put(name, noise(9 * mebibyte));
    for (const peer of cluster.peers) rot(peer, 'get-segment');
    await expect((await client.get(name)).bytes()).rejects.toMatchObject({ code: 'integrity' });
  });

  it('that match their sums but not the whole checksum are not returned to the end', async () => {
    await client.put(name, noise(9 * mebibyte));
    for (const [key, bytes] of cluster.segments) cluster.segments.set(key, noise(bytes.length));
    let seenBytes = 0;
    const read = async (): Promise<void> => {
      for await (const piece of (await client.get(name)).body) seenBytes += piece.length;
    };
    await expect(read()).rejects.toMatchObject({ code: 'integrity' });
    expect(seenBytes).toBeLessThan(9 * mebibyte);
  });

  it('of a small file that do not match its checksum are refused at once', async () => {
    await client.put(name, 'abc');
    const file = cluster.files.get(`files/${name}`);
    if (file) file.first = noise(3);
    await expect(client.get(name)).rejects.toMatchObject({ code: 'integrity' });
  });

  it('of a record are asked for again, while its primary takes it from another replica', async () => {
    await client.put(name, 'abc');
    let gets = 0;
    primary.script = (request) =>
      request.name === 'get' && ++gets <= 3 ? refuse('integrity', 'The record cannot be read') : undefined;
    expect(Buffer.from(await (await client.get(name)).bytes()).toString()).toBe('abc');
  });

  it('that are an answer to another range are refused', async () => {
    await client.put(name, noise(200_000));
    primary.script = (request) => {
      if (request.name !== 'get') return undefined;
      return cluster.answer(primary, request).then(({ header, payload }) => ({
        header: { ...header, sums: blockSums((payload ?? new Uint8Array(0)).subarray(0, 65_536)) },
        payload: payload?.subarray(0, 65_536),
      }));
    };
    const range = { start: 0, end: 150_000 };
    expect((await (await client.get(name, { range })).bytes()).length).toBe(150_000);
    expect(primary.named('report-damage')).toHaveLength(1);
  });
});

describe('a version replaced while it is read', () => {
  let cluster: FakeCluster;
  let client: FileClient;

  beforeEach(async () => {
    cluster = await FakeCluster.start({ peers: 3 });
    client = await cluster.client();
  });

  afterEach(() => cluster.stop());

  it('is read to its end while its segments are there', async () => {
    const bytes = noise(20 * mebibyte);
    await client.put('file', bytes);
    const file = await client.get('file');
    await client.put('file', 'new');
    expect(Buffer.compare(await file.bytes(), bytes)).toBe(0);
  });

  it.each(['replaced', 'deleted'])('ends with gone when it was %s and its segments are swept', async (how) => {
    await client.put('file', noise(20 * mebibyte));
    const file = await client.get('file');
    if (how === 'replaced') await client.put('file', 'new');
    else await client.delete('file');
    cluster.segments.clear();
    await expect(file.bytes()).rejects.toMatchObject({ code: 'gone' });
  });

  it('keeps its bytes over a change of metadata', async () => {
    await client.put('file', noise(9 * mebibyte));
    const file = await client.get('file');
    await client.setMetadata('file', { colour: 'red' });
    expect((await file.bytes()).length).toBe(9 * mebibyte);
    expect((await client.stat('file')).metadata).toEqual({ colour: 'red' });
  });
});
