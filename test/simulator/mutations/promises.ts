/**
 * Bugs of fencing and of terms: who may still change what after somebody else was promoted (F3, F4, F9, F27).
 */
import type { Focus, Mutation } from './mutation.js';

const threeCopies: Focus = {
  setting: { peers: 3, replicas: 3, minInSync: 1, slots: 1 },
  faults: ['pause-primary', 'cut-primary', 'crash-twice', 'isolate', 'reset'],
  points: ['replicaStaged', 'replicaCommitted', 'allReplicasAnswered', 'promised', 'afterPromiseBeforeLevelling'],
};

const indexWithoutVersionCheck = {
  file: 'src/peer/entry-index.js',
  find: `if (before.state === 'present' && compareVersions(before.entry.version, entry.version) >= 0) return false;`,
  replace: '',
};

export const promiseMutations: readonly Mutation[] = [
  {
    name: 'promise-not-read-in-transaction',
    rules: ['F4'],
    breaks: 'An index transaction does not look at the promise again, so a stale entry lands after the levelling.',
    edits: [{ file: 'src/peer/entry-index.js', find: 'if (promised > fence.slotEpoch) {', replace: 'if (false) {' }],
    focus: {
      ...threeCopies,
      faults: ['slow-disk', 'slow-disk', 'pause-primary', 'crash-primary', 'cut-primary'],
      actions: [{ kind: 'put', sizeBytes: 70_000 }],
    },
  },
  {
    name: 'promise-forgotten-on-restart',
    rules: ['F4', 'F9'],
    breaks:
      'Promises are not stored, and of the maps only the first ever accepted is (it would stand in for them): a ' +
      'restarted replica answers a deposed primary.',
    edits: [
      {
        file: 'src/peer/entry-index.js',
        find: `transaction.put('promises', key, seal(key, encodeNumber(fence.slotEpoch)));`,
        replace: 'void key;',
      },
      {
        file: 'src/peer/map-keeper.js',
        find: `transaction.put('meta', mapKey, seal(mapKey, encoded));`,
        replace: `if (this.#durable === undefined) transaction.put('meta', mapKey, seal(mapKey, encoded));`,
      },
    ],
    focus: { setting: { peers: 3, slots: 2 }, faults: ['flap', 'pause-primary', 'cut-master', 'crash', 'isolate'] },
  },
  {
    name: 'own-write-without-fence',
    rules: ['F4'],
    breaks:
      'The primary writes its own index whatever was promised since, and over whatever is there (the check of ' +
      'versions would catch it): a deposed primary undoes a newer write on its disk.',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: 'await index.write(led.fence(), stored, mark)',
        replace: 'await index.write({ slot: led.slot, slotEpoch: index.promiseOf(led.slot) }, stored, mark)',
      },
      indexWithoutVersionCheck,
    ],
    // Its own bytes take longer than the answers of the replicas, and meanwhile it is deposed.
    focus: {
      ...threeCopies,
      faults: ['deposed-amid-bytes'],
      points: [],
      actions: [70_000, 100, 100].map((sizeBytes) => ({ kind: 'put', sizeBytes })),
    },
  },
  {
    name: 'members-promise-nothing-durable',
    rules: ['F4'],
    breaks:
      'A member answers the digests of a new primary without a durable promise, and writes over whatever is there ' +
      '(the check of versions would catch it): what it still writes for the old one lands after the levelling.',
    edits: [
      {
        file: 'src/peer/replica.js',
        find: `await this.#parts.index.raisePromise(fence); this.#parts.probe?.at({ point: 'promised', ...fence });
          return { header: { buckets:`,
        replace: 'return { header: { buckets:',
      },
      indexWithoutVersionCheck,
    ],
    // Member and deposed primary have not heard of the new map, and reach each other.
    focus: {
      setting: { ...threeCopies.setting, faultsForMs: 16_000 },
      faults: ['late-for-the-successor'],
      actions: [70_000, 70_000, 100].map((sizeBytes) => ({ kind: 'put', sizeBytes })),
    },
  },
  {
    name: 'answers-from-not-durable-state',
    rules: ['F4', 'S1'],
    breaks: 'Reads see what a commit under way has written, which a crash takes back.',
    edits: [
      {
        file: 'test/simulator/world/memory-index.js',
        find: 'return this.#index.durable.get(table, key);',
        replace: 'return this.#index.working.get(table, key);',
      },
    ],
    focus: { faults: ['slow-disk', 'crash-primary', 'crash-all', 'flap'] },
  },
  {
    name: 'other-term-keeps-going',
    rules: ['F9'],
    breaks: 'A primary that hears of another term goes on instead of stepping down, and never leads a later term.',
    edits: [{ file: 'src/peer/leadership.js', find: 'else this.#stepDown(led);', replace: '' }],
  },
  {
    name: 'same-term-record-ignored',
    rules: ['F9'],
    breaks: 'A newer record of the same term is not adopted: members that left are waited for without end.',
    edits: [{ file: 'src/peer/leadership.js', find: 'led.adopt(record);', replace: 'void record;' }],
  },
  {
    name: 'restart-without-new-term',
    rules: ['F9'],
    breaks: 'A restarted primary goes on in its old term, with its counter at zero: versions name two contents.',
    edits: [
      {
        file: 'src/cluster/membership.js',
        find: 'record.primary === peer.id ? withTerm(record, { primary: peer.id, epoch }) : record',
        replace: 'record',
      },
    ],
    focus: { setting: { peers: 2, replicas: 1 }, faults: ['crash-primary', 'flap', 'crash-all'] },
  },
  {
    name: 'incarnation-not-checked',
    rules: ['F9'],
    breaks: 'A restarted peer leads by the map it had before its crash, with its counter at zero.',
    edits: [
      {
        file: 'src/peer/leadership.js',
        find: 'peer?.storeId === me.storeId && peer.incarnation === me.incarnation;',
        replace: 'peer?.storeId === me.storeId;',
      },
      {
        file: 'src/peer/peer.js',
        find: 'if (this.#maps.map !== undefined) this.#onMap(this.#maps.map);',
        replace: `if (this.#maps.map !== undefined) {
          this.#onMap(this.#maps.map);
          this.#engine.leadership.startLeading(this.#maps.map);
        }`,
      },
    ],
    focus: { faults: ['crash-primary', 'flap', 'crash-all', 'crash-master'] },
  },
  {
    name: 'version-given-twice-after-a-roll-back',
    rules: ['F8', 'F27'],
    breaks: 'A rolled back write gives its version back, which another key may have passed by then.',
    edits: [
      {
        file: 'src/peer/led-slot.js',
        find: 'nextVersion() {',
        replace: 'takeBackVersion() { this.#counter--; } nextVersion() {',
      },
      {
        file: 'src/peer/commit.js',
        find: 'if (led.isOver || failed !== undefined) throw outcomeUnknown(failed?.reason ?? cause);',
        replace: `if (led.isOver || failed !== undefined) throw outcomeUnknown(failed?.reason ?? cause);
          led.takeBackVersion();`,
      },
    ],
    focus: { setting: { slots: 1 }, faults: ['full-once', 'full-disk', 'slow-disk'] },
  },
  {
    name: 'counter-per-key',
    rules: ['F27'],
    breaks: 'Puts count versions for each key alone, so what the slot has given so far is not known to its copies.',
    edits: [
      {
        file: 'src/peer/write-path.js',
        find: 'const version = change.led.nextVersion(); const nowMs =',
        replace: `const { slotEpoch } = change.led.record;
          const last = change.before?.version;
          const version = { epoch: slotEpoch, counter: (last?.epoch === slotEpoch ? last.counter : 0) + 1 };
          const nowMs =`,
      },
    ],
  },
  {
    name: 'write-without-version-check-or-closed-connections',
    rules: ['F3', 'F7'],
    breaks:
      'The bytes of an older connection are read after those of a newer one, and a replica takes an older write ' +
      'over a newer: either alone would be caught by the other.',
    edits: [
      {
        file: 'src/peer/callers.js',
        find: `before.session?.close('replaced by a newer connection of the same caller');`,
        replace: '',
      },
      indexWithoutVersionCheck,
    ],
    focus: { ...threeCopies, faults: ['late-bytes', 'late-bytes', 'reset'], points: [] },
  },
];
