/**
 * Simulated hosts: what ends a process, what a dead one can still do, and that a seed decides everything.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Environment } from '../../../src/core/environment.js';
import { StorageFailure } from '../../../src/core/errors.js';
import { Scenario } from '../../simulator/scenario.js';
import { SimNetwork } from '../../simulator/world/network.js';
import { watchRejections } from '../../simulator/world/rejections.js';
import { SimHost, type Stores } from '../../simulator/world/sim-host.js';
import { World } from '../../simulator/world/virtual-clock.js';

const id = 'a'.repeat(32);
const header = new Uint8Array(4096);
const bytes = new Uint8Array(100);

let world: World;
let stopWatching: () => void;

beforeEach(() => {
  world = new World(1);
  stopWatching = watchRejections(world);
});

afterEach(() => stopWatching());

function hostOf(program: (environment: Environment, stores: Stores) => void): SimHost {
  return new SimHost(new SimNetwork(world), {
    name: '10.0.0.1',
    trace: undefined,
    program: async (environment, stores) => {
      program(environment, stores);
      return { stop: async () => undefined };
    },
  });
}

describe('a process that nobody catches a failure of', () => {
  it.each([
    ['a broken disk', new StorageFailure('The disk broke'), 0],
    ['a bug', new Error('Never thought of'), 1],
  ])('ends by itself: %s', async (_, error, complaintCount) => {
    const host = hostOf(({ clock }) => void clock.after(10, () => void Promise.reject(error)));
    host.start();
    await world.runFor(20);
    expect([host.isRunning, host.endedByItself]).toEqual([false, true]);
    expect(world.complaints).toHaveLength(complaintCount);
  });
});

describe('a process that was killed in the middle of a turn', () => {
  it('has no effect on its disk any more', async () => {
    const host = hostOf(({ clock }, stores) => {
      const store = stores.disk.openBytes(stores.world);
      const files = stores.disk.openSmallFiles(stores.world);
      const index = stores.disk.openIndex(stores.world);
      clock.after(10, () => {
        host.crash();
        void store.create(id, header, bytes);
        void files.replace('map', bytes);
        void index.transact((transaction) => transaction.put('meta', header.subarray(0, 3), bytes));
      });
    });
    host.start();
    await world.runFor(1000);
    expect(host.disk.files.size).toBe(0);
    expect(host.disk.index.durable.keys('meta', { from: new Uint8Array(0) })).toEqual([]);
    host.start();
    host.crash({ isHost: true });
    expect(host.disk.unsyncedCrashes).toBe(0);
  });
});

describe('a host', () => {
  it('loses its power also while no process runs on it', async () => {
    let lost = 0;
    for (let seed = 1; seed <= 40; seed++) {
      world = new World(seed);
      const host = hostOf((_, stores) => void stores.disk.openBytes(stores.world).create(id, header, bytes));
      host.start();
      await world.runFor(0.1);
      host.crash();
      expect(host.disk.files.has(id)).toBe(true);
      host.crash({ isHost: true });
      if (!host.disk.files.has(id)) lost++;
    }
    expect(lost).toBeGreaterThan(5);
  });

  it('has a wall clock that may jump under a running process', async () => {
    let read = (): number => 0;
    const host = hostOf(({ clock }) => {
      read = () => clock.wallMs();
    });
    host.start();
    await world.runFor(1);
    const before = read();
    host.wallAheadMs -= 60_000;
    expect(read() - before).toBe(-60_000);
  });
});

describe('a seed', () => {
  it.each([false, true])('does the same again, and another does something else (codec: %s)', async (usesCodec) => {
    const digestOf = async (seed: number): Promise<string> => {
      const scenario = await Scenario.start({ seed, usesCodec });
      for (let at = 0; at < 5; at++) await scenario.put(`name-${at}`, `content ${at}`);
      scenario.primaryOf('name-0').crash({ isHost: true });
      expect(await scenario.get('name-0')).toBe('content 0');
      return scenario.world.digest;
    };
    const first = await digestOf(1);
    expect(await digestOf(1)).toBe(first);
    expect(await digestOf(2)).not.toBe(first);
  });
});
