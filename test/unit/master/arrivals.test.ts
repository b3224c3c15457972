import { describe, expect, it } from 'vitest';
import type { PeerRecord } from '../../../src/cluster/map.js';
import { isRefusal } from '../../../src/core/errors.js';
import { withArrival } from '../../../src/master/arrivals.js';
import { joinedCluster, joinRequest, peerRecords } from '../cluster/fixtures.js';
import { FakePeer, MemoryFiles, refusalOf, startPair, World } from './harness.js';

const on = {
  answered: new Set<string>(),
  newCluster: () => {
    throw new Error('There is a cluster');
  },
};

/** What p9 is told, whose store only a map of another lineage can have named. */
function told(peers: readonly PeerRecord[], { isWaiting }: { isWaiting: boolean }): string {
  const cluster = joinedCluster(2);
  const slots = isWaiting ? cluster.slots.map((record) => ({ ...record, primary: undefined })) : cluster.slots;
  const join = { ...joinRequest(9), peerId: 'p9', clusterId: cluster.clusterId, mapEpoch: 4, lineage: 'lost' };
  try {
    withArrival({ ...cluster, peers, slots }, join, on);
  } catch (error) {
    if (isRefusal(error)) return error.code;
    throw error;
  }
  return 'welcome';
}

describe('an identity', () => {
  it('used by two living processes is refused with a sentence', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    const copy = await new FakePeer(world, { address: '127.0.0.1:7999', storeId: 'a1' }).listen();
    copy.clusterId = peers[0].clusterId;
    copy.peerId = 'p1';
    copy.incarnation = 2;
    expect(await refusalOf(copy.join())).toEqual({
      code: 'wrong-identity',
      message: 'p1 runs at 127.0.0.1:7421; 127.0.0.1:7999 has a copy of its identity',
    });
    expect(master.map?.peers[0]?.address).toBe('127.0.0.1:7421');
  });

  it('may move to another address once the old process is gone', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    await peers[0].kill();
    peers[0].address = '127.0.0.1:7999';
    await peers[0].restart();
    await peers[0].join();
    expect(master.map?.peers[0]).toMatchObject({ id: 'p1', address: '127.0.0.1:7999', incarnation: 2 });
  });

  it('of an older start is refused', async () => {
    const world = new World();
    const { peers } = await startPair(world, new MemoryFiles());
    await peers[0].kill();
    await peers[0].restart();
    await peers[0].join();
    peers[0].incarnation = 1;
    expect(await refusalOf(peers[0].join())).toMatchObject({ code: 'wrong-identity' });
  });

  it('of another cluster is refused', async () => {
    const world = new World();
    await startPair(world, new MemoryFiles());
    const stranger = new FakePeer(world, { address: '127.0.0.1:7999', storeId: 'zz' });
    stranger.clusterId = 'c0ffee';
    expect(await refusalOf(stranger.join())).toMatchObject({ code: 'wrong-cluster' });
  });

  it('is asked for ever more seldom where another peer answers, and at once when it says that it is back', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    await peers[0].kill();
    const other = new FakePeer(world, { address: peers[0].address, storeId: 'f5' });
    other.clusterId = peers[0].clusterId;
    other.peerId = 'p9';
    await other.listen();
    await world.clock.advance(60_000);
    expect(other.hellos).toBeGreaterThan(5);
    expect(other.hellos).toBeLessThan(20);
    await other.kill();
    await peers[0].restart();
    const { pings } = peers[0];
    const joined = peers[0].join();
    await world.clock.advance(100);
    await joined;
    expect(peers[0].pings).toBeGreaterThan(pings);
    expect(master.map?.peers[0]?.state).toBe('up');
  });

  it('with a wiped folder comes back as a new store with no standing', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    await peers[0].kill();
    await world.clock.advance(200);
    const wiped = await new FakePeer(world, { address: peers[0].address, storeId: 'f5' }).listen();
    await wiped.join();
    expect(wiped.peerId).toBe('p1');
    expect(master.map?.slots.every((record) => !record.inSync.includes('p1'))).toBe(true);
  });

  it('of another cluster at its address is asked for ever more seldom, too; news of the peer ends that', async () => {
    const world = new World();
    const { peers } = await startPair(world, new MemoryFiles());
    await peers[0].kill();
    const other = new FakePeer(world, { address: peers[0].address, storeId: 'f5' });
    other.refusal = 'wrong-cluster';
    await other.listen();
    await world.clock.advance(60_000);
    expect(other.hellos).toBeGreaterThan(5);
    expect(other.hellos).toBeLessThan(20);
    peers[0].address = '127.0.0.1:7999';
    await peers[0].restart();
    const joined = peers[0].join();
    await world.clock.advance(300);
    await joined;
    expect(peers[0].pings).toBeGreaterThan(0);
  });

  it('of a lost map waits for those who may know that map, and is to start empty when nobody does', () => {
    const [first, second, own] = peerRecords(9).filter(({ id }) => ['p1', 'p2', 'p9'].includes(id));
    if (first === undefined || second === undefined || own === undefined) throw new Error('There are three');
    const awaited = { ...second, state: 'awaited' as const };
    const isWaiting = true;
    expect(told([first, awaited], { isWaiting })).toBe('not-ready');
    expect(told([first, { ...awaited, mode: 'set-aside' }], { isWaiting })).toBe('wrong-identity');
    expect(told([first, second], { isWaiting })).toBe('wrong-identity');
    expect(told([first, second, { ...own, storeId: 'former', state: 'awaited' }], { isWaiting })).toBe(
      'wrong-identity',
    );
    expect(told([first, awaited], { isWaiting: false })).toBe('wrong-identity');
  });

  it('is the one of the store: a peer whose first answer was lost is told again who it is', () => {
    const map = joinedCluster(2);
    const again = { ...joinRequest(2, { incarnation: 2 }), peerId: 'p1', clusterId: map.clusterId, mapEpoch: 0 };
    expect(withArrival(map, again, on).peer.id).toBe('p2');
  });
});
