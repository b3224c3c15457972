import { expect, it } from 'vitest';
import { keyOfName } from '../../../src/peer/entry.js';
import { judge } from '../../checker/verdict.js';
import { deepComplaints } from '../../simulator/checks/deep-check.js';
import { Clients } from '../../simulator/plan/clients.js';
import { steadyClients } from '../../simulator/plan/plan.js';
import { bucket, Scenario } from '../../simulator/scenario.js';
import type { SimHost } from '../../simulator/world/sim-host.js';

/** Reads a name from one peer every millisecond, by the term it has now; tells when the last answer came. */
async function readFrom(scenario: Scenario, host: SimHost): Promise<() => number> {
  const { world } = scenario;
  const session = await scenario.sessionTo(host);
  const { term } = scenario.recordOf('a');
  const ask = { slot: 0, term, bucket: 'files', name: 'a', start: 0, end: 9, consistency: 'linearizable' } as const;
  let lastAnswerMs = 0;
  const read = (): void => {
    session.request('get', ask, { timeoutMs: 5000 }).then(
      () => {
        lastAnswerMs = world.nowMs;
      },
      () => undefined,
    );
    world.schedule(1, read);
  };
  read();
  await world.runFor(20);
  return () => lastAnswerMs;
}

it('S1, S8: an acknowledged write survives the loss of its primary', async () => {
  const scenario = await Scenario.start();
  const receipt = await scenario.put('a', 'kept');
  expect(receipt.copies).toEqual({ durable: 2, wanted: 2 });
  const lost = scenario.primaryOf('a');
  lost.crash({ isHost: true });
  expect(await scenario.get('a')).toBe('kept');
  expect(scenario.primaryOf('a')).not.toBe(lost);
  expect((await scenario.put('a', 'more')).copies.durable).toBe(1);
});

it('S2, S3: a deposed primary stops answering before the new one starts', async () => {
  const scenario = await Scenario.start({ peers: 3, replicas: 2 });
  const { cluster, world } = scenario;
  await scenario.put('a', 'old');
  const old = scenario.primaryOf('a');
  const session = await scenario.sessionTo(old);
  const { term } = scenario.recordOf('a');
  const ask = { slot: 0, term, bucket: 'files', name: 'a', start: 0, end: 9, consistency: 'linearizable' } as const;
  let lastAnswerMs = 0;
  let newWriteMs = Number.POSITIVE_INFINITY;
  const read = (): void => {
    session.request('get', ask, { timeoutMs: 5000 }).then(
      () => {
        lastAnswerMs = world.nowMs;
        expect(newWriteMs).toBe(Number.POSITIVE_INFINITY);
        world.schedule(1, read);
      },
      () => world.schedule(5, read),
    );
  };
  read();
  await world.runFor(100);
  for (const host of [cluster.master, ...cluster.peers]) {
    cluster.network.cut(old.name, host.name);
    cluster.network.cut(host.name, old.name);
  }
  const { client } = await cluster.client();
  await world.until(client.put('a', Buffer.from('new')));
  newWriteMs = world.nowMs;
  expect(lastAnswerMs).toBeGreaterThan(0);
  await world.runFor(3000);
  cluster.healAll();
  await world.runFor(1000);
  expect(await scenario.get('a', client)).toBe('new');
});

it('F12, S3: a primary cut from the master alone answers nothing once the new one writes', async () => {
  const scenario = await Scenario.start({ peers: 3, replicas: 2 });
  const { cluster, world } = scenario;
  await scenario.put('a', 'old');
  const old = scenario.primaryOf('a');
  const { term } = scenario.recordOf('a');
  const [next] = scenario.backupsOf('a');
  if (next === undefined) throw new Error('There is a backup');
  const session = await scenario.sessionTo(next);
  const lastAnswerMs = await readFrom(scenario, old);
  cluster.network.cut(old.name, cluster.master.name);
  cluster.network.cut(cluster.master.name, old.name);
  await world.runUntil(() => scenario.recordOf('a').term !== term, 5000);
  const promotedMs = world.nowMs;
  const { header, payload, sums } = scenario.putRequest('a', 'new');
  await world.until(session.request('put', header, { payload, sums }));
  const writtenMs = world.nowMs;
  await world.runFor(1000);
  // It did answer, by its lease, when the other had been promoted already.
  expect(lastAnswerMs()).toBeGreaterThan(promotedMs);
  expect(lastAnswerMs()).toBeLessThan(writtenMs);
});

it('S3: a primary that was paused answers nothing stale when it goes on', async () => {
  const scenario = await Scenario.start({ peers: 3, replicas: 2 });
  const { world } = scenario;
  await scenario.put('a', 'old');
  const old = scenario.primaryOf('a');
  const session = await scenario.sessionTo(old);
  const { term } = scenario.recordOf('a');
  old.pause();
  await world.runFor(1500);
  await scenario.put('a', 'new');
  const ask = { slot: 0, term, bucket: 'files', name: 'a', start: 0, end: 9, consistency: 'linearizable' } as const;
  const answer = session.request('get', ask, { timeoutMs: 5000 });
  await world.runFor(500);
  old.resume();
  expect(await scenario.codeOf(answer)).not.toBe('done');
});

it('F2, S4: levelling drops what the new primary lacks', async () => {
  const scenario = await Scenario.start({ peers: 3, replicas: 3 });
  const { cluster, world } = scenario;
  await scenario.put('a', 'old');
  const primary = scenario.primaryOf('a');
  const [next, other] = scenario.backupsOf('a');
  if (next === undefined || other === undefined) throw new Error('A slot with three copies has two backups');
  cluster.network.cut(primary.name, next.name);
  scenario.client.put('a', Buffer.from('stray'), { timeoutMs: 100 }).catch(() => undefined);
  scenario.client.put('b', Buffer.from('stray'), { timeoutMs: 100 }).catch(() => undefined);
  await world.runFor(30);
  expect(scenario.entryOn(other, 'b')).toBeDefined();
  primary.crash({ isHost: true });
  scenario.clientHost.crash();
  cluster.network.heal(primary.name, next.name);
  const { client } = await cluster.client();
  expect(await scenario.get('a', client)).toBe('old');
  expect(scenario.primaryOf('a')).toBe(next);
  expect(scenario.entryOn(other, 'b')).toBeUndefined();
  expect(await scenario.get('b', client)).toBeUndefined();
  primary.start();
  await cluster.untilWhole();
  expect(deepComplaints(cluster)).toEqual([]);
});

it('F10, F28: a new primary that takes an unreadable entry from a member makes the others equal to that', async () => {
  const scenario = await Scenario.start({ peers: 3, replicas: 3 });
  const { cluster, world } = scenario;
  await scenario.put('a', 'old');
  const primary = scenario.primaryOf('a');
  const [lacking] = scenario.backupsOf('a');
  if (lacking === undefined) throw new Error('A slot with three copies has two backups');
  cluster.network.cut(primary.name, lacking.name);
  scenario.client.put('a', Buffer.from('stray'), { timeoutMs: 100 }).catch(() => undefined);
  await world.runFor(30);
  primary.crash();
  scenario.clientHost.crash();
  primary.disk.index.rot('entries', keyOfName({ bucket, name: 'a' }));
  cluster.network.heal(primary.name, lacking.name);
  primary.start();
  const { client } = await cluster.client();
  expect(await scenario.get('a', client)).toBe('stray');
  expect(scenario.primaryOf('a')).toBe(primary);
  expect(scenario.entryOn(lacking, 'a')).toMatchObject({ version: { counter: 2 } });
  expect(world.complaints).toEqual([]);
  await cluster.untilWhole();
  expect(deepComplaints(cluster)).toEqual([]);
});

it('F2, S4: what the old primary did not acknowledge and the new one holds is kept or replaced as one', async () => {
  const scenario = await Scenario.start({ peers: 3, replicas: 3, seed: 2 });
  const { cluster, world } = scenario;
  await scenario.put('a', 'old');
  const primary = scenario.primaryOf('a');
  const [next, other] = scenario.backupsOf('a');
  if (next === undefined || other === undefined) throw new Error('A slot with three copies has two backups');
  cluster.network.cut(primary.name, other.name);
  scenario.client.put('a', Buffer.from('held'), { timeoutMs: 100 }).catch(() => undefined);
  await world.runFor(30);
  primary.crash({ isHost: true });
  scenario.clientHost.crash();
  const { client } = await cluster.client();
  expect(await scenario.get('a', client)).toBe('held');
  primary.start();
  await cluster.untilWhole();
  expect(deepComplaints(cluster)).toEqual([]);
});

it('F28: a new primary serves only when all of its set are level', async () => {
  const scenario = await Scenario.start({ peers: 3, replicas: 3 });
  const { cluster, world } = scenario;
  await scenario.put('a', 'one');
  const primary = scenario.primaryOf('a');
  const [next, other] = scenario.backupsOf('a');
  if (next === undefined || other === undefined) throw new Error('A slot with three copies has two backups');
  primary.crash();
  other.pause();
  const { term } = scenario.recordOf('a');
  await world.runUntil(() => scenario.recordOf('a').term !== term, 3000);
  const promotedMs = world.nowMs;
  expect(scenario.recordOf('a').inSync).toHaveLength(2);
  expect(await scenario.get('a')).toBe('one');
  // It waited until the map no longer named the silent member.
  expect(world.nowMs - promotedMs).toBeGreaterThan(300);
  expect(scenario.recordOf('a').inSync).toHaveLength(1);
  other.resume();
  primary.start();
  await cluster.untilWhole();
});

it('F9: a restarted primary that is still primary begins a new term before it serves', async () => {
  const scenario = await Scenario.start({ peers: 2, replicas: 1 });
  const receipt = await scenario.put('a', 'one');
  const { term } = scenario.recordOf('a');
  const primary = scenario.primaryOf('a');
  primary.crash();
  await scenario.world.runFor(100);
  primary.start();
  const next = await scenario.put('a', 'two');
  expect(scenario.recordOf('a').primary).toBe(receipt.primary.id);
  expect(scenario.recordOf('a').term).toBeGreaterThan(term);
  expect(next.slotEpoch).toBe(scenario.recordOf('a').term);
});

it('F9: after its start a peer leads nothing until the master has answered', async () => {
  const scenario = await Scenario.start({ peers: 2, replicas: 1 });
  await scenario.put('a', 'one');
  const primary = scenario.primaryOf('a');
  scenario.cluster.master.crash();
  primary.crash();
  primary.start();
  await scenario.world.runFor(2000);
  expect(await scenario.codeOf(scenario.client.get('a', { timeoutMs: 2000 }))).not.toBe('done');
  scenario.cluster.master.start();
  expect(await scenario.get('a')).toBe('one');
});

it('S9: losing the master stops no reads or writes', async () => {
  const scenario = await Scenario.start({ peers: 3, slots: 4 });
  const { cluster, world } = scenario;
  const names = ['a', 'b', 'c', 'd'];
  const work = new Clients(cluster, steadyClients({ writers: 2, readers: 2, names, everyMs: 20, forMs: 6000 }));
  await work.start();
  await world.runFor(500);
  cluster.master.crash();
  await world.runFor(3000);
  cluster.master.start();
  await world.runFor(2000);
  await work.stop();
  const verdict = judge({ victimNames: [], operations: work.operations });
  expect(verdict.complaints).toEqual([]);
  expect(verdict.refused).toEqual({});
  expect(verdict.unknown).toBe(0);
  expect(Math.max(verdict.pauses.write.pauseMs, verdict.pauses.read.pauseMs)).toBeLessThan(100);
});

it('F20: a handover fails no request', async () => {
  const scenario = await Scenario.start({ peers: 3, slots: 4 });
  const { cluster, world } = scenario;
  const names = ['a', 'b', 'c', 'd'];
  const work = new Clients(cluster, steadyClients({ writers: 3, readers: 2, names, everyMs: 20, forMs: 60_000 }));
  await work.start();
  for (const host of cluster.peers) {
    await world.runFor(300);
    await world.until(host.stop());
    await world.runFor(300);
    host.start();
    await cluster.untilWhole();
  }
  await work.stop();
  const verdict = judge({ victimNames: [], operations: work.operations });
  expect(verdict.complaints).toEqual([]);
  expect(verdict.refused).toEqual({});
  expect(verdict.unknown).toBe(0);
  expect(Math.max(verdict.pauses.write.pauseMs, verdict.pauses.read.pauseMs)).toBeLessThan(300);
});

it('F20: a sealed primary answers nothing while the answer to its handover is on its way', async () => {
  const scenario = await Scenario.start({ peers: 2 });
  const { cluster, world } = scenario;
  await scenario.put('a', 'old');
  const old = scenario.primaryOf('a');
  const { term } = scenario.recordOf('a');
  const [next] = scenario.backupsOf('a');
  if (next === undefined) throw new Error('There is a backup');
  const session = await scenario.sessionTo(next);
  const lastAnswerMs = await readFrom(scenario, old);
  cluster.network.cut(cluster.master.name, old.name);
  old.stop().catch(() => undefined);
  await world.runUntil(() => scenario.recordOf('a').term !== term, 1000);
  const handedOverMs = world.nowMs;
  expect(scenario.recordOf('a').handoverOf).toBe(term);
  const { header, payload, sums } = scenario.putRequest('a', 'new');
  await world.until(session.request('put', header, { payload, sums }));
  const writtenMs = world.nowMs;
  await world.runFor(400);
  // The new primary waited for no lease, for the old one had given its leases up.
  expect(writtenMs - handedOverMs).toBeLessThan(150);
  expect(lastAnswerMs()).toBeGreaterThan(0);
  expect(lastAnswerMs()).toBeLessThan(handedOverMs);
});
