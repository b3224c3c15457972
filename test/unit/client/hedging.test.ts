import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import type { FileClient } from '../../../src/client/file-client.js';
import { Hedging } from '../../../src/client/hedging.js';
import { blockSums } from '../../../src/core/checksum.js';
import { refuse } from '../../../src/core/errors.js';
import { limits } from '../../../src/core/limits.js';
import { timing } from '../../../src/core/timing.js';
import type { AnyIncoming, Outgoing } from '../../../src/protocol/session.js';
import { FakeCluster, type FakePeer, nameServedBy, never, noise } from './fake-cluster.js';

const mebibyte = 1024 * 1024;

describe('the share of second requests', () => {
  test('is earned by reads, and never above what they earned', () => {
    const hedging = new Hedging();
    let taken = 0;
    for (let read = 1; read <= 1000; read++) {
      hedging.onRead();
      while (hedging.take()) taken++;
      expect(taken).toBeLessThanOrEqual(read * limits.hedgedShare + 1e-9);
    }
    expect(taken).toBeGreaterThanOrEqual(1000 * limits.hedgedShare - 1);
  });

  test('is saved up only so far', () => {
    const hedging = new Hedging();
    for (let read = 0; read < 100_000; read++) hedging.onRead();
    let taken = 0;
    while (hedging.take()) taken++;
    expect(taken).toBe(limits.hedgeBurst);
  });
});

test('late is what takes longer than nearly all recent reads, but never less than a moment', () => {
  const hedging = new Hedging();
  expect(hedging.lateAfterMs(0)).toBe(timing.clientHedgeMs);
  for (let read = 0; read < 95; read++) hedging.onEnded(40, 0);
  for (let read = 0; read < 5; read++) hedging.onEnded(900, 0);
  expect(hedging.lateAfterMs(0)).toBeGreaterThanOrEqual(40);
  expect(hedging.lateAfterMs(0)).toBeLessThan(50);
  const quick = new Hedging();
  for (let read = 0; read < 100; read++) quick.onEnded(0.2, 0);
  expect(quick.lateAfterMs(0)).toBe(timing.hedgeLateMinMs);
});

test('holders that are slow, or were silent a while ago, come last', () => {
  const hedging = new Hedging();
  const holders = [{ id: 'p1' }, { id: 'p2' }, { id: 'p3' }];
  const order = (nowMs: number): string =>
    hedging
      .inOrder(holders, nowMs)
      .map(({ id }) => id)
      .join(' ');
  expect(order(0)).toBe('p1 p2 p3');
  hedging.onTold(['p2']);
  expect(order(0)).toBe('p1 p3 p2');
  hedging.onSilent('p1', 0);
  expect(order(timing.silentHolderLastMs - 1)).toBe('p3 p1 p2');
  hedging.onTold([]);
  expect(order(timing.silentHolderLastMs)).toBe('p1 p2 p3');
});

describe('a client', () => {
  let cluster: FakeCluster;
  let client: FileClient;
  const bytes = noise(9 * mebibyte);

  beforeEach(async () => {
    cluster = await FakeCluster.start({ peers: 2 });
    client = await cluster.client();
  });

  afterEach(() => cluster.stop());

  const readAll = async (name: string) => {
    const file = await client.get(name);
    expect(Buffer.compare(await file.bytes(), bytes)).toBe(0);
    return file.tally;
  };

  /** Enough reads that a second request is earned and the usual time is known. */
  const warmUp = async (name: string): Promise<void> => {
    for (let round = 0; round < 6; round++) await readAll(name);
  };

  it('asks a second holder when one is late, takes the first good answer, and calls the other off', async () => {
    await client.put('a', bytes, { segmentBytes: mebibyte });
    await warmUp('a');
    const [late, other] = [cluster.peer('p1'), cluster.peer('p2')];
    let held: AnyIncoming | undefined;
    late.script = (request) => {
      if (request.name !== 'get-segment' || held !== undefined) return undefined;
      held = request;
      return never;
    };
    const before = other.named('get-segment').length;
    const tally = await readAll('a');
    expect(tally.hedges).toBeGreaterThanOrEqual(1);
    expect(tally.requests).toBe(9 + tally.hedges);
    expect(other.named('get-segment').length).toBeGreaterThan(before);
    await expect.poll(() => held?.signal.aborted).toBe(true);
    // Not by silence: then it would be asked last now.
    const asked = late.named('get-segment').length;
    await readAll('a');
    expect(late.named('get-segment').length).toBeGreaterThan(asked);
  });

  it('takes no bad bytes from the second holder either', async () => {
    await client.put('a', bytes, { segmentBytes: mebibyte });
    await warmUp('a');
    const [late, other] = [cluster.peer('p1'), cluster.peer('p2')];
    let isHeld = false;
    let release = (): void => undefined;
    late.script = (request) => {
      if (request.name !== 'get-segment' || isHeld) return undefined;
      isHeld = true;
      return new Promise((resolve) => {
        release = () => void cluster.answer(late, request).then(resolve);
      });
    };
    other.script = (request) => {
      if (request.name !== 'get-segment') return undefined;
      return cluster.answer(other, request).then((outgoing): Outgoing => {
        const payload = Uint8Array.from(outgoing.payload ?? []);
        payload[0] = (payload[0] ?? 0) ^ 1;
        if (isHeld) release();
        return { ...outgoing, payload, sums: blockSums(outgoing.payload ?? new Uint8Array(0)) };
      });
    };
    await readAll('a');
  });

  it('does not ask twice for a record, or for a change', async () => {
    await client.put('a', bytes, { segmentBytes: mebibyte });
    await warmUp('a');
    const primary = cluster.primaryOf('a');
    const backup = cluster.backupOf('a');
    primary.script = (request) => {
      if (request.name !== 'get' && request.name !== 'put-segment') return undefined;
      return new Promise((resolve) => setTimeout(() => resolve(cluster.answer(primary, request)), 100));
    };
    await client.stat('a');
    await client.put('a', bytes, { segmentBytes: mebibyte });
    const counts = (peer: FakePeer): number[] => [peer.named('get').length, peer.named('put').length];
    expect(counts(backup)).toEqual([0, 0]);
    const segments = cluster.peers.flatMap((peer) => peer.named('put-segment'));
    expect(segments).toHaveLength(2 * 8);
  });
});

describe('slow peers', () => {
  let cluster: FakeCluster;
  let client: FileClient;
  let primary: FakePeer;
  let name: string;
  const bytes = noise(2 * mebibyte);

  /** The primary is slow, and all say so as the real ones would. */
  beforeEach(async () => {
    cluster = await FakeCluster.start({ peers: 2 });
    client = await cluster.client();
    primary = cluster.peer('p1');
    name = nameServedBy(cluster, primary);
    await client.put(name, bytes, { segmentBytes: mebibyte });
    for (const peer of cluster.peers) {
      peer.script = (request) => {
        if (request.name !== 'get') return undefined;
        return cluster.answer(peer, request).then(({ header, payload, sums }): Outgoing => {
          const slow = ['p1'];
          if (request.header.elsewhere !== true) return { header: { ...header, slow }, payload, sums };
          return { header: { ...header, slow, leftOut: true, offset: 0, sums: new Uint8Array(0) } };
        });
      };
    }
  });

  afterEach(() => cluster.stop());

  const read = async (): Promise<void> => {
    expect(Buffer.compare(await (await client.get(name)).bytes(), bytes)).toBe(0);
  };

  it('are not asked for bytes that others have', async () => {
    await read();
    expect(primary.named('get')).toHaveLength(1);
    expect(primary.named('get-segment')).toHaveLength(0);
    expect(cluster.peer('p2').named('get')[0]?.header).toMatchObject({
      consistency: 'any',
      ifVersion: cluster.files.get(`files/${name}`)?.record.version,
    });
  });

  it('give them all the same when nobody else does', async () => {
    const backup = cluster.peer('p2');
    backup.script = ({ name: asked }) => (asked === 'get' ? refuse('gone', 'It has another version') : undefined);
    await read();
    expect(primary.named('get').map(({ header }) => header.elsewhere)).toEqual([true, undefined]);
  });
});
