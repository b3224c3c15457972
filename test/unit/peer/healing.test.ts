import { describe, expect, it } from 'vitest';
import { peerOf } from '../../../src/cluster/map.js';
import { timing } from '../../../src/core/timing.js';
import { judge } from '../../checker/verdict.js';
import { deepComplaints } from '../../simulator/checks/deep-check.js';
import { Clients } from '../../simulator/plan/clients.js';
import { steadyClients } from '../../simulator/plan/plan.js';
import { Scenario } from '../../simulator/scenario.js';
import type { SimHost } from '../../simulator/world/sim-host.js';

const names = Array.from({ length: 24 }, (_, at) => `name-${at}`);

async function filled(options: Parameters<typeof Scenario.start>[0]): Promise<Scenario> {
  const scenario = await Scenario.start({ slots: 16, ...options });
  for (const name of names) await scenario.put(name, name);
  return scenario;
}

function idOf({ cluster }: Scenario, host: SimHost | undefined): string {
  const peer = cluster.map?.peers.find(({ address }) => address.startsWith(`${host?.name}:`));
  if (peer === undefined) throw new Error('The host has a peer');
  return peer.id;
}

const copiesOf = ({ cluster }: Scenario, id: string): number =>
  cluster.map?.slots.filter(({ inSync, joining }) => inSync.includes(id) || joining.includes(id)).length ?? 0;

/** Every slot has two copies on peers that run, and nobody copies any more. */
const hasTwoEverywhere = ({ cluster }: Scenario): boolean =>
  cluster.map?.slots.every(({ inSync, joining }) => {
    const running = inSync.filter((id) => cluster.map && peerOf(cluster.map, id)?.state === 'up');
    return running.length === 2 && joining.length === 0;
  }) === true;

describe('repair', () => {
  it('S7: what a peer that is gone held comes back on others, and goes from there when it returns', async () => {
    const scenario = await filled({ peers: 4, repairGraceMs: 3000, quarantineMs: 500 });
    const { cluster, world } = scenario;
    const [gone] = cluster.peers;
    const id = idOf(scenario, gone);
    const before = copiesOf(scenario, id);
    gone?.crash();
    await world.runFor(2500);
    expect(cluster.map && peerOf(cluster.map, id)?.isOut).toBe(false);
    expect(await world.runUntil(() => hasTwoEverywhere(scenario), 10_000)).toBe(true);
    expect(cluster.map && peerOf(cluster.map, id)?.isOut).toBe(true);
    expect(deepComplaints(cluster)).toEqual([]);
    for (const name of names) expect(await scenario.get(name)).toBe(name);
    gone?.start();
    await cluster.untilWhole();
    await world.runFor(10_000);
    expect(copiesOf(scenario, id)).toBe(before);
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('S7: a peer gets its primaries back when it has been back for long enough, and no request fails', async () => {
    const scenario = await filled({ peers: 3 });
    const { cluster, world } = scenario;
    await world.runFor(timing.steadyBeforeHandoverMs + 3000);
    const [host] = cluster.peers;
    const id = idOf(scenario, host);
    const led = (): string =>
      cluster.map?.slots.flatMap(({ primary }, slot) => (primary === id ? [slot] : [])).join() ?? '';
    const wanted = led();
    expect(wanted).not.toBe('');
    host?.crash();
    await world.runFor(2000);
    expect(led()).toBe('');
    host?.start();
    await cluster.untilWhole();
    const others = names.map((name) => `other-${name}`);
    const clients = steadyClients({ writers: 3, readers: 2, names: others, everyMs: 20, forMs: 60_000 });
    const work = new Clients(cluster, clients);
    await work.start();
    await world.runFor(timing.steadyBeforeHandoverMs - 2000);
    expect(led()).toBe('');
    expect(await world.runUntil(() => led() === wanted, 6000)).toBe(true);
    await work.stop();
    const { complaints, refused, unknown } = judge({ victimNames: [], operations: work.operations });
    expect({ complaints, refused, unknown }).toEqual({ complaints: [], refused: {}, unknown: 0 });
  });

  it('a return cancels it, and under maintenance it never begins', async () => {
    const scenario = await filled({ peers: 3, repairGraceMs: 3000 });
    const { cluster, world, client } = scenario;
    const [host] = cluster.peers;
    const id = idOf(scenario, host);
    await world.until(client.operations.changePeer(id, 'maintenance'));
    host?.crash();
    await world.runFor(10_000);
    expect(cluster.map && peerOf(cluster.map, id)).toMatchObject({ state: 'down', isOut: false });
    await world.until(client.operations.changePeer(id, 'repair'));
    expect(cluster.map && peerOf(cluster.map, id)?.isOut).toBe(true);
    host?.start();
    await cluster.untilWhole();
    expect(cluster.map && peerOf(cluster.map, id)?.isOut).toBe(false);
    expect(deepComplaints(cluster)).toEqual([]);
  });
});

describe('operators', () => {
  it('S7: a peer is drained and removed while clients write, and no request fails', async () => {
    const scenario = await filled({ peers: 4, quarantineMs: 500 });
    const { cluster, world, client } = scenario;
    const id = idOf(scenario, cluster.peers[1]);
    const told = await world.until(client.operations.changePeer(id, 'drain', { dryRun: true }));
    expect(told).toMatchObject({ isDryRun: true, isChanged: true });
    expect(told.moves.copies).toBeGreaterThan(0);
    expect(cluster.map && peerOf(cluster.map, id)?.mode).toBe('normal');
    await expect(world.until(client.operations.changePeer(id, 'remove'))).rejects.toMatchObject({ code: 'conflict' });
    await world.until(client.operations.changePeer(id, 'drain'));
    for (let round = 0; copiesOf(scenario, id) > 0; round++) {
      expect(round).toBeLessThan(400);
      await scenario.put(names[round % names.length] ?? '', `round ${round}`);
      await world.runFor(50);
    }
    await world.until(client.operations.changePeer(id, 'remove'));
    await world.runFor(3000);
    const held = cluster.peers[1]?.disk.index.durable.keys('entries', { from: new Uint8Array(0) });
    expect(held).toEqual([]);
    for (const name of names) expect(await scenario.get(name)).toBeDefined();
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('the number of copies is raised and lowered, and receipts tell the truth', async () => {
    const scenario = await filled({ peers: 3, quarantineMs: 500 });
    const { cluster, world, client } = scenario;
    for (const replicas of [3, 2]) {
      await world.until(client.operations.changeCluster({ replicas }));
      const isSo = (): boolean => cluster.map?.slots.every(({ inSync }) => inSync.length === replicas) === true;
      expect(await world.runUntil(isSo, 20_000)).toBe(true);
      for (const name of names) {
        const { copies } = await scenario.put(name, `with ${replicas}`);
        expect(copies).toEqual({ durable: replicas, wanted: replicas });
      }
    }
    await expect(world.until(client.operations.changeCluster({ minInSync: 3 }))).rejects.toMatchObject({
      code: 'invalid',
    });
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('what-if agrees with stopping the peers', async () => {
    const scenario = await filled({ peers: 4, repairGraceMs: 600_000 });
    const { cluster, world, client } = scenario;
    const stopped = [cluster.peers[0], cluster.peers[2]];
    const ids = stopped.map((host) => idOf(scenario, host));
    const told = await world.until(client.operations.whatIf(ids));
    for (const host of stopped) host?.crash();
    await world.runFor(5000);
    const readable = await Promise.all(
      names.map((name) =>
        world.until(
          client.stat(name, { timeoutMs: 3000 }).then(
            () => 1,
            () => 0,
          ),
        ),
      ),
    );
    expect(names.length - readable.filter((each) => each === 1).length).toBe(told.unreadable.files);
    expect(told.lost).toEqual(told.unreadable);
  });

  it('a repair speed holds copying to it, from the moment it is set', async () => {
    const scenario = await Scenario.start({ peers: 3, slots: 1, repairGraceMs: 600_000 });
    const { cluster, world, client } = scenario;
    for (const name of names) await scenario.put(name, new Uint8Array(60_000));
    await world.until(client.operations.changeCluster({ repairBytesPerSecond: 100_000 }));
    await world.until(client.operations.changeCluster({ replicas: 3 }));
    await world.runFor(8000);
    expect(cluster.map?.slots[0]?.inSync).toHaveLength(2);
    await world.until(client.operations.changeCluster({ repairBytesPerSecond: 0 }));
    expect(await world.runUntil(() => cluster.map?.slots[0]?.inSync.length === 3, 2000)).toBe(true);
  });
});

describe('two bad copies of one file', () => {
  it('S5: their holders do not ask each other without end, and both are mended when one can be read', async () => {
    const lines: string[] = [];
    const scenario = await Scenario.start({ peers: 2, slots: 1, trace: (line) => lines.push(line) });
    const { cluster, world, client } = scenario;
    await scenario.put('a', new Uint8Array(70_000).fill(7));
    const [primary, backup] = [scenario.primaryOf('a'), ...scenario.backupsOf('a')];
    const rot = (host: SimHost | undefined): (() => void)[] =>
      [...(host?.disk.files.keys() ?? [])].map((id) => host?.disk.rotFile(id, 5000) ?? (() => undefined));
    rot(primary);
    const restores = rot(backup);
    const read = (): Promise<unknown> => client.get('a', { timeoutMs: 300 }).then((file) => file.bytes());
    expect(await scenario.codeOf(read())).toBe('integrity');
    const asked = (): number => lines.filter((line) => line.includes('could not give its copy')).length;
    await world.runFor(900);
    expect(asked()).toBeLessThan(10);
    await world.runFor(60_000);
    expect(asked()).toBeLessThan(30);
    for (const restore of restores) restore();
    expect(await scenario.codeOf(read())).toBe('done');
    await world.runFor(120_000);
    expect(deepComplaints(cluster)).toEqual([]);
  });
});
