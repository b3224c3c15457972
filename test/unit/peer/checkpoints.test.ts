import { expect, it } from 'vitest';
import type { CheckpointReader } from '../../../src/client/checkpoint-reader.js';
import type { Checkpoint } from '../../../src/client/results.js';
import { deepComplaints } from '../../simulator/checks/deep-check.js';
import { Scenario } from '../../simulator/scenario.js';

/** Everything that may go is swept within seconds. */
const hasty = { slots: 8, peers: 3, replacedGraceMs: 500, sweepAfterMs: 1000, quarantineMs: 500 } as const;
const segmentBytes = 1024 * 1024;

function body(seed: number, sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, at) => (at * 31 + seed * 7) & 255);
}

/** One of each kind: in the index, in a file, in several segments. */
const sizes = { tiny: 100, file: 200_000, large: 2_300_000 } as const;
const names = Object.keys(sizes) as (keyof typeof sizes)[];

async function putAll(scenario: Scenario, seed: number): Promise<void> {
  for (const name of names) {
    await scenario.put(name, body(seed, sizes[name]), { segmentBytes, metadata: { seed: `${seed}` } });
  }
}

async function create(scenario: Scenario): Promise<Checkpoint> {
  return scenario.world.until(scenario.client.checkpoints.create(), 120_000);
}

async function read(scenario: Scenario, reader: CheckpointReader, name: string) {
  const collect = async () => {
    const { stat, body: pieces } = await reader.open({ bucket: 'files', name });
    const parts: Uint8Array[] = [];
    for await (const piece of pieces) parts.push(piece.slice());
    return { stat, bytes: new Uint8Array(Buffer.concat(parts)) };
  };
  return scenario.world.until(collect(), 60_000);
}

async function filesOf(scenario: Scenario, reader: CheckpointReader, options = {}): Promise<readonly string[]> {
  const collect = async () => {
    const found: string[] = [];
    for await (const { name } of reader.files(options)) found.push(name);
    return found.sort();
  };
  return scenario.world.until(collect(), 60_000);
}

async function expectWhole(scenario: Scenario, id: string, seed: number): Promise<void> {
  const reader = await scenario.world.until(scenario.client.checkpoints.open(id));
  expect(await filesOf(scenario, reader)).toEqual([...names].sort());
  for (const name of names) {
    const { stat, bytes } = await read(scenario, reader, name);
    expect(Buffer.compare(bytes, body(seed, sizes[name])), name).toBe(0);
    expect(stat.metadata).toEqual({ seed: `${seed}` });
  }
}

const fileCount = ({ cluster }: Scenario): number => cluster.peers.reduce((sum, { disk }) => sum + disk.files.size, 0);

it('a checkpoint keeps every byte of what was there, whatever is deleted and replaced after it', async () => {
  const scenario = await Scenario.start(hasty);
  const { world, client } = scenario;
  await putAll(scenario, 1);
  const made = await create(scenario);
  expect(made).toMatchObject({ state: 'complete', missingSlots: [], reasons: [], peers: ['p1', 'p2', 'p3'] });
  const before = fileCount(scenario);
  await putAll(scenario, 2);
  for (const name of names) await world.until(client.delete(name));
  await world.runFor(60_000);
  expect(fileCount(scenario)).toBe(before);
  await expectWhole(scenario, made.id, 1);
  const { checkpoints } = await world.until(client.status());
  expect(checkpoints).toMatchObject({ count: 1 });
  expect(checkpoints.keptBytes).toBeGreaterThan(2 * (sizes.file + sizes.large));
});

it('what only a removed checkpoint named is removed with it, and what another one names stays', async () => {
  const scenario = await Scenario.start(hasty);
  const { world, client, cluster } = scenario;
  await putAll(scenario, 1);
  const first = await create(scenario);
  await putAll(scenario, 2);
  const second = await create(scenario);
  for (const name of names) await world.until(client.delete(name));
  await world.runFor(30_000);
  await world.until(client.checkpoints.remove(first.id));
  await world.runFor(30_000);
  expect((await world.until(client.checkpoints.list())).map(({ id }) => id)).toEqual([second.id]);
  await expectWhole(scenario, second.id, 2);
  await world.until(client.checkpoints.remove(second.id));
  await world.runFor(30_000);
  expect(await world.until(client.checkpoints.list())).toEqual([]);
  expect(fileCount(scenario)).toBe(0);
  expect(cluster.peers.flatMap(({ disk }) => disk.copies.names)).toEqual([]);
  expect(deepComplaints(cluster)).toEqual([]);
  expect((await world.until(client.status())).checkpoints).toEqual({ count: 0, keptBytes: 0 });
});

it('a record copied after its segments came has them, though others were copied before', async () => {
  const scenario = await Scenario.start(hasty);
  const { world, client, cluster } = scenario;
  await putAll(scenario, 1);
  const late = scenario.primaryOf('late');
  const copiedBy: unknown[] = [];
  for (let count = 0; count < 2; count++) {
    cluster.points.arm({ point: 'checkpointCopied', skip: 0, act: (host) => copiedBy.push(host) });
  }
  let release = (): void => undefined;
  late.disk.copies.gate = new Promise((resolve) => {
    release = resolve;
  });
  const creating = client.checkpoints.create();
  await world.runUntil(() => copiedBy.length > 0, 5000);
  await world.runFor(1000);
  // Seven segments in eight slots: some of them are of peers whose index was copied already.
  await scenario.put('late', body(3, 7 * segmentBytes), { segmentBytes });
  release();
  const { id, state } = await world.until(creating, 60_000);
  expect(state).toBe('complete');
  await world.until(client.delete('late'));
  await world.runFor(30_000);
  const reader = await world.until(client.checkpoints.open(id));
  const { bytes } = await read(scenario, reader, 'late');
  expect(Buffer.compare(bytes, body(3, 7 * segmentBytes))).toBe(0);
});

it('no segment goes while a checkpoint is made, though its file is deleted meanwhile', async () => {
  const scenario = await Scenario.start(hasty);
  const { world, client } = scenario;
  await putAll(scenario, 1);
  const holder = scenario.primaryOf('large');
  const others = scenario.cluster.peers.filter((peer) => peer !== holder);
  const releases: (() => void)[] = [];
  for (const { disk } of others) disk.copies.gate = new Promise((resolve) => releases.push(resolve));
  const creating = client.checkpoints.create();
  await world.runFor(1000);
  // The record is copied by now, its segments on the other peers are not.
  await world.until(client.delete('large'));
  await world.runFor(30_000);
  for (const release of releases) release();
  const { id, state } = await world.until(creating, 60_000);
  expect(state).toBe('complete');
  await expectWhole(scenario, id, 1);
});

it('files are found by prefix and bucket, and one that is not there is not found', async () => {
  const scenario = await Scenario.start(hasty);
  const { world, client } = scenario;
  await putAll(scenario, 1);
  await world.until(client.bucket('other').put('tiny', 'elsewhere'));
  const { id } = await create(scenario);
  const reader = await world.until(client.checkpoints.open(id));
  expect(await filesOf(scenario, reader)).toEqual(['file', 'large', 'tiny', 'tiny']);
  expect(await filesOf(scenario, reader, { bucket: 'other' })).toEqual(['tiny']);
  expect(await filesOf(scenario, reader, { bucket: 'files', prefix: 't' })).toEqual(['tiny']);
  await expect(read(scenario, reader, 'absent')).rejects.toMatchObject({ code: 'not-found' });
  expect(await scenario.codeOf(client.checkpoints.open('20000101-000000-00000000'))).toBe('not-found');
  expect(await scenario.codeOf(client.checkpoints.remove('20000101-000000-00000000'))).toBe('not-found');
});

it('with one of three peers down a checkpoint is complete; with two it says which slots are missing', async () => {
  const scenario = await Scenario.start({ ...hasty, repairGraceMs: 3_600_000 });
  const { cluster, world } = scenario;
  await putAll(scenario, 1);
  const [first, second] = cluster.peers;
  first?.crash();
  await world.runFor(3000);
  const made = await create(scenario);
  expect(made).toMatchObject({ state: 'complete', missingSlots: [] });
  expect(made.peers).toHaveLength(2);
  await expectWhole(scenario, made.id, 1);
  second?.crash();
  await world.runFor(3000);
  const partial = await create(scenario);
  expect(partial.state).toBe('incomplete');
  expect(partial.missingSlots.length).toBeGreaterThan(0);
  expect(partial.reasons.join()).toContain('nobody vouches');
});

it.each(['checkpointCopied', 'checkpointFinished'] as const)(
  'a peer that dies at %s costs nothing: the checkpoint is made again, and no part is left behind',
  async (point) => {
    const scenario = await Scenario.start(hasty);
    const { cluster, world, client } = scenario;
    await putAll(scenario, 1);
    let isStruck = false;
    cluster.points.arm({
      point,
      skip: 1,
      act: (host) => {
        isStruck = true;
        host.crash();
        world.schedule(300, () => host.start());
      },
    });
    const made = await create(scenario);
    expect(isStruck).toBe(true);
    await cluster.untilWhole();
    await world.runFor(10_000);
    expect(made.state).toBe('complete');
    await putAll(scenario, 2);
    await world.runFor(30_000);
    await expectWhole(scenario, made.id, 1);
    await world.until(client.checkpoints.remove(made.id));
    await world.runFor(30_000);
    expect(cluster.peers.flatMap(({ disk }) => disk.copies.names)).toEqual([]);
    expect(deepComplaints(cluster)).toEqual([]);
  },
);

it('a master that dies in the middle leaves no part behind and no sweep held up', async () => {
  const scenario = await Scenario.start(hasty);
  const { cluster, world, client } = scenario;
  await putAll(scenario, 1);
  cluster.points.arm({ point: 'checkpointCopied', skip: 1, act: () => cluster.master.crash() });
  const creating = client.checkpoints.create().then(
    ({ state }) => state,
    () => 'failed',
  );
  await world.runFor(3000);
  cluster.master.start();
  expect(await world.until(creating, 120_000)).not.toBe('complete');
  for (const name of names) await world.until(client.delete(name));
  await world.runFor(60_000);
  expect(fileCount(scenario)).toBe(0);
  expect(await world.until(client.checkpoints.list())).toEqual([]);
  expect(cluster.peers.flatMap(({ disk }) => disk.copies.names)).toEqual([]);
});

it('a master that dies in the middle leaves no part behind on a peer that joined meanwhile', async () => {
  const scenario = await Scenario.start({ ...hasty, peers: 2, spares: 1 });
  const { cluster, world, client } = scenario;
  const [spare] = cluster.spares;
  if (spare === undefined) throw new Error('There is no spare');
  await putAll(scenario, 1);
  // The first attempt is for nothing; before the second one there is a peer more.
  cluster.points.arm({
    point: 'checkpointCopied',
    skip: 0,
    act: (host) => {
      host.crash();
      spare.start();
      world.schedule(300, () => host.start());
    },
  });
  let isStruck = false;
  const strike = (host: unknown): void => {
    isStruck = host === spare;
    if (isStruck) cluster.master.crash();
    else cluster.points.arm({ point: 'checkpointFinished', skip: 0, act: strike });
  };
  strike(undefined);
  client.checkpoints.create().catch(() => undefined);
  await world.runFor(15_000);
  expect(isStruck).toBe(true);
  expect(spare.disk.copies.names).toHaveLength(1);
  cluster.master.start();
  await world.runFor(30_000);
  expect(cluster.joined.flatMap(({ disk }) => disk.copies.names)).toEqual([]);
});

it('a peer that is away while a checkpoint is removed removes its part when it is back', async () => {
  const scenario = await Scenario.start({ ...hasty, repairGraceMs: 3_600_000 });
  const { cluster, world, client } = scenario;
  await putAll(scenario, 1);
  const { id } = await create(scenario);
  const [away] = cluster.peers;
  away?.crash();
  await world.runFor(3000);
  await world.until(client.checkpoints.remove(id));
  await world.runFor(20_000);
  expect(await world.until(client.checkpoints.list())).toMatchObject([{ id, state: 'removing', peers: ['p1'] }]);
  expect(away?.disk.copies.names).toEqual([id]);
  away?.start();
  await world.runFor(20_000);
  expect(away?.disk.copies.names).toEqual([]);
  expect(await world.until(client.checkpoints.list())).toEqual([]);
});

it('S10: a master without memory removes no part by itself, and its operator can restore from them', async () => {
  const scenario = await Scenario.start(hasty);
  const { cluster, world, client } = scenario;
  const forget = cluster.master.disk.backUpSmallFiles();
  await putAll(scenario, 1);
  const { id } = await create(scenario);
  cluster.master.crash();
  forget();
  cluster.master.start();
  await putAll(scenario, 2);
  await world.runFor(30_000);
  await expectWhole(scenario, id, 1);
  const [listed] = await world.until(client.checkpoints.list());
  expect(listed).toMatchObject({ id, state: 'incomplete', peers: ['p1', 'p2', 'p3'] });
  await world.until(client.checkpoints.remove(id));
  await world.runFor(20_000);
  expect(cluster.peers.flatMap(({ disk }) => disk.copies.names)).toEqual([]);
});

it('by the clock checkpoints come at their interval, over restarts of the master; only the newest stay', async () => {
  const scenario = await Scenario.start({ ...hasty, checkpoints: { everyMs: 60_000, keep: 2 } });
  const { cluster, world, client } = scenario;
  const kept = await create(scenario);
  await world.runFor(200_000);
  cluster.master.crash();
  await world.runFor(1000);
  cluster.master.start();
  await world.runFor(110_000);
  const listed = await world.until(client.checkpoints.list());
  const timed = listed.filter(({ isTimed }) => isTimed);
  expect(timed).toHaveLength(2);
  expect(listed).toContainEqual(expect.objectContaining({ id: kept.id, isTimed: false }));
  const [older, newer] = timed.map(({ at }) => Date.parse(at ?? ''));
  expect((newer ?? 0) - (older ?? 0)).toBeGreaterThanOrEqual(60_000);
  expect((newer ?? 0) - (older ?? 0)).toBeLessThan(64_000);
});

it('S5: where the part of one peer is damaged, that of another is read', async () => {
  const scenario = await Scenario.start(hasty);
  const { world, client } = scenario;
  await putAll(scenario, 1);
  const { id } = await create(scenario);
  const primary = scenario.primaryOf('file');
  for (const file of primary.disk.files.keys()) primary.disk.rotFile(file, 9000);
  for (const name of names) await world.until(client.delete(name));
  await world.runFor(20_000);
  await expectWhole(scenario, id, 1);
  primary.crash();
  await world.runFor(3000);
  await expectWhole(scenario, id, 1);
});
