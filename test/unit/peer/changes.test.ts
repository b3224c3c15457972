import { expect, it } from 'vitest';
import type { DfsError } from '../../../src/core/errors.js';
import { toTimedId } from '../../../src/core/ids.js';
import { keyOfName } from '../../../src/peer/entry.js';
import { idKey } from '../../../src/peer/index-layout.js';
import { deepComplaints, orphanComplaints } from '../../simulator/checks/deep-check.js';
import { Scenario } from '../../simulator/scenario.js';
import { watchRejections } from '../../simulator/world/rejections.js';

it('F5, S6: a retried request is answered from the table and applied once', async () => {
  const scenario = await Scenario.start();
  const session = await scenario.sessionTo(scenario.primaryOf('a'));
  const { header, payload, sums } = scenario.putRequest('a', 'one');
  const put = () => scenario.world.until(session.request('put', header, { payload, sums }));
  const first = await put();
  const other = await scenario.put('a', 'two');
  const again = await put();
  expect(again.header.version).toEqual(first.header.version);
  expect(other.version).not.toBe(`${first.header.version.epoch}.${first.header.version.counter}`);
  expect(await scenario.get('a')).toBe('two');
});

it('F1, S6: a retry is answered from the table by the next primary too', async () => {
  const scenario = await Scenario.start();
  const { header, payload, sums } = scenario.putRequest('a', 'one');
  const old = scenario.primaryOf('a');
  const session = await scenario.sessionTo(old);
  const first = await scenario.world.until(session.request('put', header, { payload, sums }));
  await scenario.put('a', 'two');
  old.crash();
  await scenario.get('a');
  const next = await scenario.sessionTo(scenario.primaryOf('a'));
  const routed = { ...header, term: scenario.recordOf('a').term };
  const again = await scenario.world.until(next.request('put', routed, { payload, sums }));
  expect(again.header.version).toEqual(first.header.version);
  expect(await scenario.get('a')).toBe('two');
});

it('S6: a request whose id cannot be read is not run again', async () => {
  const scenario = await Scenario.start();
  const primary = scenario.primaryOf('a');
  const session = await scenario.sessionTo(primary);
  const { header, payload, sums } = scenario.putRequest('a', 'one');
  const put = () => scenario.codeOf(session.request('put', header, { payload, sums }));
  expect(await put()).toBe('done');
  await scenario.put('a', 'two');
  primary.disk.index.rot('ids', idKey(keyOfName(header), header.requestId));
  expect(await put()).toBe('unknown-outcome');
  expect(await scenario.get('a')).toBe('two');
});

it('F5: a request id seen with other content is refused', async () => {
  const scenario = await Scenario.start();
  const session = await scenario.sessionTo(scenario.primaryOf('a'));
  const requestId = scenario.newId();
  const one = scenario.putRequest('a', 'one', { requestId });
  const two = scenario.putRequest('a', 'two', { requestId });
  expect(await scenario.codeOf(session.request('put', one.header, one))).toBe('done');
  expect(await scenario.codeOf(session.request('put', two.header, two))).toBe('invalid');
  expect(await scenario.get('a')).toBe('one');
});

it('F5: of two that must find no file only one succeeds', async () => {
  const scenario = await Scenario.start();
  const put = (content: string) =>
    scenario.codeOf(scenario.client.put('a', Buffer.from(content), { ifAbsent: true, timeoutMs: 5000 }));
  expect((await Promise.all([put('one'), put('two')])).sort()).toEqual(['conflict', 'done']);
});

it('F7: a request routed by another term is refused', async () => {
  const scenario = await Scenario.start();
  const session = await scenario.sessionTo(scenario.primaryOf('a'));
  const { header, payload, sums } = scenario.putRequest('a', 'one');
  const old = { ...header, term: header.term - 1 };
  expect(await scenario.codeOf(session.request('put', old, { payload, sums }))).toBe('stale-term');
});

it('F7: a newer connection of a client closes the older, whatever is still unread on it', async () => {
  const scenario = await Scenario.start();
  const primary = scenario.primaryOf('a');
  const older = await scenario.sessionTo(primary);
  await scenario.sessionTo(primary);
  await scenario.world.runFor(50);
  expect(older.closed).toBe(true);
});

it('S6: a request id older than ids are kept is refused', async () => {
  const scenario = await Scenario.start();
  const session = await scenario.sessionTo(scenario.primaryOf('a'));
  const atMs = (scenario.cluster.master.environment?.clock.wallMs() ?? 0) - 11 * 60_000;
  const requestId = toTimedId({ atMs, random: new Uint8Array(10) });
  const { header, payload, sums } = scenario.putRequest('a', 'one', { requestId });
  expect(await scenario.codeOf(session.request('put', header, { payload, sums }))).toBe('expired-id');
});

it('S6: a request that waits for so long that its id is dropped meanwhile is refused', async () => {
  const scenario = await Scenario.start();
  const { cluster, world } = scenario;
  const [backup] = scenario.backupsOf('a');
  if (backup === undefined) throw new Error('There is a backup');
  const session = await scenario.sessionTo(scenario.primaryOf('a'));
  const one = scenario.putRequest('a', 'one');
  backup.syncMs = { leastMs: 2000, mostMs: 2000 };
  const put = () =>
    session.request('put', one.header, one).then(
      () => 'done',
      (error: unknown) => (error as DfsError).code,
    );
  const first = put();
  const again = put();
  await world.runFor(50);
  // As if they had waited for longer than ids are kept.
  cluster.master.wallAheadMs += 20 * 60_000;
  expect(await world.until(Promise.all([first, again]))).toEqual(['done', 'expired-id']);
  expect(await scenario.get('a')).toBe('one');
});

it('F8: a full backup refuses the write after a confirmed roll-back, and reads and deletes go on', async () => {
  const scenario = await Scenario.start();
  const { cluster, world } = scenario;
  await scenario.put('a', 'old');
  const [backup] = scenario.backupsOf('a');
  if (backup === undefined) throw new Error('There is a backup');
  backup.disk.fileFault = 'no-space';
  const large = new Uint8Array(200_000);
  expect(await scenario.codeOf(scenario.client.put('a', large, { timeoutMs: 5000 }))).toBe('no-space');
  expect(await scenario.get('a')).toBe('old');
  expect(scenario.recordOf('a').inSync).toHaveLength(2);
  expect(deepComplaints(cluster)).toEqual([]);
  backup.disk.freeBytes = -1;
  await world.runFor(2500);
  expect(await scenario.codeOf(scenario.client.put('a', Buffer.from('new'), { timeoutMs: 5000 }))).toBe('no-space');
  expect(await scenario.get('a')).toBe('old');
  expect(await scenario.codeOf(scenario.client.delete('a', { timeoutMs: 5000 }))).toBe('done');
  expect(deepComplaints(cluster)).toEqual([]);
});

it.each(['no-space', 'failure'] as const)(
  'F8: a primary whose own commit fails (%s) ends, and the next one settles the write',
  async (fault) => {
    const scenario = await Scenario.start();
    const { cluster } = scenario;
    await scenario.put('a', 'old');
    const primary = scenario.primaryOf('a');
    primary.disk.commitFault = fault;
    const stopWatching = watchRejections(scenario.world);
    await scenario.put('a', 'new');
    stopWatching();
    expect(primary.endedByItself).toBe(true);
    expect(scenario.primaryOf('a')).not.toBe(primary);
    primary.start();
    await cluster.untilWhole();
    expect(await scenario.get('a')).toBe('new');
    expect(deepComplaints(cluster)).toEqual([]);
    expect(cluster.world.complaints).toEqual([]);
  },
);

it('F5, F8: a primary whose own commit failed decides nothing on what it holds any more', async () => {
  // Of what the process sends with its last breath something arrives.
  const scenario = await Scenario.start({ seed: 2 });
  await scenario.put('a', 'old');
  const stopWatching = watchRejections(scenario.world);
  scenario.primaryOf('a').disk.commitFault = 'failure';
  // The second waits in the queue of the key; the replica holds the first, this peer does not.
  const deletes = [1, 2].map(() => scenario.client.delete('a', { timeoutMs: 20_000 }));
  const codes = await Promise.all(deletes.map((each) => scenario.codeOf(each)));
  stopWatching();
  expect(codes.sort()).toEqual(['done', 'not-found']);
  expect(scenario.world.complaints).toEqual([]);
});

it('F16: a retry is not answered from the table while fewer copies than min-in-sync are in sync', async () => {
  const scenario = await Scenario.start({ peers: 2, minInSync: 2 });
  const primary = scenario.primaryOf('a');
  const session = await scenario.sessionTo(primary);
  const { header, payload, sums } = scenario.putRequest('a', 'one');
  const put = () => scenario.codeOf(session.request('put', header, { payload, sums }));
  expect(await put()).toBe('done');
  scenario.backupsOf('a')[0]?.crash();
  await scenario.world.runUntil(() => scenario.recordOf('a').inSync.length === 1, 3000);
  await scenario.world.runFor(50);
  expect(await put()).toBe('too-few-copies');
});

it('F25: below min-in-sync writes are refused and reads go on', async () => {
  const scenario = await Scenario.start({ peers: 2, minInSync: 2 });
  await scenario.put('a', 'one');
  scenario.backupsOf('a')[0]?.crash();
  await scenario.world.runUntil(() => scenario.recordOf('a').inSync.length === 1, 3000);
  const put = scenario.client.put('a', Buffer.from('two'), { timeoutMs: 1000 });
  expect(await scenario.codeOf(put)).toBe('too-few-copies');
  expect(await scenario.get('a')).toBe('one');
});

it('F23: a receipt counts the copies there are at the acknowledgement', async () => {
  const scenario = await Scenario.start({ peers: 3, replicas: 3 });
  expect((await scenario.put('a', 'one')).copies).toEqual({ durable: 3, wanted: 3 });
  scenario.backupsOf('a')[0]?.crash();
  const receipt = await scenario.put('a', 'two');
  expect(receipt.copies).toEqual({ durable: 2, wanted: 3 });
  expect(receipt.degraded).toBe(true);
  // Acknowledged without the silent one only after the map no longer names it.
  expect(scenario.recordOf('a').inSync).toHaveLength(2);
  expect(receipt.slotEpoch).toBe(scenario.recordOf('a').slotEpoch);
});

it('S4: a file deleted while a replica is away does not come back with it', async () => {
  const scenario = await Scenario.start();
  const { cluster, world } = scenario;
  await scenario.put('a', 'one');
  const [backup] = scenario.backupsOf('a');
  backup?.crash();
  await world.runUntil(() => scenario.recordOf('a').inSync.length === 1, 3000);
  await world.until(scenario.client.delete('a'));
  backup?.start();
  await cluster.untilWhole();
  scenario.primaryOf('a').crash();
  expect(await scenario.get('a')).toBeUndefined();
});

it('F19: a tombstone is swept everywhere, not before its request ids are', { timeout: 120_000 }, async () => {
  const scenario = await Scenario.start();
  const { cluster, world } = scenario;
  await scenario.put('a', 'one');
  await world.until(scenario.client.delete('a'));
  await world.runFor(14 * 60_000);
  for (const host of cluster.peers) expect(scenario.entryOn(host, 'a')).toMatchObject({ kind: 'tombstone' });
  const isSwept = (): boolean => cluster.peers.every((host) => scenario.entryOn(host, 'a') === undefined);
  expect(await world.runUntil(isSwept, 20 * 60_000)).toBe(true);
  expect(deepComplaints(cluster)).toEqual([]);
});

it('F19: what the primary has no room to remove stays at its replicas too', async () => {
  const scenario = await Scenario.start({ replacedGraceMs: 1000 });
  const { cluster, world } = scenario;
  await scenario.put('a', new Uint8Array(1_200_000), { segmentBytes: 1024 * 1024 });
  await world.until(scenario.client.delete('a'));
  let isRefused = false;
  cluster.points.arm({
    point: 'sweeping',
    skip: 0,
    act: (host) => {
      host.disk.commitFault = 'no-space';
      isRefused = true;
    },
  });
  expect(await world.runUntil(() => isRefused, 10_000)).toBe(true);
  await world.runFor(100);
  expect(deepComplaints(cluster)).toEqual([]);
  await world.runFor(20_000);
  expect(orphanComplaints(cluster)).toEqual([]);
});
