import { describe, expect, it } from 'vitest';
import { type ClusterMap, peerOf } from '../../../src/cluster/map.js';
import { recoveredMap } from '../../../src/cluster/recovery.js';
import { MapKeeper } from '../../../src/peer/map-keeper.js';
import { decodeMap, encodeMap } from '../../../src/protocol/map-codec.js';
import { MemoryDisk } from '../../simulator/world/memory-disk.js';
import { levelCluster } from '../cluster/fixtures.js';
import { ManualClock } from '../manual-clock.js';

const storeId = 'store-1';
const first = levelCluster(['p1', 'p2'], 2);
const as = { generation: 1, lineage: 'recovered' };

function openKeeper(disk = new MemoryDisk()) {
  const world = {
    after: (_delayMs: number, onEnd: () => void) => void setImmediate(onEnd),
    syncMs: () => 1,
    fraction: () => 0,
    wallMs: () => 0,
    nowMs: () => 0,
    isDead: () => false,
  };
  const events = { onMap: () => undefined, onDurable: () => undefined };
  const keeper = new MapKeeper({ store: disk.openIndex(world), storeId }, new ManualClock(), events);
  return { disk, keeper };
}

/** A peer that has taken the first map. */
async function follower() {
  const opened = openKeeper();
  await opened.keeper.accept(encodeMap(first));
  return opened;
}

function newer(map: ClusterMap): ClusterMap {
  return { ...map, epoch: map.epoch + 1 };
}

function recoveredFrom(...peers: readonly string[]): ClusterMap {
  const answers = peers.map((peer) => ({ peer, storeId: peerOf(first, peer)?.storeId ?? '', map: first }));
  const [one, ...others] = answers;
  if (one === undefined) throw new Error('Somebody answers');
  return recoveredMap([one, ...others], as);
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'done',
    (error: { code?: string }) => error.code ?? String(error),
  );
}

describe('a peer that has answered a recovery', () => {
  it('F14: answers with its newest map, and takes no later one of the same lineage', async () => {
    const { keeper } = await follower();
    const answer = await keeper.promise(as);
    expect(decodeMap(answer ?? new Uint8Array())).toEqual(first);
    expect(await codeOf(keeper.accept(encodeMap(newer(first))))).toBe('wrong-cluster');
    expect(await codeOf(keeper.accept(encodeMap(first)))).toBe('done');
    expect(keeper.map).toEqual(first);
  });

  it('F14: takes no later one from the moment it is asked', async () => {
    const { keeper } = await follower();
    const answer = keeper.promise(as);
    expect(await codeOf(keeper.accept(encodeMap(newer(first))))).toBe('wrong-cluster');
    expect(decodeMap((await answer) ?? new Uint8Array()).epoch).toBe(first.epoch);
  });

  it('remembers that when it is started again', async () => {
    const { disk, keeper } = await follower();
    await keeper.promise(as);
    const again = openKeeper(disk).keeper;
    expect(again.promisedGeneration).toBe(1);
    expect(await codeOf(again.accept(encodeMap(newer(first))))).toBe('wrong-cluster');
    await again.accept(encodeMap(recoveredFrom('p1', 'p2')));
    expect(again.map?.lineage).toBe('recovered');
  });

  it('takes the recovered map, and from then on no map of the former lineage', async () => {
    const { keeper } = await follower();
    await keeper.promise(as);
    await keeper.accept(encodeMap(recoveredFrom('p1', 'p2')));
    expect(keeper.map?.lineage).toBe('recovered');
    const former = { ...first, epoch: keeper.epoch + 1 };
    expect(await codeOf(keeper.accept(encodeMap(former)))).toBe('wrong-cluster');
  });

  it('keeps its own map until the recovered one counts it as heard', async () => {
    const { keeper } = await follower();
    await keeper.promise(as);
    await keeper.accept(encodeMap(recoveredFrom('p2')));
    expect(keeper.map).toEqual(first);
  });

  it('refuses another recovery that is not above it, and goes with one that is', async () => {
    const { keeper } = await follower();
    await keeper.promise(as);
    expect(await codeOf(keeper.promise({ generation: 1, lineage: 'rival' }))).toBe('conflict');
    expect(await codeOf(keeper.promise({ generation: 2, lineage: 'rival' }))).toBe('done');
    expect(await codeOf(keeper.accept(encodeMap(recoveredFrom('p1', 'p2'))))).toBe('wrong-cluster');
    expect(await codeOf(keeper.promise(as))).toBe('conflict');
  });
});

describe('a peer that had no map when it answered a recovery', () => {
  const recovered = recoveredFrom('p1', 'p2');

  it('follows the next one if that came to nothing', async () => {
    const { disk, keeper } = openKeeper();
    await keeper.promise({ generation: 1, lineage: 'came to nothing' });
    await keeper.accept(encodeMap(recovered));
    await keeper.accept(encodeMap(newer(recovered)));
    const again = openKeeper(disk).keeper;
    await again.accept(encodeMap({ ...recovered, epoch: recovered.epoch + 2 }));
    expect(again.epoch).toBe(recovered.epoch + 2);
    const late = { ...recovered, epoch: recovered.epoch + 3, lineage: 'came to nothing' };
    expect(await codeOf(again.accept(encodeMap(late)))).toBe('wrong-cluster');
  });

  it('F14: takes no map from before it, and stops no master by that', async () => {
    const { keeper } = openKeeper();
    await keeper.promise(as);
    expect(await codeOf(keeper.accept(encodeMap(first)))).toBe('conflict');
    await keeper.accept(encodeMap(recovered));
    expect(keeper.map?.lineage).toBe('recovered');
  });
});

it('S10: a map of a lineage that a peer has not promised is refused, whatever its generation', async () => {
  const { keeper } = await follower();
  expect(await codeOf(keeper.accept(encodeMap(recoveredFrom('p1', 'p2'))))).toBe('wrong-cluster');
  await keeper.promise(as);
  const foreign = { ...recoveredFrom('p1', 'p2'), clusterId: 'another' };
  expect(await codeOf(keeper.accept(encodeMap(foreign)))).toBe('wrong-cluster');
});
