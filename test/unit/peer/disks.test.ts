import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/core/limits.js';
import { timing } from '../../../src/core/timing.js';
import { deepComplaints } from '../../simulator/checks/deep-check.js';
import { bucket, Scenario } from '../../simulator/scenario.js';
import { type SimHost, usualSyncMs } from '../../simulator/world/sim-host.js';

const mebibyte = 2 ** 20;

async function peerOn(scenario: Scenario, host: SimHost) {
  const { peers } = await scenario.world.until(scenario.client.status());
  const found = peers.find(({ address }) => address.startsWith(`${host.name}:`));
  if (found === undefined) throw new Error('Every host has a peer');
  return found;
}

async function kindsTold({ world, client }: Scenario, kind: string): Promise<string[]> {
  await world.runFor(500); // an event is shown once it is durable
  const events = await world.until(client.events());
  return events.filter((event) => event.kind === kind).map(({ text }) => text);
}

describe('the room on a disk', () => {
  it('is counted off by what is let in, before anybody measures again', async () => {
    const scenario = await Scenario.start({ reserveBytes: 10 * mebibyte });
    for (const { disk } of scenario.cluster.peers) disk.freeBytes = 12 * mebibyte;
    await scenario.world.runFor(1100);
    const puts = Array.from({ length: 8 }, (_, at) =>
      scenario.client.put(`a-${at}`, new Uint8Array(mebibyte), { timeoutMs: 5000 }),
    );
    const outcomes = await scenario.world.until(Promise.allSettled(puts));
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => reason.code);
    expect(new Set(refused)).toEqual(new Set(['no-space']));
    for (const { disk } of scenario.cluster.peers) expect(disk.freeBytes).toBeGreaterThan(8 * mebibyte);
    expect(deepComplaints(scenario.cluster)).toEqual([]);
  });

  it('S7: nothing moves to a peer whose disk is nearly full, until it has room again', async () => {
    const scenario = await Scenario.start({ peers: 2, spares: 1, slots: 8 });
    const { cluster, world } = scenario;
    const [spare] = cluster.spares;
    if (spare === undefined) throw new Error('There is a spare');
    spare.disk.freeBytes = 0.1 * spare.disk.totalBytes;
    spare.start();
    const holds = (): boolean =>
      cluster.map?.slots.some(({ inSync, joining }) => inSync.includes('p3') || joining.includes('p3')) === true;
    expect(await world.runUntil(holds, 15_000)).toBe(false);
    expect(await peerOn(scenario, spare)).toMatchObject({ fullness: 'soft-full', state: 'up' });
    expect((await world.until(scenario.client.status())).reasons.join()).toContain('p3');
    expect(await kindsTold(scenario, 'peer-full')).toHaveLength(1);
    spare.disk.freeBytes = (1 - limits.softFullEndsFraction + 0.01) * spare.disk.totalBytes;
    expect(await world.runUntil(holds, 5000)).toBe(true);
    expect(await kindsTold(scenario, 'peer-full')).toHaveLength(2);
  });

  it('S7: missing copies are made on a nearly full peer all the same', async () => {
    const scenario = await Scenario.start({ peers: 3, slots: 8, repairGraceMs: 1000 });
    const { cluster, world } = scenario;
    await scenario.put('a', 'kept');
    const [gone, left] = cluster.peers;
    if (left !== undefined) left.disk.freeBytes = 0.1 * left.disk.totalBytes;
    await world.runFor(2000);
    gone?.crash();
    const isRepaired = (): boolean =>
      cluster.map?.slots.every(({ inSync }) => inSync.filter((id) => id !== 'p1').length === 2) === true;
    expect(await world.runUntil(isRepaired, 15_000)).toBe(true);
  });
});

describe('a slow disk', () => {
  it('is told, and its primary leaves out bytes that a backup has, for who can read them there', async () => {
    const scenario = await Scenario.start({ peers: 3 });
    const { cluster, world, client } = scenario;
    const bytes = new Uint8Array(200_000).fill(7);
    await scenario.put('a', bytes);
    const slow = scenario.primaryOf('a');
    /** Every peer is read from, so that there is something to compare with. */
    const readEverywhere = async (): Promise<void> => {
      for (const host of cluster.peers) {
        const session = await scenario.sessionTo(host);
        const header = { slot: scenario.slotOf('a'), term: 0, bucket, name: 'a', consistency: 'any' as const };
        const reads = Array.from({ length: limits.latencySamplesMin }, () =>
          session.request('get', { ...header, start: 0, end: bytes.length }).catch(() => undefined),
        );
        await world.until(Promise.all(reads), 60_000);
      }
    };
    await world.until(client.operations.changeCluster({ replicas: 3 }));
    await cluster.untilWhole();
    slow.syncMs = { leastMs: 100, mostMs: 400 };
    await readEverywhere();
    await world.runFor(1000);
    expect(await peerOn(scenario, slow)).toMatchObject({ isSlow: true });
    expect(await kindsTold(scenario, 'peer-slow')).toHaveLength(1);
    for (const host of cluster.peers)
      if (host !== slow) expect(await peerOn(scenario, host)).toMatchObject({ isSlow: false });

    const session = await scenario.sessionTo(scenario.primaryOf('a'));
    const { term } = scenario.recordOf('a');
    const header = {
      slot: scenario.slotOf('a'),
      term,
      bucket,
      name: 'a',
      consistency: 'linearizable' as const,
      start: 0,
    };
    const asked = { ...header, end: bytes.length };
    const spared = await world.until(session.request('get', { ...asked, elsewhere: true }));
    expect(spared.header).toMatchObject({ leftOut: true, slow: [(await peerOn(scenario, slow)).id] });
    expect(spared.payload).toBeUndefined();
    const whole = await world.until(session.request('get', asked));
    expect(whole.header.leftOut).toBeUndefined();
    expect(whole.payload?.length).toBeGreaterThanOrEqual(bytes.length);
    expect(
      (await world.until(session.request('get', { ...header, end: 0, elsewhere: true }))).header.leftOut,
    ).toBeUndefined();

    const file = await world.until(client.get('a'));
    expect(Buffer.compare(await world.until(file.bytes()), bytes)).toBe(0);
    expect(file.tally).toEqual({ requests: 2, hedges: 0 });

    slow.syncMs = usualSyncMs;
    await world.runFor(timing.latencyWindowMs);
    for (let round = 0; round < 2; round++) await readEverywhere();
    await world.runFor(1000);
    expect(await peerOn(scenario, slow)).toMatchObject({ isSlow: false });
  });
});
