import { expect, it } from 'vitest';
import { lossComplaints, reportComplaints } from '../../simulator/checks/invariants-loss.js';
import { Scenario } from '../../simulator/scenario.js';

it('a disk that held the last copy is reported as that loss, exactly', async () => {
  const scenario = await Scenario.start({ peers: 2, replicas: 1, slots: 4 });
  const { cluster, world } = scenario;
  expect([...lossComplaints(cluster), ...reportComplaints(cluster)]).toEqual([]);
  const lost = scenario.primaryOf('a');
  const slotsOf = (): number[] =>
    (cluster.map?.slots ?? []).flatMap(({ primary }, slot) => (cluster.hostOf(primary) === lost ? [slot] : []));
  const slots = slotsOf();
  lost.crash({ isHost: true });
  lost.wipe();
  lost.start();
  await world.runFor(5000);
  await cluster.untilWhole();
  expect([...cluster.monitor.lostSlots()]).toEqual(slots);
  expect(reportComplaints(cluster)).toEqual([]);
  expect(lossComplaints(cluster).join()).toContain('though no disk was lost that held the last one');
  expect(world.complaints).toEqual([]);
});

it('a slot that nobody serves although its copy exists is no loss, and its report is complained of', async () => {
  const scenario = await Scenario.start({ peers: 2, replicas: 1, slots: 4 });
  const { cluster, world } = scenario;
  scenario.primaryOf('a').crash();
  await world.runFor(3000);
  expect(cluster.monitor.lostSlots().size).toBe(0);
  expect(reportComplaints(cluster).join()).toContain('slots that nobody serves');
});
