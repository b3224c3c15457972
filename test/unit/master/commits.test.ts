import { expect, it } from 'vitest';
import type { ClusterMap } from '../../../src/cluster/map.js';
import { createCluster } from '../../../src/cluster/membership.js';
import { withSettings } from '../../../src/cluster/settings.js';
import { DfsError } from '../../../src/core/errors.js';
import { Commits, type Transition } from '../../../src/master/commits.js';
import type { MapStore } from '../../../src/master/map-store.js';
import { ManualClock } from '../manual-clock.js';
import { refusalOf, settle } from './harness.js';

const first: ClusterMap = createCluster({
  ...{ clusterId: 'c1', lineage: 'l1', masterIncarnation: 1, replicas: 2, minInSync: 1, slotCount: 16 },
  ...{ repairGraceMs: 1, quarantineMs: 0 },
});

class HeldStore implements MapStore {
  readonly stored: ClusterMap[] = [];
  readonly #open: (() => void)[] = [];
  answer = true;

  async load(): Promise<ClusterMap | undefined> {
    return first;
  }

  async compareAndSet(_expected: number | undefined, map: ClusterMap): Promise<boolean> {
    await new Promise<void>((resolve) => this.#open.push(resolve));
    this.stored.push(map);
    return this.answer;
  }

  watch(): () => void {
    return () => undefined;
  }

  async finishOne(): Promise<void> {
    this.#open.shift()?.();
    await settle();
  }
}

function setUp() {
  const store = new HeldStore();
  const shown: number[] = [];
  const failures: unknown[] = [];
  const clock = new ManualClock();
  const owner = {
    incarnation: 4,
    clock,
    onCommitted: (_before: ClusterMap | undefined, after: ClusterMap) => void shown.push(after.epoch),
    onFailed: (error: unknown) => void failures.push(error),
  };
  return { store, clock, shown, failures, commits: new Commits(store, owner, first) };
}

const withGrace =
  (repairGraceMs: number): Transition<number> =>
  (map) => ({ map: map && withSettings(map, { repairGraceMs }), result: repairGraceMs });

it('nothing is shown or answered before it is durable', async () => {
  const { store, shown, commits } = setUp();
  let answered = false;
  const change = commits.change(withGrace(2)).finally(() => {
    answered = true;
  });
  await settle();
  expect([shown, answered, commits.map?.epoch]).toEqual([[], false, 1]);
  await store.finishOne();
  expect(await change).toMatchObject({ result: 2, map: { epoch: 2, repairGraceMs: 2, masterIncarnation: 4 } });
  expect(shown).toEqual([2]);
});

it('what is asked while a commit runs shares the next one', async () => {
  const { store, commits } = setUp();
  const changes = [2, 3, 4, 5].map((grace) => commits.change(withGrace(grace)));
  await settle();
  await store.finishOne();
  await store.finishOne();
  await Promise.all(changes);
  expect(store.stored.map((map) => map.repairGraceMs)).toEqual([2, 5]);
});

const patient = { patienceMs: 500 };

it('a patient change is made at once while the map has not changed for a while', async () => {
  const { store, clock, commits } = setUp();
  const first = commits.change(withGrace(2), patient);
  await store.finishOne();
  await first;
  await clock.advance(patient.patienceMs);
  const second = commits.change(withGrace(3), patient);
  await store.finishOne();
  expect((await second).map?.repairGraceMs).toBe(3);
});

it('patient changes wait for each other once the map has changed, and no longer than their patience', async () => {
  const { store, clock, commits } = setUp();
  const first = commits.change(withGrace(2));
  await store.finishOne();
  await first;
  const waiting = [3, 4].map((grace) => commits.change(withGrace(grace), patient));
  await clock.advance(patient.patienceMs - 1);
  expect(store.stored).toHaveLength(1);
  await clock.advance(1);
  await store.finishOne();
  await Promise.all(waiting);
  expect(store.stored.map((map) => map.repairGraceMs)).toEqual([2, 4]);
});

it('a patient change goes with the next one that is not', async () => {
  const { store, commits } = setUp();
  const first = commits.change(withGrace(2));
  await store.finishOne();
  await first;
  const waiting = commits.change(withGrace(3), patient);
  const urgent = commits.change((map) => ({ map: map && withSettings(map, { quarantineMs: 7 }), result: undefined }));
  await settle();
  await store.finishOne();
  expect((await waiting).map).toMatchObject({ repairGraceMs: 3, quarantineMs: 7 });
  await urgent;
  expect(store.stored).toHaveLength(2);
});

it('a patient change that waits is refused when the master ends', async () => {
  const { store, commits } = setUp();
  const first = commits.change(withGrace(2));
  await store.finishOne();
  await first;
  const waiting = refusalOf(commits.change(withGrace(3), patient));
  commits.close();
  expect(await waiting).toMatchObject({ code: 'unavailable' });
});

it('a change that refuses leaves the others alone', async () => {
  const { store, commits } = setUp();
  const busy = commits.change(withGrace(2));
  const refusing: Transition<void> = () => {
    throw new DfsError('not-ready', 'No');
  };
  const refused = refusalOf(commits.change(refusing));
  const other = commits.change(withGrace(3));
  await settle();
  await store.finishOne();
  await store.finishOne();
  expect(await refused).toEqual({ code: 'not-ready', message: 'No' });
  expect((await other).map?.repairGraceMs).toBe(3);
  await busy;
});

it('a change that changes nothing is answered without a write', async () => {
  const { store, commits } = setUp();
  expect(await commits.change(withGrace(1))).toMatchObject({ map: { epoch: 1 } });
  expect(store.stored).toEqual([]);
});

it('a store that somebody else changed ends it all', async () => {
  const { store, failures, commits } = setUp();
  store.answer = false;
  const change = refusalOf(commits.change(withGrace(2)));
  await settle();
  await store.finishOne();
  expect(await change).toMatchObject({ code: 'unavailable' });
  expect(failures[0]).toMatchObject({ exitCode: 78 });
  expect(await refusalOf(commits.change(withGrace(3)))).toMatchObject({ code: 'unavailable' });
});

it('once closed, nothing that still waits is stored', async () => {
  const { store, commits } = setUp();
  const running = commits.change(withGrace(2));
  await settle();
  const waiting = refusalOf(commits.change(withGrace(3)));
  commits.close();
  await store.finishOne();
  expect((await running).result).toBe(2);
  expect(await waiting).toMatchObject({ code: 'unavailable' });
  expect(store.stored).toHaveLength(1);
});
