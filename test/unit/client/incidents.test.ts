import { expect, it } from 'vitest';
import { incidentsOf } from '../../../src/client/incidents.js';
import type { ClusterEvent } from '../../../src/client/results.js';
import { Scenario } from '../../simulator/scenario.js';

let seq = 0;
function event(atMs: number, kind: string, more: Partial<ClusterEvent> = {}): ClusterEvent {
  const at = new Date(1_700_000_000_000 + atMs).toISOString();
  return { seq: ++seq, at, epoch: 1, kind, text: `${kind} ${more.peer ?? ''}`.trim(), data: {}, ...more };
}
const health = (atMs: number, state: string) => event(atMs, 'health', { data: { health: state } });

it('an incident lasts from the first sign of a death until all is well', () => {
  const events = [
    event(0, 'peer-joined', { peer: 'p1' }),
    event(1000, 'peer-suspect', { peer: 'p2' }),
    event(1400, 'peer-down', { peer: 'p2' }),
    event(1410, 'promoted', { peer: 'p1' }),
    health(1420, 'degraded'),
    event(9000, 'copies-made', { peer: 'p1', data: { copiedBytes: 5000 } }),
    health(9100, 'healthy'),
    event(20_000, 'peer-up', { peer: 'p2' }),
  ];
  const [found, ...others] = incidentsOf(events);
  expect(others).toEqual([]);
  expect(found).toMatchObject({ peers: ['p2'], health: 'degraded', lastedSeconds: 8.1, copiedBytes: 5000 });
  expect(found?.steps.map(({ afterSeconds }) => afterSeconds)).toEqual([0, 0.4, 0.41, 0.42, 8, 8.1]);
});

it('a silence counts from when it began, not from when it was noticed', () => {
  const [found] = incidentsOf([
    event(0, 'copy-removed', { peer: 'p2' }),
    health(10, 'degraded'),
    event(700, 'peer-down', { peer: 'p2', data: { reason: 'silent', silentMs: 1050 } }),
    event(760, 'promoted', { peer: 'p1', data: { from: 'p2' } }),
    event(800, 'promoted', { peer: 'p1', data: { from: 'p3' } }),
    health(5000, 'healthy'),
  ]);
  // It answered the last ping 350 ms before, and not the one 200 ms later.
  const startedMs = -250;
  expect(found).toMatchObject({
    startedAt: new Date(1_700_000_000_000 + startedMs).toISOString(),
    ...{ noticedAfterSeconds: 0.95, promotedAfterSeconds: 1.01, lastedSeconds: 5.25 },
  });
});

it('a stop that cost no copy is over with the return, and what lasts has no end', () => {
  const events = [
    event(0, 'peer-stopped', { peer: 'p3' }),
    event(2000, 'peer-started', { peer: 'p3' }),
    event(60_000, 'peer-suspect', { peer: 'p1' }),
    event(70_000, 'peer-down', { peer: 'p3' }),
    health(70_100, 'unavailable'),
    health(70_200, 'degraded'),
  ];
  const [first, second] = incidentsOf(events);
  expect(first).toMatchObject({ peers: ['p3'], health: 'healthy', lastedSeconds: 2 });
  expect(second).toMatchObject({ peers: ['p3'], health: 'unavailable', endedAt: null, lastedSeconds: 0.2 });
  expect(incidentsOf([])).toEqual([]);
});

it('of a real death it tells when it was noticed and repaired, within 100 ms', async () => {
  const scenario = await Scenario.start({ peers: 3, slots: 8, repairGraceMs: 2000 });
  const { cluster, world, client } = scenario;
  for (let at = 0; at < 10; at++) await scenario.put(`name-${at}`, new Uint8Array(50_000));
  const isWell = (): boolean => cluster.map?.slots.every(({ inSync }) => inSync.length === 2) === true;
  cluster.peers[0]?.crash({ isHost: true });
  const diedMs = world.nowMs;
  await world.runUntil(() => cluster.map?.peers[0]?.state === 'down', 5000);
  const noticedMs = world.nowMs;
  await world.runUntil(() => cluster.map?.slots.every(({ primary }) => primary !== 'p1') === true, 5000);
  const promotedMs = world.nowMs;
  await world.runUntil(() => cluster.map?.peers[0]?.isOut === true, 5000);
  await world.runUntil(isWell, 10_000);
  const wellMs = world.nowMs;
  await world.runFor(2000);
  const found = incidentsOf(await world.until(client.events())).at(-1);
  expect(found?.peers).toHaveLength(1);
  expect(found?.copiedBytes).toBeGreaterThan(0);
  const isNear = (seconds: number | null | undefined, truthMs: number): void =>
    expect(Math.abs((seconds ?? 0) * 1000 - truthMs)).toBeLessThan(110); // a look at every 10 ms
  isNear(found?.noticedAfterSeconds, noticedMs - diedMs);
  const noticed = found?.noticedAfterSeconds ?? 0;
  isNear((found?.promotedAfterSeconds ?? 0) - noticed, promotedMs - noticedMs);
  isNear((found?.lastedSeconds ?? 0) - noticed, wellMs - noticedMs);
});
