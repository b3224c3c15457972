import { expect, it } from 'vitest';
import type { ClusterEvent, ScrubState } from '../../../src/client/results.js';
import { keyOfName } from '../../../src/peer/entry.js';
import { deepComplaints } from '../../simulator/checks/deep-check.js';
import { bucket, Scenario } from '../../simulator/scenario.js';

const large = new Uint8Array(1_200_000).fill(65);

async function events({ world, client }: Scenario): Promise<readonly ClusterEvent[]> {
  return world.until(client.events({}));
}

it('S5, S7: a scrub finds bad copies that nobody reads, has them repaired, and the log names each', async () => {
  const scenario = await Scenario.start({ slots: 4 });
  const { cluster, world, client } = scenario;
  for (const name of ['a', 'b', 'c']) await scenario.put(name, large, { segmentBytes: 1024 * 1024 });
  await scenario.put('small', 'content');
  let flipped = 0;
  for (const { disk } of cluster.peers) {
    const [file] = [...disk.files.keys()].slice(flipped);
    if (file !== undefined) disk.rotFile(file, 5000);
    flipped++;
  }
  const backup = scenario.backupsOf('small')[0];
  backup?.disk.index.rot('entries', keyOfName({ bucket, name: 'small' }));
  for (const { id } of cluster.map?.peers ?? []) {
    expect(await world.until(client.operations.scrub(id, { start: true }))).toMatchObject({
      peer: id,
      isRunning: true,
    });
  }
  const isDone = async (): Promise<boolean> => {
    const states = (cluster.map?.peers ?? []).map(({ id }) => world.until(client.operations.scrub(id)));
    return (await Promise.all(states)).every(({ isRunning }) => !isRunning);
  };
  for (let second = 0; second < 20 && !(await isDone()); second++) await world.runFor(1000);
  expect(await isDone()).toBe(true);
  await world.runFor(3000);
  expect(deepComplaints(cluster)).toEqual([]);
  const told = await events(scenario);
  const named = (kind: string) => told.filter((event) => event.kind === kind).flatMap(({ data }) => data.copies);
  expect(named('copy-damaged')).toHaveLength(3);
  expect(named('copy-repaired')).toHaveLength(3);
  expect(told.some(({ text }) => text.includes('"small" in bucket files'))).toBe(true);
  const [peer] = (await world.until(client.status())).peers;
  expect(peer).toMatchObject({ damaged: 0, verifiedSince: expect.stringMatching(/^20/) });
});

it('the log also names a bad copy that was repaired because somebody read it', async () => {
  const scenario = await Scenario.start();
  await scenario.put('small', 'content');
  scenario.primaryOf('small').disk.index.rot('entries', keyOfName({ bucket, name: 'small' }));
  expect(await scenario.get('small')).toBe('content');
  await scenario.world.runFor(5000);
  const told = (await events(scenario)).filter(({ kind }) => kind === 'copy-damaged' || kind === 'copy-repaired');
  expect(told.map(({ kind }) => kind)).toEqual(['copy-damaged', 'copy-repaired']);
  for (const { text } of told) expect(text).toContain('"small" in bucket files');
});

it('a scrub goes on where it was after a restart', async () => {
  const scenario = await Scenario.start({ slots: 1 });
  const { cluster, world, client } = scenario;
  for (let at = 0; at < 600; at++) await scenario.put(`name-${at}`, new Uint8Array(60_000));
  const id = cluster.map?.peers[0]?.id ?? '';
  const before = await world.until(client.operations.scrub(id, { start: true }));
  const entries = async (): Promise<number> => (await world.until(client.operations.scrub(id))).entries;
  for (let look = 0; look < 50 && (await entries()) < 100; look++) await world.runFor(50);
  cluster.hostOf(id).crash();
  cluster.hostOf(id).start();
  await world.runFor(1500);
  const after = await world.until(client.operations.scrub(id));
  expect(after).toMatchObject({ startedMs: before.startedMs, isRunning: true });
  expect(after.entries).toBeGreaterThan(0);
});

it('S7: a peer that comes back reads what it had, unless it has done so within a day', async () => {
  const scenario = await Scenario.start({ slots: 1 });
  const { cluster, world, client } = scenario;
  await scenario.put('a', 'content');
  const id = cluster.map?.peers[0]?.id ?? '';
  const startedMs = async (): Promise<number> => (await world.until(client.operations.scrub(id))).startedMs;
  const restart = async (): Promise<number> => {
    cluster.hostOf(id).crash();
    cluster.hostOf(id).start();
    await cluster.untilWhole();
    await world.runFor(3000);
    return startedMs();
  };
  const first = await startedMs();
  expect(first).toBeGreaterThan(0);
  expect(await restart()).toBe(first);
  for (const host of [cluster.master, ...cluster.peers]) host.wallAheadMs += 25 * 3_600_000;
  await world.runFor(3000);
  expect(await startedMs()).toBe(first);
  expect(await restart()).toBeGreaterThan(first);
});

it('S5: whoever asks for a scrub gets a whole one, also while one runs that is past the bad copy', async () => {
  const scenario = await Scenario.start({ slots: 1, peers: 1, replicas: 1 });
  const { cluster, world, client } = scenario;
  for (let at = 0; at < 400; at++) await scenario.put(`name-${at}`, new Uint8Array(60_000));
  const [peer] = cluster.peers;
  const id = cluster.map?.peers[0]?.id ?? '';
  const state = () => world.until(client.operations.scrub(id));
  await world.until(client.operations.scrub(id, { start: true }));
  for (let look = 0; look < 200 && (await state()).entries < 120; look++) await world.runFor(10);
  // After its restart the peer goes on by itself, at the usual speed.
  peer?.crash();
  peer?.start();
  await world.runFor(500);
  for (let look = 0; look < 200 && !(await isBetween(state, 100, 350)); look++) await world.runFor(50);
  expect(await isBetween(state, 100, 350)).toBe(true);
  const [first] = peer?.disk.index.durable.keys('entries', { from: new Uint8Array(0), limit: 1 }) ?? [];
  if (first !== undefined) peer?.disk.index.rot('entries', first);
  await world.until(client.operations.scrub(id, { start: true }));
  for (let look = 0; look < 100 && (await state()).isRunning; look++) await world.runFor(100);
  expect(await state()).toMatchObject({ isRunning: false, entries: 400, bad: 1 });
});

async function isBetween(state: () => Promise<ScrubState>, from: number, to: number): Promise<boolean> {
  const { isRunning, entries } = await state();
  return isRunning && entries >= from && entries <= to;
}

it('verify reads every copy where it is and has bad ones repaired', async () => {
  const scenario = await Scenario.start({ slots: 4 });
  const { cluster, world, client } = scenario;
  await scenario.put('a', large, { segmentBytes: 1024 * 1024 });
  expect(await world.until(client.verify('a'))).toMatchObject({ name: 'a', copies: 4, bad: [], left: [] });
  const [peer] = cluster.peers;
  const [file] = [...(peer?.disk.files.keys() ?? [])];
  if (file !== undefined) peer?.disk.rotFile(file, 5000);
  const found = await world.until(client.verify('a'));
  expect(found.bad).toHaveLength(1);
  expect(found.left).toEqual([]);
  expect(await world.until(client.verify('a'))).toMatchObject({ bad: [] });
  await expect(world.until(client.verify('absent'))).rejects.toMatchObject({ code: 'not-found' });
});
