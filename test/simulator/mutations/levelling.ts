/**
 * Bugs of levelling: what a new primary makes of what its members hold (F2, F3, F10, F25, F28).
 */
import type { Edit, Focus, Mutation } from './mutation.js';

/** A write reaches some replicas only, and two of them lead one after the other. */
const promotedTwice: Focus = {
  setting: { peers: 3, replicas: 3, minInSync: 1, slots: 1 },
  faults: ['crash-twice', 'flap', 'crash-primary', 'cut-primary', 'pause-primary'],
  points: [
    'replicated',
    'replicaCommitted',
    'allReplicasAnswered',
    'afterPromiseBeforeLevelling',
    'levelled',
    'serving',
  ],
};

/** Otherwise a levelling that leaves a difference would go on for ever, and be found by that. */
const oneRound: Edit = {
  file: 'src/peer/levelling.js',
  find: 'return settled.keys === 0;',
  replace: 'return true;',
};

export const levellingMutations: readonly Mutation[] = [
  {
    name: 'no-levelling',
    rules: ['F2', 'S3', 'S4'],
    breaks: 'A new primary serves without making its members equal to itself.',
    edits: [
      {
        file: 'src/peer/levelling.js',
        find: 'const missing = led.required().filter((peer) => !levelled.has(peer));',
        replace: 'const missing = [];',
      },
    ],
    focus: promotedTwice,
  },
  {
    name: 'levelling-that-merges',
    rules: ['F2'],
    breaks: 'What a member has newer than the new primary stays: an unacknowledged stray is served later.',
    edits: [
      {
        file: 'src/peer/comparison.js',
        find: 'const own = await this.#readable(led, their.key); let sent = 0;',
        replace: `const own = await this.#readable(led, their.key);
          if (own !== undefined && their.version !== undefined && compareVersions(their.version, own.version) > 0) {
            return 0;
          }
          let sent = 0;`,
      },
      oneRound,
    ],
    focus: promotedTwice,
  },
  {
    name: 'strays-are-kept',
    rules: ['F2'],
    breaks: 'What the new primary lacks is not dropped at its members.',
    edits: [
      {
        file: 'src/peer/comparison.js',
        find: `await led.ask(peer, 'settle', (fenced) => ({ ...fenced, key, asOf })); return 0;`,
        replace: 'return 0;',
      },
      oneRound,
    ],
    focus: promotedTwice,
  },
  {
    name: 'serves-before-all-are-level',
    rules: ['F28'],
    breaks: 'A new primary serves while its members are still being levelled: what it shows may be lost with it.',
    edits: [
      {
        file: 'src/peer/levelling.js',
        find: 'await Promise.all([levelMembers(parts, led, levelled), oldLeasesRunOut(parts, led)]);',
        replace: `levelMembers(parts, led, levelled).catch((error) => error);
          await oldLeasesRunOut(parts, led);`,
      },
      {
        file: 'src/peer/levelling.js',
        find: 'await levelMembers(parts, led, levelled); if (led.isOver) return;',
        replace: 'if (led.isOver) return;',
      },
    ],
    focus: { ...promotedTwice, faults: ['crash-twice', 'cut-primary', 'slow-disk', 'pause-primary', 'cut'] },
  },
  {
    name: 'min-in-sync-gates-levelling',
    rules: ['F25'],
    breaks: 'A slot with fewer copies than min-in-sync does not begin to serve, so it never gets more.',
    edits: [
      {
        file: 'src/peer/levelling.js',
        find: 'await levelMembers(parts, led, levelled); if (led.isOver) return;',
        replace: `await levelMembers(parts, led, levelled);
          const copiesMin = () => parts.currentMap()?.pool.minInSync ?? 1;
          while (!led.isOver && led.record.inSync.length < copiesMin()) await sleep(parts.environment.clock, 50);
          if (led.isOver) return;`,
      },
    ],
    focus: { setting: { peers: 2, replicas: 2, minInSync: 2 }, faults: ['crash', 'crash-primary', 'stop'] },
  },
  {
    name: 'unreadable-entry-taken-for-absent',
    rules: ['F10', 'S5'],
    breaks: 'An entry that does not match its checksum is taken for a file that does not exist.',
    edits: [
      {
        file: 'src/peer/read-path.js',
        find: `if (found.state === 'absent') return undefined;`,
        replace: `if (found.state !== 'present') return undefined;`,
      },
    ],
    focus: { setting: { peers: 3, replicas: 2 }, faults: ['rot-entry', 'rot-file', 'reset'] },
  },
  {
    name: 'unreadable-entry-deletes-the-good-copies',
    rules: ['F10'],
    breaks: 'A primary whose entry is unreadable has it dropped at its replicas when their keys are compared.',
    edits: [
      {
        file: 'src/peer/comparison.js',
        find: 'return this.#repair.entry(led, key);',
        replace: 'return undefined;',
      },
    ],
    focus: { setting: { peers: 3, replicas: 2, slots: 1 }, faults: ['rot-entry', 'flap', 'crash-twice', 'crash'] },
  },
  {
    name: 'no-as-of-and-old-connections-live',
    rules: ['F3', 'F7'],
    breaks:
      'A copy or drop takes effect however much newer the key is, and bytes of older connections are still read ' +
      '(which alone would hold it back).',
    edits: [
      {
        file: 'src/peer/entry-index.js',
        find: `if (before.state === 'present' && compareVersions(before.entry.version, asOf) > 0) return true;
          changes.change(`,
        replace: 'changes.change(',
      },
      {
        file: 'src/peer/callers.js',
        find: `before.session?.close('replaced by a newer connection of the same caller');`,
        replace: '',
      },
      {
        file: 'src/peer/replica.js',
        find: 'queue = new KeyedQueue();',
        replace: 'queue = { run: (_key, task) => task() };',
      },
    ],
    focus: { ...promotedTwice, faults: ['refused-late', 'late-bytes'], points: [] },
  },
  {
    name: 'no-queue-at-the-replica',
    rules: ['F3'],
    breaks:
      'A replica handles messages of one key at once: a write that is still being staged lands after its roll-back.',
    edits: [
      {
        file: 'src/peer/replica.js',
        find: 'queue = new KeyedQueue();',
        replace: 'queue = { run: (_key, task) => task() };',
      },
    ],
    focus: {
      setting: { peers: 3, replicas: 3, minInSync: 1, slots: 1 },
      faults: ['refused-slowly'],
      actions: [
        { kind: 'put', sizeBytes: 70_000 },
        { kind: 'put', sizeBytes: 100 },
      ],
    },
  },
];
