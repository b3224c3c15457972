import { describe, expect, it } from 'vitest';
import type { PeerRecord } from '../../../src/cluster/map.js';
import type { FileId } from '../../../src/core/storage.js';
import { keyOfName, keyOfVoid } from '../../../src/peer/entry.js';
import { deepComplaints, orphanComplaints } from '../../simulator/checks/deep-check.js';
import { bucket, Scenario } from '../../simulator/scenario.js';
import type { SimHost } from '../../simulator/world/sim-host.js';

const large = new Uint8Array(200_000).fill(65);

function fileOf(scenario: Scenario, host: SimHost, name: string): FileId {
  const entry = scenario.entryOn(host, name);
  if (entry === undefined || entry === 'damaged' || entry.placed.where !== 'file') throw new Error('It has a file');
  return entry.placed.fileId;
}

function backupOf(scenario: Scenario, name: string): SimHost {
  const [backup] = scenario.backupsOf(name);
  if (backup === undefined) throw new Error('There is a backup');
  return backup;
}

function isDownOn(host: SimHost): (peer: PeerRecord) => boolean {
  return ({ address, state }) => address.startsWith(`${host.name}:`) && state === 'down';
}

describe('damage', () => {
  it('S5: bytes that do not match are never returned, and the bad copy is repaired', async () => {
    const scenario = await Scenario.start();
    await scenario.put('a', large);
    const primary = scenario.primaryOf('a');
    const rotten = fileOf(scenario, primary, 'a');
    primary.disk.rotFile(rotten, 100_000);
    expect(await scenario.get('a')).toBe('A'.repeat(large.length));
    const isRepaired = (): boolean => fileOf(scenario, primary, 'a') !== rotten;
    expect(await scenario.world.runUntil(isRepaired, 5000)).toBe(true);
    expect(deepComplaints(scenario.cluster)).toEqual([]);
  });

  it('S5: a bad copy is repaired before it is copied to a joining replica', async () => {
    const scenario = await Scenario.start({ peers: 3, replicas: 3 });
    const { cluster, world } = scenario;
    await scenario.put('a', large);
    const primary = scenario.primaryOf('a');
    const backup = backupOf(scenario, 'a');
    backup.crash();
    await world.runUntil(() => scenario.recordOf('a').inSync.length === 2, 3000);
    primary.disk.rotFile(fileOf(scenario, primary, 'a'), 100_000);
    backup.wipe();
    backup.start();
    await cluster.untilWhole();
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('F10: an unreadable entry is repaired, never dropped', async () => {
    const scenario = await Scenario.start();
    await scenario.put('a', 'kept');
    const primary = scenario.primaryOf('a');
    primary.disk.index.rot('entries', keyOfName({ bucket, name: 'a' }));
    expect(scenario.entryOn(primary, 'a')).toBe('damaged');
    expect(await scenario.get('a')).toBe('kept');
    expect(deepComplaints(scenario.cluster)).toEqual([]);
  });

  it('F10: an unreadable entry on the new primary does not delete the good copies', async () => {
    const scenario = await Scenario.start({ peers: 3, replicas: 3 });
    const { cluster, world } = scenario;
    await scenario.put('a', 'kept');
    const primary = scenario.primaryOf('a');
    const [next, other] = scenario.backupsOf('a');
    if (next === undefined || other === undefined) throw new Error('A slot with three copies has two backups');
    // The other backup gets a newer version, so that levelling meets the very key that the new primary cannot read.
    cluster.network.cut(primary.name, next.name);
    scenario.client.put('a', Buffer.from('newer'), { timeoutMs: 100 }).catch(() => undefined);
    await world.runFor(30);
    next.disk.index.rot('entries', keyOfName({ bucket, name: 'a' }));
    primary.crash({ isHost: true });
    scenario.clientHost.crash();
    const { client } = await cluster.client();
    expect(await scenario.get('a', client)).toBe('newer');
    expect(scenario.primaryOf('a')).toBe(next);
    cluster.healAll();
    await cluster.untilWhole();
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('F10: a primary alone takes a damaged version from the replica that comes back with it', async () => {
    const scenario = await Scenario.start();
    await scenario.put('a', large);
    const backup = backupOf(scenario, 'a');
    backup.crash();
    await scenario.world.runUntil(() => scenario.recordOf('a').inSync.length === 1, 3000);
    await scenario.put('b', 'more');
    const primary = scenario.primaryOf('a');
    primary.disk.rotFile(fileOf(scenario, primary, 'a'), 100_000);
    backup.start();
    await scenario.world.runUntil(() => scenario.recordOf('a').joining.length > 0, 5000);
    expect(await scenario.get('a')).toBe('A'.repeat(large.length));
    await scenario.cluster.untilWhole();
  });

  it('S5, S7: a peer that has left the set gives back the bytes of a version that it holds', async () => {
    const scenario = await Scenario.start({ peers: 3, replicas: 3 });
    const { cluster, world } = scenario;
    const primary = scenario.primaryOf('a');
    const [leaver, joiner] = scenario.backupsOf('a');
    if (leaver === undefined || joiner === undefined) throw new Error('A slot with three copies has two backups');
    joiner.crash();
    await world.runUntil(() => scenario.recordOf('a').inSync.length === 2, 3000);
    await scenario.put('a', large);
    // The master takes it for dead, so that it does not come back as joining.
    cluster.network.cut(leaver.name, cluster.master.name);
    await world.runUntil(() => cluster.map?.peers.some(isDownOn(leaver)) === true, 3000);
    cluster.network.cut(leaver.name, primary.name);
    await world.runUntil(() => scenario.recordOf('a').inSync.length === 1, 3000);
    cluster.network.heal(leaver.name, primary.name);
    primary.disk.rotFile(fileOf(scenario, primary, 'a'), 100_000);
    joiner.start();
    await world.runUntil(() => scenario.recordOf('a').inSync.length === 2, 5000);
    cluster.healAll();
    await cluster.untilWhole();
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('S5, S7: bytes that were lost for a replica come back with whoever has them', async () => {
    const scenario = await Scenario.start({ peers: 3, replicas: 3 });
    const { cluster, world } = scenario;
    const primary = scenario.primaryOf('a');
    const [holder, joiner] = scenario.backupsOf('a');
    if (holder === undefined || joiner === undefined) throw new Error('A slot with three copies has two backups');
    joiner.crash();
    await world.runUntil(() => scenario.recordOf('a').inSync.length === 2, 3000);
    await scenario.put('a', large);
    holder.crash();
    await world.runUntil(() => scenario.recordOf('a').inSync.length === 1, 3000);
    const restore = primary.disk.rotFile(fileOf(scenario, primary, 'a'), 100_000);
    joiner.start();
    await world.runUntil(() => scenario.recordOf('a').inSync.length === 2, 5000);
    restore();
    expect(deepComplaints(cluster)).toHaveLength(1);
    holder.start();
    await cluster.untilWhole();
    expect(await world.runUntil(() => deepComplaints(cluster).length === 0, 10_000)).toBe(true);
  });

  it('F1, F10: an entry comes back with the id of the request that wrote it', async () => {
    const scenario = await Scenario.start();
    const { cluster, world } = scenario;
    await scenario.put('a', 'kept');
    const primary = scenario.primaryOf('a');
    cluster.points.arm({ point: 'replicated', skip: 0, act: (host) => host.crash({ isHost: true }) });
    const deleting = scenario.client.delete('a', { timeoutMs: 20_000 });
    await world.runUntil(() => !primary.isRunning, 1000);
    primary.disk.index.rot('entries', keyOfName({ bucket, name: 'a' }));
    primary.start();
    expect(await scenario.codeOf(deleting)).toBe('done');
    expect(await scenario.get('a')).toBeUndefined();
  });

  it('F10: an unreadable entry on a replica is settled by the primary, after the write that is under way', async () => {
    const scenario = await Scenario.start();
    const { world } = scenario;
    await scenario.put('a', 'old');
    const primary = scenario.primaryOf('a');
    const backup = backupOf(scenario, 'a');
    primary.syncMs = { leastMs: 400, mostMs: 400 };
    const put = scenario.client.put('a', Buffer.from('new'), { timeoutMs: 5000 });
    const versionOn = (host: SimHost): string => JSON.stringify(scenario.entryOn(host, 'a'));
    const before = versionOn(backup);
    await world.runUntil(() => versionOn(backup) !== before, 300);
    backup.disk.index.rot('entries', keyOfName({ bucket, name: 'a' }));
    const session = await scenario.sessionTo(backup);
    const header = { slot: 0, term: 0, bucket, name: 'a', consistency: 'any', start: 0, end: 100 } as const;
    const read = session.request('get', header, { timeoutMs: 5000 });
    expect((await world.until(put)).copies.durable).toBe(2);
    expect(Buffer.from((await world.until(read)).payload ?? []).toString()).toBe('new');
    expect(deepComplaints(scenario.cluster)).toEqual([]);
  });

  it('S5, S7: bytes that nobody can read are not taken for absent, and hold up no other file', async () => {
    const scenario = await Scenario.start({ slots: 1 });
    const { cluster, world } = scenario;
    await scenario.put('good', 'kept');
    await scenario.put('bad', 'old');
    const backup = backupOf(scenario, 'bad');
    backup.crash();
    await world.runUntil(() => scenario.recordOf('bad').inSync.length === 1, 3000);
    await scenario.put('bad', large);
    const primary = scenario.primaryOf('bad');
    primary.disk.rotFile(fileOf(scenario, primary, 'bad'), 100_000);
    backup.start();
    await cluster.untilWhole();
    primary.crash();
    expect(await scenario.get('good')).toBe('kept');
    await expect(scenario.get('bad')).rejects.toMatchObject({ code: 'integrity' });
  });
});

describe('stores', () => {
  it('F11, S7: a wiped store is a new one: nothing empty is ever promoted, and it is filled again', async () => {
    const scenario = await Scenario.start();
    const { cluster, world } = scenario;
    await scenario.put('a', 'kept');
    const primary = scenario.primaryOf('a');
    primary.crash();
    await world.runUntil(() => scenario.recordOf('a').inSync.length === 1, 3000);
    primary.wipe();
    primary.start();
    expect(await scenario.get('a')).toBe('kept');
    await cluster.untilWhole();
    expect(deepComplaints(cluster)).toEqual([]);
    scenario.primaryOf('a').crash();
    expect(await scenario.get('a')).toBe('kept');
  });

  it('F11: a store that is wiped at once is out of every set before it is answered', async () => {
    const scenario = await Scenario.start();
    const { cluster } = scenario;
    await scenario.put('a', 'kept');
    const primary = scenario.primaryOf('a');
    primary.crash();
    primary.wipe();
    primary.start();
    expect(await scenario.get('a')).toBe('kept');
    await cluster.untilWhole();
    expect(await scenario.get('a')).toBe('kept');
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('F15, S10: a surplus copy goes only after the primary’s word and the quarantine', async () => {
    const quarantineMs = 20_000;
    const scenario = await Scenario.start({ peers: 2, quarantineMs, spares: 1, slots: 8 });
    const { cluster, world } = scenario;
    const names = Array.from({ length: 20 }, (_, at) => `name-${at}`);
    for (const name of names) await scenario.put(name, name);
    cluster.spares[0]?.start();
    /** A member that the map no longer names and that holds the name all the same. */
    const formerOf = (name: string): SimHost | undefined => {
      const members = [scenario.primaryOf(name), ...scenario.backupsOf(name)];
      const { joining } = scenario.recordOf(name);
      const isHolder = (host: SimHost): boolean => scenario.entryOn(host, name) !== undefined;
      return joining.length > 0 ? undefined : cluster.peers.find((host) => isHolder(host) && !members.includes(host));
    };
    const isMoved = (): boolean => names.some((name) => formerOf(name) !== undefined);
    expect(await world.runUntil(isMoved, 30_000)).toBe(true);
    await world.runFor(2000);
    const moved = names.find((name) => formerOf(name) !== undefined) ?? '';
    const former = formerOf(moved);
    if (former === undefined) throw new Error('The former member was just seen');
    await world.runFor(quarantineMs - 5000);
    expect(formerOf(moved)).toBe(former);
    // While no primary can be asked nothing is dropped, whatever the map says.
    for (const host of [...cluster.peers, ...cluster.spares]) cluster.network.cut(former.name, host.name);
    await world.runFor(20_000);
    expect(scenario.entryOn(former, moved)).toBeDefined();
    cluster.healAll();
    expect(await world.runUntil(() => formerOf(moved) === undefined, 60_000)).toBe(true);
    expect(await scenario.get(moved)).toBe(moved);
    expect(deepComplaints(cluster)).toEqual([]);
  });
});

describe('uploads', () => {
  const sizeBytes = 2_500_000;
  const short = { sweepAfterMs: 3000, replacedGraceMs: 1000, slots: 4 };

  it('F13: a voided upload cannot be committed', async () => {
    const scenario = await Scenario.start(short);
    const { world } = scenario;
    const slow = async function* () {
      yield new Uint8Array(2_200_000);
      await new Promise<void>((resolve) => world.schedule(20_000, resolve));
      yield new Uint8Array(300_000);
    };
    const put = scenario.client.put('a', slow(), { size: sizeBytes, segmentBytes: 1024 * 1024, timeoutMs: 60_000 });
    expect(await scenario.codeOf(put)).toBe('void-upload');
    expect(await scenario.get('a')).toBeUndefined();
    expect(await world.runUntil(() => orphanComplaints(scenario.cluster).length === 0, 60_000)).toBe(true);
  });

  it('F13: segments of a replaced file go, those of the new one stay', async () => {
    const scenario = await Scenario.start(short);
    const { cluster, world } = scenario;
    const options = { segmentBytes: 1024 * 1024 };
    await scenario.put('a', new Uint8Array(sizeBytes).fill(65), options);
    await scenario.put('a', new Uint8Array(sizeBytes).fill(66), options);
    expect(orphanComplaints(cluster)).not.toEqual([]);
    expect(await world.runUntil(() => orphanComplaints(cluster).length === 0, 60_000)).toBe(true);
    await world.runFor(10_000);
    expect(await scenario.get('a')).toBe('B'.repeat(sizeBytes));
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('F13: what cannot be read when it is due to be swept is looked at again', async () => {
    const scenario = await Scenario.start(short);
    const { cluster, world } = scenario;
    await scenario.put('a', new Uint8Array(sizeBytes).fill(65), { segmentBytes: 1024 * 1024 });
    await scenario.put('a', 'short');
    const restores = cluster.peers.flatMap(({ disk }) => {
      const keys = disk.index.durable.keys('entries', { from: new Uint8Array(0) });
      return keys.map((key) => disk.index.rot('entries', key));
    });
    await world.runFor(10_000);
    for (const restore of restores) restore();
    expect(orphanComplaints(cluster)).not.toEqual([]);
    expect(await world.runUntil(() => orphanComplaints(cluster).length === 0, 90_000)).toBe(true);
  });

  it('F13, F19: what is swept while a replica dies is gone from the others all the same', async () => {
    const scenario = await Scenario.start({ peers: 3, replicas: 3, replacedGraceMs: 1500 });
    const { cluster, world } = scenario;
    await scenario.put('a', new Uint8Array(1_200_000), { segmentBytes: 1024 * 1024 });
    await scenario.put('a', 'small');
    const dying = backupOf(scenario, 'a');
    cluster.points.arm({ point: 'sweeping', skip: 0, act: () => dying.crash({ isHost: true }) });
    await world.runUntil(() => scenario.recordOf('a').inSync.length === 2, 20_000);
    await world.runFor(100);
    expect(dying.isRunning).toBe(false);
    expect(deepComplaints(cluster)).toEqual([]);
  });

  it('F13: the same upload committed again under a new request id replaces nothing', async () => {
    const scenario = await Scenario.start({ ...short, slots: 1 });
    const { world } = scenario;
    const session = await scenario.sessionTo(scenario.primaryOf('a'));
    const uploadId = scenario.newId();
    const { header, payload, sums } = scenario.putRequest('a', 'A'.repeat(1024 * 1024), { uploadId });
    const second = new Uint8Array(100).fill(66);
    const route = { slot: 0, term: header.term, bucket, name: 'a', uploadId, index: 1 };
    const two = { ...header, size: header.size + second.length, segments: 2 };
    const part = scenario.putRequest('a', 'B'.repeat(100));
    await world.until(session.request('put-segment', { ...route, sums: part.sums }, part));
    await world.until(session.request('put', two, { payload, sums }));
    await world.until(session.request('put', { ...two, requestId: scenario.newId() }, { payload, sums }));
    const isVoid = scenario.cluster.peers.some((host) =>
      host.disk.index.durable.get('entries', keyOfVoid({ bucket, name: 'a' }, uploadId)),
    );
    expect(isVoid).toBe(false);
  });
});

it('S8: copies give way to clients, but not where writes are refused until there are more of them', async () => {
  const takesMs = async (minInSync: number): Promise<number> => {
    // On hosts whose processors are crowded.
    const scenario = await Scenario.start({ seed: 4, peers: 2, replicas: 2, minInSync });
    const { cluster, world, client } = scenario;
    const body = new Uint8Array(150_000);
    for (let file = 0; file < 120; file++) await scenario.put(`name-${file}`, body);
    const [joiner] = scenario.backupsOf('name-0');
    joiner?.crash();
    joiner?.wipe();
    await world.runFor(2000);
    joiner?.start();
    const startMs = world.nowMs;
    const isBack = (): boolean => cluster.map?.slots.every(({ inSync }) => inSync.length === 2) === true;
    while (!isBack()) {
      client.get('name-1').catch(() => undefined);
      await world.runFor(50);
    }
    return world.nowMs - startMs;
  };
  expect(await takesMs(1)).toBeGreaterThan(3 * (await takesMs(2)));
});
