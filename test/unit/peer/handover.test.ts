import { expect, it } from 'vitest';
import { openSession } from '../../../src/protocol/session.js';
import { Scenario } from '../../simulator/scenario.js';

it('S7: a replica that is named as joining while the slot is sealed is copied once the slot goes on', async () => {
  const scenario = await Scenario.start({ peers: 2, replicas: 2 });
  const { cluster, world } = scenario;
  const { master, network } = cluster;
  await scenario.put('a', 'kept');
  const primary = scenario.primaryOf('a');
  const [backup] = scenario.backupsOf('a');
  const { map } = cluster;
  const { environment } = scenario.clientHost;
  if (backup === undefined || map === undefined || environment === undefined) throw new Error('The cluster is whole');
  const { slotEpoch, inSync, primary: from } = scenario.recordOf('a');
  const to = inSync.find((peer) => peer !== from) ?? '';

  // A wish, as the master makes it; what the primary then asks of the master is not answered for a while.
  const asMaster = { role: 'master', generation: 1, clusterId: map.clusterId, incarnation: 1 } as const;
  const session = await world.until(
    openSession(environment, `${primary.name}:7421`, { hello: asMaster, timeoutMs: 1000 }),
  );
  network.cut(primary.name, master.name);
  network.cut(master.name, primary.name);
  const wished = session.request('wish-handover', { wishes: [{ slot: 0, slotEpoch, to }] });
  await world.runFor(20);

  // Meanwhile the backup leaves and comes back: it joins anew, so the handover is refused as too late.
  await world.until(backup.stop());
  backup.start();
  expect(await world.runUntil(() => scenario.recordOf('a').joining.includes(to), 600)).toBe(true);
  network.healAll();
  await cluster.untilWhole(5000);
  await world.until(wished);
  expect(scenario.primaryOf('a')).toBe(primary);
});
