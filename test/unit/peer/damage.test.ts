import { expect, it } from 'vitest';
import { sleep } from '../../../src/core/environment.js';
import { refuse } from '../../../src/core/errors.js';
import { KeyedQueue } from '../../../src/core/keyed-queue.js';
import { limits } from '../../../src/core/limits.js';
import { Damage, type DamageParts } from '../../../src/peer/damage.js';
import { type EntryKey, keyOfName, queueKeyOf } from '../../../src/peer/entry.js';
import type { RequestOf } from '../../../src/protocol/messages.js';
import { MemoryDisk } from '../../simulator/world/memory-disk.js';
import { ManualClock, RecordingLog } from '../manual-clock.js';
import { promptWorld } from '../prompt-world.js';

const keyOf = (name: string): EntryKey => keyOfName({ bucket: 'files', name });

function open(
  repair: Partial<DamageParts['repair']>,
  disk: { lookup?: { state: string }; stateOf?: () => string } = {},
) {
  const { lookup = { state: 'present' }, stateOf = () => 'missing' } = disk;
  const clock = new ManualClock();
  const queue = new KeyedQueue();
  const told: RequestOf<'report'>[] = [];
  const record = { slotEpoch: 1 };
  const damage = new Damage({
    environment: { clock, log: new RecordingLog() },
    store: new MemoryDisk().openIndex(promptWorld),
    index: { lookup: () => ({ ...lookup, entry: {} }), slotOf: () => 0 },
    copies: { stateOf: async () => stateOf() },
    repair,
    replica: { queue },
    leadership: { led: () => undefined },
    currentMap: () => ({ slots: [record] }),
    report: (report: RequestOf<'report'>) => void told.push(report),
    onFailure: (error: unknown) => {
      throw error;
    },
  } as unknown as DamageParts);
  return { damage, told, clock, queue, record };
}

it('only a few copies are repaired at once, however many are found bad', async () => {
  let running = 0;
  const { damage, clock } = open({
    replica: () => {
      running++;
      return new Promise(() => undefined);
    },
  });
  for (let at = 0; at < 100; at++) damage.found(keyOf(`name-${at}`));
  for (let turn = 0; turn < 10; turn++) await clock.advance(10);
  expect(damage.count).toBe(100);
  expect(running).toBe(4);
});

it('S5: a copy that its primary settled without any bytes stays written down as bad', async () => {
  let asked = 0;
  const settle = (): Promise<never> => {
    asked++;
    return Promise.resolve({} as never);
  };
  const { damage, told, clock } = open({ replica: settle });
  damage.found(keyOf('a'));
  for (let turn = 0; turn < 10; turn++) await clock.advance(10);
  expect(asked).toBe(1);
  expect(damage.count).toBe(1);
  damage.tell();
  expect(told.map(({ kind }) => kind)).toEqual(['copy-damaged']);
});

it('a name of which every byte must be escaped makes no report too long to be sent', async () => {
  const { damage, told, clock } = open({ replica: () => Promise.resolve(refuse('integrity', 'No')) });
  damage.found(keyOf('\u0001'.repeat(1024)));
  damage.found(keyOf('\u202e'.repeat(341)));
  for (let turn = 0; turn < 10; turn++) await clock.advance(10);
  damage.tell();
  const named = told.flatMap((report) => report.named ?? []);
  expect(named).toHaveLength(2);
  for (const { what } of named) expect(Buffer.byteLength(what)).toBeLessThanOrEqual(limits.copyWordsBytesMax);
});

it('copies that are found bad in one second are told of together, each by its name', async () => {
  const { damage, told, clock } = open({ replica: () => new Promise(() => undefined) });
  for (let at = 0; at < 250; at++) damage.found(keyOf(`name-${at}`));
  for (let turn = 0; turn < 10; turn++) await clock.advance(10);
  expect(told).toEqual([]);
  for (let second = 0; second < 4; second++) damage.tell();
  expect(told.map(({ named }) => named?.length)).toEqual([100, 100, 50]);
  const whats = new Set(told.flatMap(({ named = [] }) => named.map(({ what }) => what)));
  expect(whats.size).toBe(250);
});

it('one that is found bad by many at once is counted and told once, and once more when it is good', async () => {
  let state = 'damaged';
  const { damage, told, clock } = open({ replica: async () => ({}) as never }, { stateOf: () => state });
  for (let finder = 0; finder < 5; finder++) damage.found(keyOf('a'));
  await clock.advance(1);
  expect(damage.count).toBe(1);
  state = 'ok';
  for (let turn = 0; turn < 5; turn++) await clock.advance(1000);
  for (let turn = 0; turn < 5; turn++) {
    await damage.look();
    await clock.advance(10);
  }
  damage.tell();
  expect(damage.count).toBe(0);
  expect(told.map(({ kind, named }) => [kind, named?.length])).toEqual([
    ['copy-damaged', 1],
    ['copy-repaired', 1],
  ]);
});

it('S5: a copy that is just being stored without its bytes stays written down', async () => {
  const lookup = { state: 'absent' };
  const { damage, clock, queue } = open({ replica: () => Promise.resolve(refuse('integrity', 'No')) }, { lookup });
  const key = keyOf('a');
  const stored = queue.run(queueKeyOf(key), async () => {
    await damage.note(key);
    await sleep(clock, 1000);
    lookup.state = 'present';
  });
  for (let turn = 0; turn < 10; turn++) await clock.advance(10);
  const looked = damage.look();
  for (let turn = 0; turn < 10; turn++) await clock.advance(200);
  await Promise.all([stored, looked]);
  expect(damage.count).toBe(1);
});

it('S7: one that nobody could give waits ever longer, but not once others hold its slot', async () => {
  let asked = 0;
  const refusing = (): Promise<never> => {
    asked++;
    return Promise.resolve().then(() => refuse('integrity', 'No'));
  };
  const { damage, clock, record } = open({ replica: refusing });
  damage.found(keyOf('a'));
  const lookFor = async (seconds: number): Promise<void> => {
    for (let second = 0; second < seconds; second++) {
      await clock.advance(1000);
      await damage.look();
    }
  };
  await lookFor(10);
  expect(asked).toBe(4);
  record.slotEpoch = 2;
  await lookFor(1);
  expect(asked).toBe(5);
  await lookFor(10);
  expect(asked).toBe(5);
});
