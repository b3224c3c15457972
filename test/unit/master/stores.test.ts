import { describe, expect, it } from 'vitest';
import type { ClusterMap } from '../../../src/cluster/map.js';
import { createCluster } from '../../../src/cluster/membership.js';
import { DfsError } from '../../../src/core/errors.js';
import { EventLog } from '../../../src/master/events.js';
import { embeddedMapStore, mapFile } from '../../../src/master/map-store.js';
import { ClusterClock, nextIncarnation } from '../../../src/master/master-files.js';
import { HandClock, MemoryFiles, silentLog } from './harness.js';

const map: ClusterMap = createCluster({
  ...{ clusterId: 'c1', lineage: 'l1', masterIncarnation: 1, replicas: 2, minInSync: 1, slotCount: 16 },
  ...{ repairGraceMs: 30_000, quarantineMs: 86_400_000 },
});

describe('the map store', () => {
  it('gives back what was stored, and nothing for an empty folder', async () => {
    const files = new MemoryFiles();
    const store = embeddedMapStore(files);
    expect(await store.load()).toBeUndefined();
    expect(await store.compareAndSet(undefined, map)).toBe(true);
    expect(await embeddedMapStore(files).load()).toEqual(map);
  });

  it('changes nothing when the newest map is another one', async () => {
    const store = embeddedMapStore(new MemoryFiles());
    await store.compareAndSet(undefined, map);
    expect(await store.compareAndSet(undefined, { ...map, epoch: 2 })).toBe(false);
    expect(await store.compareAndSet(7, { ...map, epoch: 8 })).toBe(false);
    expect(await store.load()).toEqual(map);
  });

  it('tells watchers what became durable', async () => {
    const store = embeddedMapStore(new MemoryFiles());
    const seen: number[] = [];
    const stop = store.watch((newest) => seen.push(newest.epoch));
    await store.compareAndSet(undefined, map);
    await store.compareAndSet(1, { ...map, epoch: 2 });
    stop();
    await store.compareAndSet(2, { ...map, epoch: 3 });
    expect(seen).toEqual([1, 2]);
  });

  async function damagedBy(change: (bytes: Buffer) => Uint8Array): Promise<Promise<unknown>> {
    const files = new MemoryFiles();
    await embeddedMapStore(files).compareAndSet(undefined, map);
    files.contents.set(mapFile, change(Buffer.from(files.contents.get(mapFile) ?? [])));
    return embeddedMapStore(files)
      .load()
      .then(
        () => 'loaded',
        (error) => error,
      );
  }

  it.each<[string, (bytes: Buffer) => Uint8Array, object]>([
    ['a flipped bit', (bytes) => bytes.fill((bytes[60] ?? 0) ^ 1, 60, 61), { exitCode: 70 }],
    ['a missing end', (bytes) => bytes.subarray(0, -1), { exitCode: 70 }],
    ['no content', () => new Uint8Array(), { exitCode: 70 }],
    ['something else', () => Buffer.from('a text that is no map, and long enough'), { exitCode: 70 }],
    ['a newer format', (bytes) => bytes.fill(2, 11, 12), { exitCode: 78 }],
  ])('refuses a file with %s, and never takes it for an empty one', async (_what, change, expected) => {
    expect(await damagedBy(change)).toMatchObject({ name: 'DaemonStop', ...expected });
  });
});

describe('the incarnation', () => {
  it('rises with every start, durably, and never falls behind the map', async () => {
    const files = new MemoryFiles();
    expect(await nextIncarnation(files, 0)).toBe(1);
    expect(await nextIncarnation(files, 0)).toBe(2);
    expect(await nextIncarnation(files, 7)).toBe(8);
    expect(await nextIncarnation(new MemoryFiles(), 8)).toBe(9);
  });
});

describe('the cluster clock', () => {
  it('follows the wall clock, and never goes back with it', async () => {
    const clock = new HandClock();
    const cluster = await ClusterClock.load(clock, new MemoryFiles());
    const first = cluster.nowMs();
    clock.shiftWall(-3_600_000);
    await clock.advance(50);
    expect(cluster.nowMs()).toBe(first + 50);
    clock.shiftWall(7_200_000);
    expect(cluster.nowMs()).toBe(clock.wallMs());
  });

  it('does not go back over a restart either', async () => {
    const clock = new HandClock();
    const files = new MemoryFiles();
    const before = await ClusterClock.load(clock, files);
    await before.mark();
    const marked = before.nowMs();
    clock.shiftWall(-3_600_000);
    expect((await ClusterClock.load(clock, files)).nowMs()).toBeGreaterThan(marked);
  });

  it('takes a wall clock that is ahead as it is', async () => {
    const clock = new HandClock();
    const files = new MemoryFiles();
    await (await ClusterClock.load(clock, files)).mark();
    await clock.advance(500);
    expect((await ClusterClock.load(clock, files)).nowMs()).toBe(clock.wallMs());
  });
});

describe('the event log', () => {
  const load = (files: MemoryFiles) => EventLog.load(files, silentLog, () => 1_700_000_000_000);
  const event = (text: string) => ({ kind: 'health' as const, epoch: 3, text });

  it('numbers events in order, shows them when they are durable and answers from any of them', async () => {
    const log = await load(new MemoryFiles());
    const shown: string[] = [];
    log.onKept = ({ text }) => shown.push(text);
    for (const text of ['a', 'b', 'c']) log.add(event(text));
    expect(log.after(0, 10)).toEqual([]);
    await log.save();
    expect(shown).toEqual(['a', 'b', 'c']);
    expect(log.after(1, 10)).toMatchObject([
      { seq: 2, at: '2023-11-14T22:13:20.000Z', epoch: 3, kind: 'health', text: 'b', data: {} },
      { seq: 3, text: 'c' },
    ]);
    expect(log.after(0, 1)).toMatchObject([{ text: 'a' }]);
    expect(log.after(3, 10)).toEqual([]);
  });

  it('keeps the newest thousand', async () => {
    const log = await load(new MemoryFiles());
    for (let count = 0; count < 1500; count++) log.add(event(String(count)));
    await log.save();
    expect(log.after(0, 2000)).toHaveLength(1000);
    expect(log.after(0, 1)).toMatchObject([{ text: '500' }]);
  });

  it('keeps fewer when they are large', async () => {
    const log = await load(new MemoryFiles());
    const slots = Array.from({ length: 1024 }, (_, slot) => slot);
    for (let count = 0; count < 200; count++) log.add({ ...event(String(count)), slots });
    await log.save();
    expect(log.after(0, 2000).length).toBeLessThan(100);
    expect(log.after(0, 2000).at(-1)?.text).toBe('199');
  });

  it('goes on without a gap, and what was not durable was shown to nobody', async () => {
    const files = new MemoryFiles();
    const log = await load(files);
    log.add(event('a'));
    await log.save();
    log.add(event('lost'));
    expect(log.after(1, 10)).toEqual([]);
    const again = await load(files);
    again.add(event('b'));
    await again.save();
    expect(again.after(0, 10)).toMatchObject([
      { seq: 1, text: 'a' },
      { seq: 2, text: 'b' },
    ]);
  });

  it('a disk that is full for a while costs no event', async () => {
    const files = new MemoryFiles();
    const log = await load(files);
    files.failure = new DfsError('no-space', 'full');
    log.add(event('a'));
    await expect(log.save()).rejects.toThrow('full');
    files.failure = undefined;
    log.add(event('b'));
    await log.save();
    expect(log.after(0, 10).map(({ text }) => text)).toEqual(['a', 'b']);
  });

  it('is begun anew over a damaged file, above any number shown', async () => {
    const files = new MemoryFiles();
    const log = await load(files);
    log.add(event('a'));
    await log.save();
    files.contents.set('events', Buffer.from('garbage'));
    const again = await load(files);
    again.add(event('b'));
    await again.save();
    expect(again.after(0, 10)[0]?.seq).toBeGreaterThan(1);
  });
});
