import { describe, expect, it } from 'vitest';
import type { SlotRecord } from '../../../src/cluster/map.js';
import { type Deferred, defer } from '../../../src/core/deferred.js';
import { DfsError } from '../../../src/core/errors.js';
import type { PeerId } from '../../../src/core/ids.js';
import { takePayloadMemory } from '../../../src/core/payload-memory.js';
import { Commits, noContent } from '../../../src/peer/commit.js';
import type { Comparison } from '../../../src/peer/comparison.js';
import type { Copies } from '../../../src/peer/copies.js';
import { keyOfName, toEntry } from '../../../src/peer/entry.js';
import type { EntryIndex } from '../../../src/peer/entry-index.js';
import { join } from '../../../src/peer/joining.js';
import { LedSlot } from '../../../src/peer/led-slot.js';
import type { OldIds } from '../../../src/peer/old-ids.js';
import type { LinkRequest, ReplicaLink } from '../../../src/peer/replica-link.js';

interface Sent {
  readonly peer: PeerId;
  readonly name: string;
  readonly answer: Deferred<unknown>;
}

const file = { bucket: 'files', name: 'a' };
const key = keyOfName(file);

function record(more: Partial<SlotRecord> = {}): SlotRecord {
  return { slotEpoch: 5, term: 5, primary: 'p1', inSync: ['p1', 'p2', 'p3'], joining: [], ...more };
}

/** A led slot whose replicas answer when the test says so. */
function ledSlot(of: SlotRecord = record()) {
  const sent: Sent[] = [];
  const linkTo = (peer: PeerId): ReplicaLink =>
    ({
      request: (name: string, _header: () => object, options: LinkRequest) => {
        if (!options.wanted()) return Promise.reject(new DfsError('cancelled', 'no longer asked'));
        const answer = defer<unknown>();
        sent.push({ peer, name, answer });
        return answer.promise;
      },
      grantedAtMs: () => 0,
    }) as unknown as ReplicaLink;
  const led = new LedSlot({ me: 'p1', nowMs: () => 0, linkTo, onNewerRecordSomewhere: () => undefined }, 0, of);
  led.startServing();
  const waiting = (peer: PeerId, name: string): Sent | undefined =>
    sent.find((each) => each.peer === peer && each.name === name);
  return {
    led,
    sent,
    waiting,
    peersOf: (name: string) => sent.filter((each) => each.name === name).map((s) => s.peer),
  };
}

function commitsOf(
  settled: PeerId[],
  settle: (peer: PeerId) => Promise<number> = async () => 0,
  mapDurable = async (): Promise<void> => undefined,
  lookup = (): object => ({ state: 'absent' }),
) {
  const written: string[] = [];
  const index = { write: async () => written.push('entry'), lookup } as unknown as EntryIndex;
  const copies = { stage: async () => ({ where: 'none' }), discard: async () => undefined } as unknown as Copies;
  const settleKey = (_led: LedSlot, peer: PeerId): Promise<number> => {
    settled.push(peer);
    return settle(peer);
  };
  const comparison = { settleKey } as unknown as Comparison;
  const parts = { me: () => 'p1', replicasWanted: () => 3, minInSync: () => 1, mapDurable };
  return { commits: new Commits({ index, copies, comparison, ...parts }), written };
}

function tombstone(led: LedSlot) {
  return toEntry(key, 'tombstone', led.nextVersion(), { ...file, deletedAtMs: 0 });
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const full = new DfsError('no-space', 'full');

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: DfsError) => error.code,
  );
}

describe('a write', () => {
  it('gives the memory of its bytes back when none of them is on its way any more, and not before', async () => {
    const written = async (isLeaving: boolean): Promise<boolean> => {
      const { led, waiting } = ledSlot();
      const bytes = takePayloadMemory(7 * 1024 * 1024);
      const done = commitsOf([]).commits.commit(led, [tombstone(led)], { bytes, sums: new Uint8Array(0) });
      waiting('p2', 'replicate')?.answer.resolve({});
      if (isLeaving) led.adopt(record({ slotEpoch: 6, inSync: ['p1', 'p2'] }));
      else waiting('p3', 'replicate')?.answer.resolve({});
      await done;
      return takePayloadMemory(bytes.length).buffer === bytes.buffer;
    };
    expect(await written(false)).toBe(true);
    expect(await written(true)).toBe(false);
  });

  it('S1, F23: is committed when all who are required hold it, and its receipt counts those', async () => {
    const { led, waiting } = ledSlot();
    const { commits, written } = commitsOf([]);
    const done = commits.commit(led, [tombstone(led)], noContent);
    waiting('p2', 'replicate')?.answer.resolve({});
    await settled();
    expect(written).toEqual([]);
    waiting('p3', 'replicate')?.answer.resolve({});
    expect((await done).copies).toEqual({ durable: 3, wanted: 3 });
  });

  it('F23: has a receipt that counts members of the committed set which answered durable, nobody else', () => {
    const { led } = ledSlot();
    const { commits } = commitsOf([]);
    const copiesAt = (...peers: PeerId[]): number =>
      commits.acknowledge(led, { key: new Uint8Array(9), version: led.asOf() }, new Set(peers)).copies.durable;
    expect(copiesAt('p2')).toBe(2);
    expect(copiesAt('p2', 'p3', 'p4')).toBe(3);
  });

  it('F6: waits for nobody whom the map has removed', async () => {
    const { led, waiting } = ledSlot();
    const done = commitsOf([]).commits.commit(led, [tombstone(led)], noContent);
    waiting('p2', 'replicate')?.answer.resolve({});
    led.adopt(record({ slotEpoch: 6, inSync: ['p1', 'p2'] }));
    expect((await done).copies.durable).toBe(2);
  });

  it('F14: is not visible by a record that a restart would forget', async () => {
    const { led, waiting } = ledSlot();
    const mapDurable = defer<void>();
    const { commits, written } = commitsOf([], undefined, () => mapDurable.promise);
    const done = commits.commit(led, [tombstone(led)], noContent);
    waiting('p2', 'replicate')?.answer.resolve({});
    led.adopt(record({ slotEpoch: 6, inSync: ['p1', 'p2'] }));
    await settled();
    expect(written).toEqual([]);
    mapDurable.resolve();
    expect((await done).copies.durable).toBe(2);
    expect(written).toEqual(['entry']);
  });

  it('F6: reaches a replica that becomes required while it is under way', async () => {
    const { led, waiting, peersOf } = ledSlot(record({ inSync: ['p1', 'p2'], joining: ['p4'] }));
    const { commits, written } = commitsOf([]);
    const done = commits.commit(led, [tombstone(led)], noContent);
    led.require('p4');
    expect(peersOf('replicate')).toEqual(['p2', 'p4']);
    waiting('p2', 'replicate')?.answer.resolve({});
    await settled();
    expect(written).toEqual([]);
    waiting('p4', 'replicate')?.answer.resolve({});
    // A pending replica is no member yet.
    expect((await done).copies.durable).toBe(2);
  });

  it('F8: is refused only after every replica it was sent to has rolled back', async () => {
    const { led, waiting } = ledSlot();
    const confirmed = defer<number>();
    const rolledBack: PeerId[] = [];
    const { commits } = commitsOf(rolledBack, (peer) => (peer === 'p3' ? confirmed.promise : Promise.resolve(0)));
    let code = '';
    const done = codeOf(commits.commit(led, [tombstone(led)], noContent)).then((found) => {
      code = found;
    });
    waiting('p2', 'replicate')?.answer.reject(full);
    waiting('p3', 'replicate')?.answer.resolve({});
    await settled();
    expect(rolledBack.sort()).toEqual(['p2', 'p3']);
    expect(code).toBe('');
    confirmed.resolve(0);
    await done;
    expect(code).toBe('no-space');
  });

  it('F8: rolls back no replica to which it may still be under way', async () => {
    const { led, waiting } = ledSlot();
    const rolledBack: PeerId[] = [];
    const code = codeOf(commitsOf(rolledBack).commits.commit(led, [tombstone(led)], noContent));
    waiting('p2', 'replicate')?.answer.reject(full);
    await settled();
    expect(rolledBack).toEqual(['p2']);
    waiting('p3', 'replicate')?.answer.resolve({});
    expect(await code).toBe('no-space');
    expect(rolledBack).toEqual(['p2', 'p3']);
  });

  it('F8: is not sent again to a replica that may have rolled it back', async () => {
    const { led, waiting, peersOf } = ledSlot();
    const code = codeOf(commitsOf([]).commits.commit(led, [tombstone(led)], noContent));
    waiting('p2', 'replicate')?.answer.reject(full);
    await settled();
    led.adopt(record({ slotEpoch: 6 }));
    expect(peersOf('replicate')).toEqual(['p2', 'p3']);
    waiting('p3', 'replicate')?.answer.resolve({});
    expect(await code).toBe('no-space');
  });

  it('F8: has an unknown outcome when a roll-back is not confirmed', async () => {
    const { led, waiting } = ledSlot();
    const { commits } = commitsOf([], () => Promise.reject(full));
    const code = codeOf(commits.commit(led, [tombstone(led)], noContent));
    waiting('p2', 'replicate')?.answer.reject(full);
    waiting('p3', 'replicate')?.answer.resolve({});
    expect(await code).toBe('unknown-outcome');
  });

  it('F8, F10: has an unknown outcome when an entry that became unreadable was replaced by it', async () => {
    for (const found of [{ state: 'damaged' }, { state: 'present', entry: { version: { epoch: 5, counter: 1 } } }]) {
      const { led, waiting } = ledSlot();
      const { commits } = commitsOf([], undefined, undefined, () => found);
      const entry = { ...tombstone(led), version: { epoch: 5, counter: 1 } };
      const code = codeOf(commits.commit(led, [entry], noContent));
      waiting('p2', 'replicate')?.answer.reject(full);
      waiting('p3', 'replicate')?.answer.resolve({});
      expect(await code).toBe('unknown-outcome');
    }
  });

  it('F9: has an unknown outcome when its term ends', async () => {
    const { led } = ledSlot();
    const code = codeOf(commitsOf([]).commits.commit(led, [tombstone(led)], noContent));
    led.stepDown();
    expect(await code).toBe('unknown-outcome');
  });
});

describe('a joining replica', () => {
  const joiner = record({ inSync: ['p1'], joining: ['p2'] });

  async function joining(of: SlotRecord = joiner) {
    const { led } = ledSlot(of);
    const comparisons: Deferred<{ keys: number; bytes: number }>[] = [];
    const asked: string[] = [];
    const comparison = {
      settleSlot: () => {
        const next = defer<{ keys: number; bytes: number }>();
        comparisons.push(next);
        return next.promise;
      },
    } as unknown as Comparison;
    const askToAdd = async ({ storeId }: { storeId: string }): Promise<void> => {
      asked.push(`add ${storeId}`);
      led.adopt(record({ slotEpoch: led.record.slotEpoch + 1, inSync: ['p1', 'p2'] }));
    };
    const oldIds = { dropAt: async () => undefined } as unknown as OldIds;
    const ended = join({ comparison, oldIds, storeOf: () => 'store-2', askToAdd }, led, 'p2', { keys: 0, bytes: 0 });
    await settled();
    return { led, comparisons, asked, ended };
  }

  it('F6: is added only after the second comparison, by the store that answered it', async () => {
    const { led, comparisons, asked, ended } = await joining();
    expect(led.isPending('p2')).toBe(false);
    comparisons[0]?.resolve({ keys: 3, bytes: 0 });
    await settled();
    expect(led.isPending('p2')).toBe(true);
    expect(asked).toEqual([]);
    comparisons[1]?.resolve({ keys: 0, bytes: 0 });
    await ended;
    expect(asked).toEqual(['add store-2']);
  });

  it('F6: is compared again only when every write begun before has ended', async () => {
    const { led, comparisons } = await joining();
    const change = defer<void>();
    const ended = led.during(() => change.promise);
    comparisons[0]?.resolve({ keys: 0, bytes: 0 });
    await settled();
    expect(led.isPending('p2')).toBe(true);
    expect(comparisons).toHaveLength(1);
    change.resolve();
    await ended;
    await settled();
    expect(comparisons).toHaveLength(2);
  });

  it('F6: that the map dropped and named again meanwhile is not added by what was compared before', async () => {
    const { led, comparisons, asked, ended } = await joining();
    comparisons[0]?.resolve({ keys: 0, bytes: 0 });
    await settled();
    led.adopt({ ...joiner, slotEpoch: 6, joining: [] });
    led.adopt({ ...joiner, slotEpoch: 7 });
    comparisons[1]?.resolve({ keys: 0, bytes: 0 });
    await ended;
    expect(asked).toEqual([]);
    expect(led.isPending('p2')).toBe(false);
  });

  it('F17: stays required until a record no longer has it joining', () => {
    const { led } = ledSlot(joiner);
    led.require('p2');
    led.adopt({ ...joiner, slotEpoch: 6 });
    expect(led.required()).toEqual(['p2']);
    led.adopt({ ...joiner, slotEpoch: 7, joining: [] });
    expect(led.required()).toEqual([]);
  });

  it('F24: makes its primary not alone from the moment it is pending', () => {
    const { led } = ledSlot(joiner);
    expect(led.isAlone()).toBe(true);
    led.require('p2');
    expect(led.isAlone()).toBe(false);
  });
});

describe('versions', () => {
  it('F27: rise within a term, also over a newer record and after a roll-back', async () => {
    const { led, waiting } = ledSlot();
    const first = led.nextVersion();
    const code = codeOf(commitsOf([]).commits.commit(led, [tombstone(led)], noContent));
    for (const peer of ['p2', 'p3']) waiting(peer, 'replicate')?.answer.reject(full);
    await code;
    led.adopt(record({ slotEpoch: 6 }));
    const last = led.nextVersion();
    expect([first, last]).toEqual([
      { epoch: 5, counter: 1 },
      { epoch: 6, counter: 3 },
    ]);
    expect(led.asOf()).toEqual(last);
  });
});
