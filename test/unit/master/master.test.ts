import { describe, expect, it } from 'vitest';
import { withSettings } from '../../../src/cluster/settings.js';
import { DfsError, StorageFailure } from '../../../src/core/errors.js';
import { timing } from '../../../src/core/timing.js';
import { FakePeer, MemoryFiles, refusalOf, settle, startPair, World } from './harness.js';

describe('a new cluster', () => {
  it('is made for the first peer, after a second of listening', async () => {
    const world = new World();
    const master = await world.startMaster(new MemoryFiles());
    const peer = await new FakePeer(world, { address: '127.0.0.1:7421', storeId: 'a1' }).listen();
    const joined = peer.join();
    await world.clock.advance(900);
    expect(master.map).toBeUndefined();
    await world.clock.advance(200);
    expect((await joined).header.peerId).toBe('p1');
    expect(peer.map?.slots.every((record) => record.primary === 'p1')).toBe(true);
    expect(peer.map?.peers[0]?.incarnation).toBe(1);
  });

  it('grows by a peer that joins, copies and is added', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    expect(peers[1].peerId).toBe('p2');
    expect(master.map?.slots.every((record) => record.inSync.length === 2)).toBe(true);
  });

  it('keeps a surplus copy that was to be dropped when a wanted one leaves before that', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    const third = await new FakePeer(world, { address: '127.0.0.1:7423', storeId: 'c3' }).listen();
    await third.join();
    await world.clock.advance(300);
    const added = peers.map((peer) => peer.addJoiners());
    const grown = () => master.map?.slots.filter(({ inSync }) => inSync.length === 3).length;
    while (grown() === 0) await world.clock.advance(10);
    await Promise.all(added);
    // The planner has looked and every peer has said which map it took; the drops it asks for wait.
    await world.clock.advance(timing.patientChangeMs - 50);
    expect(grown()).toBeGreaterThan(0);
    await third.request('goodbye', {});
    for (const { inSync } of master.map?.slots ?? []) {
      expect(inSync.filter((peer) => peer !== 'p3')).toHaveLength(2);
    }
  });

  it('is never made over a cluster that peers belong to', async () => {
    const world = new World();
    const master = await world.startMaster(new MemoryFiles());
    const stranger = new FakePeer(world, { address: '127.0.0.1:7421', storeId: 'a1' });
    stranger.clusterId = 'c0ffee';
    stranger.peerId = 'p1';
    expect(await refusalOf(stranger.join())).toMatchObject({ code: 'unavailable' });
    const fresh = new FakePeer(world, { address: '127.0.0.1:7422', storeId: 'b2' });
    const refused = refusalOf(fresh.join());
    await world.clock.advance(1500);
    expect((await refused).message).toContain('c0ffee');
    expect(master.map).toBeUndefined();
  });
});

describe('a killed primary', () => {
  it('is replaced within 100 ms', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    expect(master.map?.slots.some((record) => record.primary === 'p1')).toBe(true);
    await peers[0].kill();
    await world.clock.advance(100);
    expect(master.map?.slots.every((record) => record.primary === 'p2')).toBe(true);
    expect(peers[1].map?.epoch).toBe(master.map?.epoch);
    expect(master.map?.peers[0]?.state).toBe('down');
  });

  it('is not replaced by a member that does not answer after the death', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    peers[1].isFrozen = true;
    await peers[0].kill();
    await world.clock.advance(500);
    expect(master.map?.slots.every((record) => record.primary === 'p1')).toBe(true);
    peers[1].isFrozen = false;
    await world.clock.advance(400);
    expect(master.map?.slots.every((record) => record.primary === 'p2')).toBe(true);
  });

  it('comes back as a new start, and what nobody took over begins a new term', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    await peers[0].kill();
    await peers[1].kill();
    await world.clock.advance(500);
    const before = master.map;
    await peers[1].restart();
    const led = before?.slots.findIndex((record) => record.primary === 'p1') ?? -1;
    await peers[1].join();
    await world.clock.advance(300);
    expect(master.map?.slots[led]?.primary).toBe('p2');
    expect(master.map?.peers[1]).toMatchObject({ state: 'up', incarnation: 2 });
  });
});

describe('a frozen primary', () => {
  it('is suspect after 600 ms, and replaced within 1.2 s', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    peers[0].isFrozen = true;
    await world.clock.advance(850);
    expect(master.watch.membership.members.get('p1')?.state).toBe('suspect');
    expect(master.map?.slots.some((record) => record.primary === 'p1')).toBe(true);
    await world.clock.advance(350);
    expect(master.map?.slots.every((record) => record.primary === 'p2')).toBe(true);
  });

  it('is up again when it answers', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    peers[0].isFrozen = true;
    await world.clock.advance(1500);
    expect(master.map?.peers[0]?.state).toBe('down');
    peers[0].isFrozen = false;
    await world.clock.advance(1500);
    expect(master.map?.peers[0]?.state).toBe('up');
  });
});

/** p1 leads alone and answers no ping, so it counts as down; p2 has come back and is joining. */
async function startDeafLeader() {
  const world = new World();
  const { master, peers } = await startPair(world, new MemoryFiles());
  await peers[1].request('goodbye', {});
  await peers[1].join();
  await world.clock.advance(1000);
  peers[0].isFrozen = true;
  await world.clock.advance(1500);
  return { world, master, peers };
}

it('S3: who counts as down adds nobody who would be promoted over it at once, until it answers', async () => {
  const { world, master, peers } = await startDeafLeader();
  expect(master.map?.peers[0]?.state).toBe('down');
  await peers[0].request('map', { newerThan: 0, waitMs: 0 });
  expect(peers[0].map?.slots[0]).toMatchObject({ primary: 'p1', joining: ['p2'] });
  expect(await refusalOf(peers[0].addJoiners())).toMatchObject({ code: 'not-ready' });
  await world.clock.advance(500);
  expect(master.map?.slots[0]).toMatchObject({ primary: 'p1', inSync: ['p1'] });
  peers[0].isFrozen = false;
  await world.clock.advance(1500);
  await peers[0].addJoiners();
  expect(master.map?.slots[0]).toMatchObject({ primary: 'p1', inSync: ['p1', 'p2'] });
});

it('S7: who asks for a second and cannot be reached adds somebody, who leads from then on', async () => {
  const { world, master, peers } = await startDeafLeader();
  await peers[0].request('map', { newerThan: 0, waitMs: 0 });
  expect(await refusalOf(peers[0].addJoiners())).toMatchObject({ code: 'not-ready' });
  await world.clock.advance(900);
  expect(await refusalOf(peers[0].addJoiners())).toMatchObject({ code: 'not-ready' });
  await world.clock.advance(110);
  const added = peers[0].addJoiners();
  await world.clock.advance(1000);
  await added;
  expect(master.map?.slots[0]).toMatchObject({ primary: 'p2', inSync: ['p2'] });
});

describe('a master that was paused', () => {
  it.each([500, 10_000])('for %d ms condemns nobody', async (pauseMs) => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    const before = master.map;
    await world.clock.pause(pauseMs);
    await world.clock.advance(3000);
    expect(master.map?.slots.map((record) => record.term)).toEqual(before?.slots.map((record) => record.term));
    expect(master.map?.peers.map((peer) => peer.state)).toEqual(['up', 'up']);
    peers[0].isFrozen = true;
    await world.clock.advance(1300);
    expect(master.map?.peers[0]?.state).toBe('down');
  });
});

describe('a restarted master', () => {
  it('goes on with its map, judges nobody for a second, and answers a peer it knows at once', async () => {
    const world = new World();
    const files = new MemoryFiles();
    const { master, peers } = await startPair(world, files);
    const before = master.map;
    await master.stop();
    const again = await world.startMaster(files);
    expect(again.incarnation).toBe(2);
    expect(again.map).toEqual(before);
    await peers[0].join();
    await world.clock.advance(2500);
    expect(again.map?.epoch).toBe(before?.epoch);
    expect(world.fatal).toEqual([]);
  });

  it('replaces a primary that died meanwhile', async () => {
    const world = new World();
    const files = new MemoryFiles();
    const { master, peers } = await startPair(world, files);
    await master.stop();
    await peers[0].kill();
    const again = await world.startMaster(files);
    await world.clock.advance(900);
    expect(again.map?.peers[0]?.state).toBe('up');
    await world.clock.advance(300);
    expect(again.map?.slots.every((record) => record.primary === 'p2')).toBe(true);
  });

  it('stops over a store that is not the newest', async () => {
    const world = new World();
    const files = new MemoryFiles();
    const { master } = await startPair(world, files);
    const old = files.copy();
    const third = await new FakePeer(world, { address: '127.0.0.1:7423', storeId: 'c3' }).listen();
    await third.join();
    await master.stop();
    await world.startMaster(old);
    await world.clock.advance(500);
    expect(world.fatal[0]).toMatchObject({ name: 'DaemonStop', exitCode: 78 });
    expect(String(world.fatal[0])).toContain('not the newest');
  });

  it('stops when peers follow another lineage', async () => {
    const world = new World();
    const { peers } = await startPair(world, new MemoryFiles());
    peers[0].lineage = 'another';
    await world.clock.advance(300);
    expect(world.fatal[0]).toMatchObject({ exitCode: 78 });
  });
});

describe('requests', () => {
  it('that arrive while a commit runs share the next one', async () => {
    const world = new World();
    const files = new MemoryFiles();
    const { master, peers } = await startPair(world, files);
    const led = (id: string) => master.map?.slots.findIndex((record) => record.primary === id) ?? -1;
    await world.clock.advance(6000);
    const slot = led('p1');
    const slotEpoch = master.map?.slots[slot]?.slotEpoch ?? 0;
    let open: (() => void) | undefined;
    files.gate = new Promise((resolve) => {
      open = resolve;
    });
    files.replaced.length = 0;
    const first = peers[0].request('change', { changes: [{ slot, slotEpoch, op: 'remove', peer: 'p2' }] });
    await settle();
    const others = [1, 2, 3].map(() =>
      peers[0].request('change', { changes: [{ slot: slot + 1, slotEpoch, op: 'remove', peer: 'p2' }] }),
    );
    await settle();
    open?.();
    files.gate = undefined;
    await Promise.all([first, ...others]);
    expect(files.replaced.filter((name) => name === 'cluster-map').length).toBeLessThanOrEqual(2);
    expect(master.map?.slots[slot]?.inSync).toEqual(['p1']);
  });

  it('of a goodbye take the peer out of the sets in which others remain', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    await peers[1].request('goodbye', {});
    await world.clock.advance(100);
    expect(master.map?.peers[1]?.state).toBe('down');
    expect(master.map?.slots.every((record) => record.inSync.join() === 'p1')).toBe(true);
    await world.clock.advance(500);
    expect(master.map?.peers[1]?.state).toBe('down');
  });

  it('for a newer map are answered when there is one', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    const epoch = master.map?.epoch ?? 0;
    const none = peers[1].request('map', { newerThan: epoch, waitMs: 100 });
    await world.clock.advance(150);
    expect((await none).payload).toBeUndefined();
    const newer = peers[1].request('map', { newerThan: epoch, waitMs: 1000 });
    await peers[0].request('goodbye', {});
    expect((await newer).header.epoch).toBeGreaterThan(epoch);
  });

  it('of a peer that the map no longer names are refused', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    const rebuilt = new FakePeer(world, { address: peers[1].address, storeId: 'f5' });
    await peers[1].request('goodbye', {});
    await rebuilt.join();
    const epoch = master.map?.epoch;
    expect(await refusalOf(peers[1].request('change', { changes: [] }))).toMatchObject({ code: 'not-ready' });
    expect(master.map?.epoch).toBe(epoch);
  });

  it('that wait for others are refused when the master stops', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    await peers[1].request('goodbye', {});
    const epoch = master.map?.epoch ?? 0;
    const patient = master.commits.change(
      (map) => ({ map: map && withSettings(map, { quarantineMs: 1 }), result: 0 }),
      {
        patienceMs: 500,
      },
    );
    const refused = refusalOf(patient);
    await master.stop();
    expect(await refused).toMatchObject({ code: 'unavailable' });
    await world.clock.advance(1000);
    expect(master.map?.epoch).toBe(epoch);
  });

  it('are refused and not lost when the disk is full, and work again afterwards', async () => {
    const world = new World();
    const files = new MemoryFiles();
    const { master, peers } = await startPair(world, files);
    files.failure = new DfsError('no-space', 'The disk is full');
    const epoch = master.map?.epoch;
    expect(await refusalOf(peers[1].request('goodbye', {}))).toMatchObject({ code: 'no-space' });
    expect(master.map?.epoch).toBe(epoch);
    files.failure = undefined;
    await peers[1].request('goodbye', {});
    expect(world.fatal).toEqual([]);
  });

  it('end the master when its store is broken', async () => {
    const world = new World();
    const files = new MemoryFiles();
    const { peers } = await startPair(world, files);
    files.failure = new StorageFailure('fsync failed');
    expect(await refusalOf(peers[1].request('goodbye', {}))).toMatchObject({ code: 'unavailable' });
    expect(world.fatal[0]).toBe(files.failure);
  });
});

describe('what is told', () => {
  it('shows the cluster as it is', async () => {
    const world = new World();
    const { master } = await startPair(world, new MemoryFiles());
    await world.clock.advance(300);
    expect(master.status()).toMatchObject({
      health: 'healthy',
      replicas: 2,
      files: 6,
      bytes: { logical: 600, stored: 1200 },
      slots: { total: 16, whole: 16 },
      peers: [
        { id: 'p1', state: 'up', files: 3 },
        { id: 'p2', state: 'up' },
      ],
      repair: { slotsLeft: 0, bytesLeft: 0, etaSeconds: 0 },
    });
  });

  it('lists what happened, in order, and waits for more', async () => {
    const world = new World();
    const { master, peers } = await startPair(world, new MemoryFiles());
    const kinds = master.events.after(0, 100).map((event) => event.kind);
    expect(kinds.slice(0, 3)).toEqual(['master-started', 'cluster-created', 'peer-joined']);
    const last = master.events.after(0, 100).at(-1)?.seq ?? 0;
    const waiting = peers[1].request('map', { newerThan: 1, waitMs: 0 });
    await waiting;
    const more = master.events.next(new AbortController().signal);
    await peers[0].kill();
    await world.clock.advance(200);
    await more;
    const news = master.events.after(last, 100).map((event) => event.kind);
    expect(news).toContain('peer-down');
    expect(news).toContain('promoted');
    expect(world.handedOut.length).toBeGreaterThan(3);
  });

  it('is wished for when a steady peer should lead', async () => {
    const world = new World();
    const { peers } = await startPair(world, new MemoryFiles());
    await world.clock.advance(6000);
    expect(peers[0].wishes.length).toBeGreaterThan(0);
    expect(peers[0].wishes.every((wish) => wish.to === 'p2')).toBe(true);
  });
});
