import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileClient } from '../../../src/client/file-client.js';
import { refuse } from '../../../src/core/errors.js';
import { toHex } from '../../../src/core/ids.js';
import { timing } from '../../../src/core/timing.js';
import { FakeCluster, type FakePeer, nameServedBy, never, noise, slotOf } from './fake-cluster.js';

describe('when peers fail', () => {
  let cluster: FakeCluster;
  let client: FileClient;
  let primary: FakePeer;
  let backup: FakePeer;
  let name: string;

  beforeEach(async () => {
    cluster = await FakeCluster.start({ peers: 3 });
    client = await cluster.client();
    primary = cluster.peer('p1');
    name = nameServedBy(cluster, primary);
    backup = cluster.backupOf(name);
  });

  afterEach(() => cluster.stop());

  const idsOf = (peer: FakePeer): string[] => peer.named('put').map(({ header }) => toHex(header.requestId));

  it('a change whose primary dies is repeated at the next with the same id', async () => {
    await client.put(name, 'before');
    primary.requests.length = 0;
    primary.script = ({ name: message }) => {
      if (message !== 'put') return undefined;
      void cluster.kill(primary).then(() => cluster.failOver(primary));
      return never;
    };
    const receipt = await client.put(name, 'after');
    expect(receipt.attempts).toBeGreaterThan(1);
    expect(receipt.primary).toEqual({ id: backup.id, address: backup.address });
    expect(idsOf(primary)).toHaveLength(1);
    expect(idsOf(backup)).toEqual(idsOf(primary));
    expect(backup.named('put')[0]?.header.term).toBe(cluster.map.slots[slotOf(name)]?.term);
  });

  it('the master is told at once about a broken connection', async () => {
    await client.stat(name).catch(() => undefined);
    await cluster.kill(primary);
    const put = client.put(name, 'x');
    while (cluster.master.named('suspect').length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(cluster.master.named('suspect')[0]?.header.peer).toBe(primary.id);
    cluster.failOver(primary);
    await put;
  });

  it('a newer map is found at a backup while no master answers', async () => {
    await client.put(name, 'before');
    await cluster.kill(cluster.master);
    await cluster.kill(primary);
    const put = client.put(name, 'after');
    cluster.failOver(primary);
    expect((await put).primary.id).toBe(backup.id);
  });

  it('a frozen primary is left as soon as the term changes, found out while still waiting', async () => {
    await client.put(name, 'before');
    primary.script = () => never;
    cluster.master.requests.length = 0;
    const startedMs = cluster.environment.clock.monotonicMs();
    const put = client.put(name, 'after');
    while (cluster.master.named('map').length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const watchedMs = cluster.environment.clock.monotonicMs() - startedMs;
    expect(watchedMs).toBeGreaterThanOrEqual(timing.clientHedgeMs);
    expect(watchedMs).toBeLessThan(timing.clientHedgeMs + 500);
    cluster.failOver(primary);
    const receipt = await put;
    expect(receipt.primary.id).toBe(backup.id);
    expect(idsOf(backup)).toEqual([idsOf(primary).at(-1)]);
  });

  it('an attempt that stays in its term goes on while the map changes elsewhere', async () => {
    await client.put(name, 'w');
    let answer = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    primary.script = (request) =>
      request.name === 'put' ? held.then(() => cluster.answer(primary, request)) : undefined;
    cluster.master.requests.length = 0;
    const put = client.put(name, 'x');
    while (cluster.master.named('map').length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const other = (slotOf(name) + 1) % cluster.map.slots.length;
    cluster.change([other], (record, epoch) => ({ ...record, slotEpoch: epoch, term: epoch }));
    answer();
    expect((await put).attempts).toBe(1);
  });

  it('a change that may have been sent and is never answered has an unknown outcome', async () => {
    primary.script = ({ name: message }) => (message === 'put' ? never : undefined);
    const put = client.put(name, 'x', { timeoutMs: 400 });
    await expect(put).rejects.toMatchObject({
      code: 'unknown-outcome',
      requestId: expect.stringMatching(/^[0-9a-f]{32}$/),
    });
  });

  it('a read that is never answered times out, with a known outcome', async () => {
    primary.script = ({ name: message }) => (message === 'get' ? never : undefined);
    await expect(client.stat(name, { timeoutMs: 300 })).rejects.toMatchObject({ code: 'timed-out' });
  });

  it('a change that could not be sent at all is unavailable, not unknown', async () => {
    await cluster.kill(primary);
    await expect(client.put(name, 'x', { timeoutMs: 300 })).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('a refusal after an unanswered attempt is final, for it answers the latest attempt', async () => {
    primary.script = ({ name: message }) => {
      if (message !== 'put') return undefined;
      primary.script = () => undefined;
      cluster.network.cut(primary.address);
      return never;
    };
    cluster.files.set(`files/${name}`, { record: {} as never, first: new Uint8Array(0) });
    await expect(client.put(name, 'x', { ifAbsent: true })).rejects.toMatchObject({ code: 'conflict' });
    expect(new Set(idsOf(primary)).size).toBe(1);
    expect(idsOf(primary)).toHaveLength(2);
  });

  it.each(['busy', 'no-space', 'not-ready', 'too-few-copies'] as const)(
    '%s after an unanswered attempt says nothing about it',
    async (code) => {
      let puts = 0;
      primary.script = ({ name: message }) => {
        if (message !== 'put') return undefined;
        if (++puts > 1) return refuse(code, 'Said before the queue');
        cluster.network.cut(primary.address);
        return never;
      };
      await expect(client.put(name, 'x', { timeoutMs: 500 })).rejects.toMatchObject({ code: 'unknown-outcome' });
    },
  );

  it('a full disk is told at once when nothing is open', async () => {
    primary.script = ({ name: message }) => (message === 'put' ? refuse('no-space', 'The disk is full') : undefined);
    await expect(client.put(name, 'x')).rejects.toMatchObject({ code: 'no-space' });
    expect(idsOf(primary)).toHaveLength(1);
  });

  it('an unknown outcome told by a peer is cleared up by asking again with the same id', async () => {
    let puts = 0;
    primary.script = (request) => {
      if (request.name !== 'put' || ++puts > 1) return undefined;
      return cluster.answer(primary, request).then(() => refuse('unknown-outcome', 'Stepped down'));
    };
    const receipt = await client.put(name, 'x');
    expect(receipt.attempts).toBe(2);
    expect(new Set(idsOf(primary)).size).toBe(1);
  });

  it('an id called too old is replaced while nothing is open, else the outcome is unknown', async () => {
    let puts = 0;
    primary.script = ({ name: message }) =>
      message === 'put' && ++puts === 1 ? refuse('expired-id', 'Too old') : undefined;
    await client.put(name, 'x');
    expect(new Set(idsOf(primary)).size).toBe(2);
    puts = 0;
    primary.script = ({ name: message }) => {
      if (message !== 'put') return undefined;
      if (++puts > 1) return refuse('expired-id', 'Too old');
      cluster.network.cut(primary.address);
      return never;
    };
    await expect(client.put(name, 'y')).rejects.toMatchObject({ code: 'unknown-outcome' });
  });

  it('a stale route is replaced by the map the master has', async () => {
    await client.stat(name).catch(() => undefined);
    const slot = slotOf(name);
    cluster.change([slot], (record, epoch) => ({ ...record, primary: backup.id, slotEpoch: epoch, term: epoch }));
    expect((await client.put(name, 'x')).primary.id).toBe(backup.id);
  });

  it('a connection that is opened again has a higher generation on the same lane', async () => {
    await client.put(name, 'x');
    cluster.network.cut(primary.address);
    await client.put(name, 'y');
    const [first, second] = primary.hellos;
    expect(second?.generation).toBeGreaterThan(first?.generation ?? 0);
    expect(second?.lane).toBe(first?.lane);
    expect(second?.clientId).toEqual(first?.clientId);
  });

  it('a deadline ends a call that still makes progress', async () => {
    primary.script = ({ name: message }) => (message === 'get' ? refuse('busy', 'Not now') : undefined);
    await expect(client.stat(name, { deadlineMs: 200 })).rejects.toMatchObject({ code: 'busy' });
  });

  it('segments survive the death of their primary in the middle of a large file', async () => {
    const bytes = noise(40 * 1024 * 1024);
    let segments = 0;
    for (const peer of cluster.peers) {
      peer.script = ({ name: message }) => {
        if (message !== 'put-segment' || ++segments !== 4) return undefined;
        void cluster.kill(primary).then(() => cluster.failOver(primary));
        return undefined;
      };
    }
    const receipt = await client.put(name, bytes);
    expect(receipt).toMatchObject({ degraded: true, segments: 10 });
    expect(Buffer.compare(await (await client.get(name)).bytes(), bytes)).toBe(0);
  });

  it('stored segments are read from a backup without waiting for a new primary', async () => {
    const bytes = noise(20 * 1024 * 1024);
    await client.put(name, bytes);
    const file = await client.get(name);
    await cluster.kill(primary);
    expect(Buffer.compare(await file.bytes(), bytes)).toBe(0);
  });

  it('stored segments of a frozen peer are read from another after a short silence', async () => {
    const bytes = noise(20 * 1024 * 1024);
    await client.put(name, bytes);
    const file = await client.get(name);
    primary.script = () => never;
    const startedMs = cluster.environment.clock.monotonicMs();
    expect(Buffer.compare(await file.bytes(), bytes)).toBe(0);
    expect(cluster.environment.clock.monotonicMs() - startedMs).toBeLessThan(2500);
  });

  it('a read that accepts any replica needs no primary', async () => {
    await client.put(name, 'content');
    await cluster.kill(primary);
    const file = await client.get(name, { consistency: 'any' });
    expect(Buffer.from(await file.bytes()).toString()).toBe('content');
    await expect(client.get('absent', { consistency: 'any' })).rejects.toMatchObject({ code: 'not-found' });
  });
});
