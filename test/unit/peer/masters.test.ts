import { describe, expect, it } from 'vitest';
import { type ClusterMap, peerOf } from '../../../src/cluster/map.js';
import { type Address, generationOf } from '../../../src/core/ids.js';
import { openSession } from '../../../src/protocol/session.js';
import { deepComplaints } from '../../simulator/checks/deep-check.js';
import { Scenario } from '../../simulator/scenario.js';

async function startMoved() {
  const scenario = await Scenario.start({ peers: 3, quarantineMs: 1000, slots: 4, repairGraceMs: 600_000 });
  const names = Array.from({ length: 8 }, (_, at) => `name-${at}`);
  for (const name of names) await scenario.put(name, name);
  const holders = (): number =>
    scenario.cluster.peers.reduce(
      (sum, host) => sum + names.filter((name) => scenario.entryOn(host, name) !== undefined).length,
      0,
    );
  return { scenario, names, holders };
}

it('S10: a master with an older map than its peers stops, and no peer deletes anything', async () => {
  const { scenario, names, holders } = await startMoved();
  const { cluster, world } = scenario;
  const restore = cluster.master.disk.backUpSmallFiles();
  cluster.peers[0]?.crash();
  await world.runFor(3000);
  cluster.peers[0]?.start();
  await cluster.untilWhole();
  for (const name of names) await scenario.put(name, 'newer');
  const before = holders();
  cluster.master.crash();
  restore();
  cluster.master.start();
  await world.runFor(10_000);
  expect(cluster.master.endedByItself).toBe(true);
  expect(world.complaints.join()).toContain('this store is not the newest');
  expect(holders()).toBe(before);
  for (const name of names) expect(await scenario.get(name)).toBe('newer');
});

it('S9, S10: a master whose disk was lost makes no new cluster over the old one, and files stay', async () => {
  const { scenario, names, holders } = await startMoved();
  const { cluster, world } = scenario;
  const before = holders();
  cluster.master.crash();
  cluster.master.wipe();
  cluster.master.start();
  await world.runFor(10_000);
  expect(cluster.map).toBeUndefined();
  expect(holders()).toBe(before);
  for (const name of names) expect(await scenario.get(name)).toBe(name);
  expect((await scenario.put('name-0', 'still written')).copies.durable).toBe(2);
});

it('S7: after the loss of a peer for good there are all wanted copies again', async () => {
  const scenario = await Scenario.start({ peers: 3, replicas: 2, slots: 4 });
  const { cluster, world } = scenario;
  const names = Array.from({ length: 8 }, (_, at) => `name-${at}`);
  for (const name of names) await scenario.put(name, name);
  const [lost] = cluster.peers;
  lost?.crash({ isHost: true });
  await world.runFor(3000);
  lost?.wipe();
  lost?.start();
  await cluster.untilWhole();
  expect(deepComplaints(cluster)).toEqual([]);
  for (const name of names) expect(await scenario.get(name)).toBe(name);
});

it('a peer whose disk fails while it joins ends, and joins when it is started again', async () => {
  const scenario = await Scenario.start();
  const { cluster, world } = scenario;
  const [host] = cluster.peers;
  if (host === undefined) throw new Error('There is a first peer');
  host.crash();
  await world.runFor(2000);
  host.wipe();
  cluster.network.cut(host.name, cluster.master.name);
  host.start();
  await world.runFor(500);
  host.disk.commitFault = 'failure';
  cluster.network.heal(host.name, cluster.master.name);
  await world.runUntil(() => host.endedByItself, 10_000);
  expect(host.endedByItself).toBe(true);
  host.start();
  await cluster.untilWhole();
});

it('S7: a late join of a process and store that are gone does not keep the peer out for good', async () => {
  const scenario = await Scenario.start();
  const { cluster, world } = scenario;
  await scenario.put('a', 'kept');
  const [host] = cluster.peers;
  const address: Address = `${host?.name}:7421`;
  const map = cluster.map;
  const peer = map?.peers.find((each) => each.address === address);
  const environment = scenario.clientHost.environment;
  if (map === undefined || peer === undefined || environment === undefined) throw new Error('The cluster runs');
  const gone = { peerId: peer.id, storeId: 'f'.repeat(32), incarnation: 7, clusterId: map.clusterId };
  const hello = { role: 'peer', generation: 1, ...gone } as const;
  const late = await world.until(openSession(environment, `${cluster.master.name}:7420`, { hello, timeoutMs: 1000 }));
  const join = { ...gone, address, zone: peer.zone, weight: 1, mapEpoch: map.epoch, lineage: map.lineage };
  await scenario.codeOf(late.request('join', join));
  late.close('It is gone');
  expect(cluster.map?.peers.find(({ id }) => id === peer.id)?.storeId).toBe(gone.storeId);
  await world.runFor(5000);
  expect(cluster.map?.peers.find(({ id }) => id === peer.id)?.storeId).toBe(peer.storeId);
  await cluster.untilWhole();
  expect(await scenario.get('a')).toBe('kept');
});

it('S7: a peer at the address of one that the master still waits for joins once, not again at every ping', async () => {
  const lines: string[] = [];
  const scenario = await Scenario.start({ peers: 2, replicas: 1, slots: 4, trace: (line) => lines.push(line) });
  const { cluster, world } = scenario;
  const [host] = cluster.peers;
  host?.crash({ isHost: true });
  host?.wipe();
  host?.start();
  await world.runFor(5000);
  const joined = lines.filter((line) => line.includes(`${host?.name}#2`) && line.includes('info joined'));
  expect(joined).toHaveLength(1);
  expect(cluster.map?.peers).toHaveLength(3);
});

describe('the map is recovered after the disk of the master was lost', () => {
  const loseMaster = ({ cluster }: Scenario): void => {
    cluster.master.crash();
    cluster.master.wipe();
    cluster.isMasterLost = true;
  };

  it('S9, F14: and whoever was away is asked when it returns; what only it holds waits until then', async () => {
    const scenario = await Scenario.start({ peers: 3, replicas: 1, slots: 8, repairGraceMs: 600_000 });
    const { cluster, world } = scenario;
    const names = Array.from({ length: 16 }, (_, at) => `name-${at}`);
    for (const name of names) await scenario.put(name, name);
    const held = names.filter((name) => scenario.primaryOf(name) === cluster.peers[2]);
    const before = cluster.map?.epoch ?? 0;
    const lone = cluster.map?.slots.filter(({ primary }) => cluster.hostOf(primary) === cluster.peers[2]).length;
    cluster.peers[2]?.crash();
    loseMaster(scenario);
    cluster.master.start();
    await world.runFor(8000);
    expect(generationOf(cluster.map?.epoch ?? 0)).toBe(1);
    expect(cluster.map?.epoch).toBeGreaterThan(before);
    for (const name of names.filter((each) => !held.includes(each))) expect(await scenario.get(name)).toBe(name);
    expect(cluster.status?.slots.unavailable).toBe(lone);
    expect(held.length).toBeGreaterThan(0);
    cluster.peers[2]?.start();
    await cluster.untilWhole();
    for (const name of held) expect(await scenario.get(name)).toBe(name);
  });

  it('and a peer that never had a map, as it died when it joined, has nothing to tell and is welcome', async () => {
    const scenario = await Scenario.start({ peers: 2, spares: 1, repairGraceMs: 600_000 });
    const { cluster, world } = scenario;
    const [spare] = cluster.spares;
    if (spare === undefined) throw new Error('There is one');
    spare.start();
    while (cluster.map?.peers.length !== 3) await world.runFor(0.5);
    spare.crash({ isHost: true });
    await world.runFor(3000);
    loseMaster(scenario);
    cluster.master.start();
    await world.runFor(5000);
    expect(cluster.map?.peers[2]?.state).toMatch(/awaited|down/);
    spare.start();
    await world.runFor(5000);
    expect(cluster.map?.peers[2]).toMatchObject({ id: 'p3', state: 'up' });
  });

  it('S10: and the folder of before, put back, makes its master stop', async () => {
    const { scenario, names, holders } = await startMoved();
    const { cluster, world } = scenario;
    const putBack = cluster.master.disk.backUpSmallFiles();
    loseMaster(scenario);
    cluster.master.start();
    await world.runFor(3000);
    await cluster.untilWhole();
    const before = holders();
    cluster.master.crash();
    putBack();
    cluster.master.start();
    await world.runFor(10_000);
    expect(cluster.master.endedByItself).toBe(true);
    expect(world.complaints.join()).toContain('recovered from the peers since');
    expect(holders()).toBe(before);
    for (const name of names) expect(await scenario.get(name)).toBe(name);
  });

  it('F14, S10: and a peer that was given up deletes nothing when it returns, until it is enabled', async () => {
    const { scenario, names } = await startMoved();
    const { cluster, world } = scenario;
    const [host] = cluster.peers;
    const peer = cluster.map?.peers.find(({ address }) => address.startsWith(`${host?.name}:`))?.id ?? '';
    if (host === undefined) throw new Error('There is a first peer');
    const held = names.filter((name) => scenario.entryOn(host, name) !== undefined);
    host.crash();
    loseMaster(scenario);
    cluster.givenUp = [peer];
    cluster.master.start();
    await world.runFor(5000);
    for (const name of names) await scenario.put(name, 'newer');
    host.start();
    await world.runFor(20_000);
    expect(peerOf(cluster.map as ClusterMap, peer)).toMatchObject({ state: 'up', mode: 'set-aside' });
    for (const name of held) expect(scenario.entryOn(host, name)).toBeDefined();
    await world.until(scenario.client.operations.changePeer(peer, 'enable'));
    await cluster.untilWhole();
    expect(deepComplaints(cluster)).toEqual([]);
    for (const name of names) expect(await scenario.get(name)).toBe('newer');
  });
});

it('F14: a copy is added only when its primary, started again, would still know that it was joining', async () => {
  const scenario = await Scenario.start({ peers: 2, replicas: 2, slots: 1 });
  const { cluster, world } = scenario;
  const [primary, backup] = [scenario.primaryOf('a'), scenario.backupsOf('a')[0]];
  backup?.crash();
  await world.runFor(2000);
  primary.syncMs = { leastMs: 3000, mostMs: 3000 };
  backup?.start();
  let before = scenario.recordOf('a');
  while (scenario.recordOf('a').inSync.length < 2) {
    before = scenario.recordOf('a');
    await world.runFor(5);
  }
  expect(before.joining).toHaveLength(1);
  expect(cluster.monitor.diskOf(primary.name).mapEpoch).toBeGreaterThanOrEqual(before.slotEpoch);
});
