/**
 * Bugs of what is removed: segments, voids, tombstones, request ids, surplus copies (F13, F15, F19).
 */
import type { Focus, Mutation } from './mutation.js';

/** Uploads that stall for longer than idle ones are kept, of names that others replace. */
const slowUploads: Focus = {
  setting: { sweepAfterMs: 2500, replacedGraceMs: 1500, slots: 4 },
  actions: [
    { kind: 'upload', sizeBytes: 2_500_000, stallAtBytes: 2_200_000, stallMs: 6000, isAbandoned: false },
    { kind: 'upload', sizeBytes: 2_500_000, stallAtBytes: 2_300_000, stallMs: 3000, isAbandoned: false },
    { kind: 'get' },
  ],
};

/** Request ids, and with them tombstones, are kept for seconds, so that a run sees them go. */
const deleting: Focus = {
  setting: { peers: 3, replicas: 2, minInSync: 1, slots: 1, idsKeptForMs: 4500 },
  faults: ['flap', 'crash', 'cut', 'reset', 'pause', 'crash-twice', 'slow-disk'],
  actions: [{ kind: 'delete' }, { kind: 'put-twice', againAfterMs: 1000 }, { kind: 'delete' }, { kind: 'get' }],
  points: ['sweeping', 'idsDropped', 'settled', 'required', 'comparedAgain'],
};

/** Many tombstones are due at once, while faults and writes are under way; the first that goes sets off more. */
const sweepingTombstones: Focus = {
  setting: { ...deleting.setting, idsKeptForMs: 1500 },
  faults: ['join-amid-sweeps', 'fill-at-sweep', 'join-amid-sweeps', 'slow-disk', 'flap'],
  rounds: {
    clients: 4,
    names: 40,
    steps: [
      { action: { kind: 'put', sizeBytes: 100 }, times: 10 },
      { action: { kind: 'delete' }, times: 25 },
      { action: { kind: 'put', sizeBytes: 100 }, at: 'sweeping', times: 3 },
    ],
  },
};

export const sweepingMutations: readonly Mutation[] = [
  {
    name: 'sweep-without-voiding',
    rules: ['F13'],
    breaks: 'The segments of an idle upload go although its commit may still come.',
    edits: [
      {
        file: 'src/peer/uploads.js',
        find: `await this.#parts.commits.commit(led, [toEntry(voidKey, 'void', led.nextVersion(), body)], noContent);`,
        replace: 'void body;',
      },
    ],
    focus: slowUploads,
  },
  {
    name: 'commit-of-a-void-upload',
    rules: ['F13'],
    breaks: 'A commit is taken although its upload is void and its segments are gone.',
    edits: [
      {
        file: 'src/peer/write-path.js',
        find: 'if (header.segments > 1) this.#checkNotVoid(change, header, header.uploadId);',
        replace: '',
      },
    ],
    focus: slowUploads,
  },
  {
    name: 'no-answer-taken-for-void',
    rules: ['F13'],
    breaks: 'A sweeper that gets no answer from the primary of the name removes the segment.',
    edits: [
      {
        file: 'src/peer/uploads.js',
        find: 'const state = await this.#ask({ bucket, name }, uploadId);',
        replace: `const state = (await this.#ask({ bucket, name }, uploadId)) ?? { state: 'void', sinceMs: 0 };`,
      },
    ],
    focus: {
      ...slowUploads,
      setting: { ...slowUploads.setting, peers: 3, replicas: 2, slots: 8 },
      faults: ['crash', 'cut', 'flap', 'stop', 'crash-twice'],
      actions: [{ kind: 'put', sizeBytes: 2_500_000 }, { kind: 'get' }],
    },
  },
  {
    name: 'void-forgotten-early',
    rules: ['F13'],
    breaks: 'A void goes as soon as its segments are gone, and the commit that comes later is taken.',
    edits: [{ file: 'src/peer/sweeper.js', find: 'if (clock.nowMs() < endMs) return endMs;', replace: '' }],
    focus: slowUploads,
  },
  {
    name: 'segments-removed-under-a-reader',
    rules: ['F13', 'S2'],
    breaks: 'The bytes of a replaced or deleted file go at once, while somebody reads them.',
    edits: [
      { file: 'src/peer/uploads.js', find: 'if (nowMs < dueMs) return dueMs;', replace: '' },
      {
        file: 'src/peer/entry-changes.js',
        find: `case 'void': return this.#delays.replacedGraceMs;`,
        replace: `case 'void': return 0;`,
      },
      {
        file: 'src/peer/entry-changes.js',
        find: 'encodeNumber(this.#delays.nowMs + this.#delays.replacedGraceMs)',
        replace: 'encodeNumber(this.#delays.nowMs)',
      },
    ],
    focus: {
      setting: { replacedGraceMs: 600_000, peers: 3, slots: 4 },
      actions: [{ kind: 'put', sizeBytes: 2_500_000 }, { kind: 'get' }, { kind: 'delete' }, { kind: 'get' }],
    },
  },
  {
    name: 'surplus-dropped-by-the-map-alone',
    rules: ['F15', 'S10'],
    breaks:
      'A peer deletes its copy because the map it has does not name it, without asking the primary and without a ' +
      'look at what it has promised since (which alone would hold it back).',
    edits: [
      {
        file: 'src/peer/surplus.js',
        find: 'if (!(await this.#isAllowed(map, slot, record))) return;',
        replace: '',
      },
      {
        file: 'src/peer/surplus.js',
        find: 'const fence = { slot, slotEpoch: record.slotEpoch };',
        replace: 'const fence = { slot, slotEpoch: index.promiseOf(slot) };',
      },
    ],
    focus: {
      setting: { peers: 3, replicas: 2, minInSync: 1, quarantineMs: 1000 },
      faults: ['deafen-joiner', 'flap', 'deafen-joiner', 'crash', 'cut', 'crash-master'],
    },
  },
  {
    name: 'tombstone-swept-at-the-primary-first',
    rules: ['F19'],
    breaks: 'The primary forgets a tombstone before its replicas do: digests stay unequal, or a deleted file returns.',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: `await Promise.all(led.required().map(drop));
          try { return await this.#parts.index.remove(led.fence(), entry.key, entry.version);`,
        replace: `const removed = await this.#parts.index.remove(led.fence(), entry.key, entry.version);
          await Promise.all(led.required().map(drop));
          try { return removed;`,
      },
    ],
    focus: sweepingTombstones,
  },
  {
    name: 'tombstone-swept-before-its-ids',
    rules: ['F19'],
    breaks: 'A tombstone goes while request ids of its key are kept.',
    edits: [
      {
        file: 'src/peer/sweeper.js',
        find: 'if (this.#parts.index.idDigests(entry.key).length > 0) return this.#parts.clock.nowMs() + againMs;',
        replace: '',
      },
      {
        file: 'src/peer/entry-changes.js',
        find: 'return timing.idKeepMs + timing.idTableMs;',
        replace: 'return 500;',
      },
    ],
    focus: deleting,
  },
  {
    name: 'tombstone-swept-while-a-replica-joins',
    rules: ['F19'],
    breaks:
      'A tombstone goes while a replica is being copied to, and its second comparison does not wait for that (the ' +
      'wait alone would make up for it).',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: 'return led.queue.run(queueKeyOf(entry.key), () => led.during(async () => {',
        replace: 'return led.queue.run(queueKeyOf(entry.key), () => (async (sweep) => sweep())(async () => {',
      },
      {
        file: 'src/peer/commit.js',
        find: "if (led.phase !== 'serving' || led.record.joining.length > 0) return false;",
        replace: "if (led.phase !== 'serving') return false;",
      },
    ],
    focus: {
      ...sweepingTombstones,
      setting: { ...sweepingTombstones.setting, peers: 2 },
      faults: ['join-amid-sweeps'],
    },
  },
  {
    name: 'sweep-of-whatever-is-there',
    rules: ['F19'],
    breaks: 'A sweep has replicas drop the key without a look whether it is still the tombstone it was meant for.',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: `if (found.state !== 'present' || compareVersions(found.entry.version, entry.version) !== 0)
          return false;`,
        replace: `if (found.state !== 'present') return false;`,
      },
    ],
    focus: sweepingTombstones,
  },
  {
    name: 'id-tables-dropped-by-the-replicas-clock',
    rules: ['F1'],
    breaks: 'Every replica drops old request ids when its own clock says so: digests differ, late retries run again.',
    edits: [
      {
        file: 'src/peer/sweeper.js',
        find: 'const below = oldIds.keptFrom();',
        replace: `const below = oldIds.keptFrom();
          const { index } = this.#parts;
          for (let slot = 0; slot < index.slotCount; slot++) {
            const fence = { slot, slotEpoch: index.promiseOf(slot) };
            if (fence.slotEpoch > 0) await index.dropIds(fence, below);
          }`,
      },
    ],
    focus: deleting,
  },
];
