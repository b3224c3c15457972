import { expect, it } from 'vitest';
import { ClusterClock } from '../../../src/peer/cluster-clock.js';
import { Scenario } from '../../simulator/scenario.js';
import { ManualClock } from '../manual-clock.js';

const hourMs = 3_600_000;

it('what the master says first replaces the guess of a wall clock that is ahead', () => {
  const steady = new ManualClock();
  const clock = new ClusterClock(steady);
  const guessMs = clock.nowMs();
  expect(clock.isTold).toBe(false);
  clock.onTold(guessMs - hourMs);
  expect(clock.isTold).toBe(true);
  expect(clock.nowMs()).toBe(guessMs - hourMs);
});

it('it never goes back once told, and a fast host does not run ahead for ever', async () => {
  const steady = new ManualClock();
  const clock = new ClusterClock(steady);
  clock.onTold(hourMs);
  await steady.advance(1000);
  const latestMs = clock.nowMs();
  clock.onTold(hourMs + 900);
  expect(clock.nowMs()).toBe(latestMs);
  await steady.advance(100);
  expect(clock.nowMs()).toBe(hourMs + 1000);
  await steady.advance(50);
  expect(clock.nowMs()).toBe(hourMs + 1050);
});

it('S6: a host whose wall clock is hours ahead or behind takes writes like any other', async () => {
  for (const wallAheadMs of [5 * hourMs, -5 * hourMs]) {
    const scenario = await Scenario.start({ peers: 2, slots: 8, wallAheadMs });
    for (const name of ['a', 'b', 'c', 'd']) {
      expect(await scenario.codeOf(scenario.client.put(name, Buffer.from(name), { timeoutMs: 3000 }))).toBe('done');
    }
  }
});

it('F15: nothing is removed by a guess of the time, however late this host believes it is', async () => {
  const scenario = await Scenario.start({ peers: 2, wallAheadMs: 48 * hourMs, replacedGraceMs: hourMs });
  const { cluster, world } = scenario;
  await scenario.put('a', new Uint8Array(100_000));
  await scenario.put('a', 'small');
  const host = cluster.peers[0];
  const files = host?.disk.files.size;
  expect(files).toBe(1);
  cluster.master.crash();
  host?.crash();
  host?.start();
  await world.runFor(5000);
  expect(host?.disk.files.size).toBe(files);
});
