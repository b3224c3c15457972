/**
 * Bugs of making the map again from the peers after the master has lost it (S9, S10, F14).
 */
import type { Focus, Mutation } from './mutation.js';

/** The master's disk is lost while those who know most are away. */
const lostWithTheMaster: Focus = {
  setting: { peers: 3, replicas: 2, minInSync: 1, slots: 4 },
  faults: ['lose-master-with-primary', 'lose-master-with-primary', 'lose-master', 'crash-primary', 'isolate'],
};

export const recoveryMutations: readonly Mutation[] = [
  {
    name: 'recovered-without-who-is-missing',
    rules: ['F14', 'S1'],
    breaks:
      'A slot does not wait for a peer that its highest known record names: it may have served alone since, and ' +
      'whoever leads now lacks what it acknowledged.',
    edits: [
      {
        file: 'src/cluster/recovery.js',
        find: 'const isComplete = isWaiting(record) && !namedIn(record).some((peer) => unheard.has(peer));',
        replace: `const isComplete = isWaiting(record);
          const [heard] = record.inSync.filter((peer) => !unheard.has(peer));
          if (isComplete && heard !== undefined) return withTerm(record, { primary: heard, epoch });`,
      },
    ],
    focus: lostWithTheMaster,
  },
  {
    name: 'recovered-from-the-older-record',
    rules: ['F14', 'S1'],
    breaks:
      'Of what the peers know the oldest map counts, and newer records in other answers are not looked at (either ' +
      'alone would be made up for): a copy that had left its set leads again.',
    edits: [
      {
        file: 'src/cluster/recovery.js',
        find: '(map.epoch > newest.epoch ? map : newest)',
        replace: '(map.epoch < newest.epoch ? map : newest)',
      },
      {
        file: 'src/cluster/recovery.js',
        find: 'if (!heard.slots.some(knowsMore))',
        replace: 'if (true)',
      },
    ],
    focus: lostWithTheMaster,
  },
  {
    name: 'recovered-in-the-same-generation',
    rules: ['F14', 'S10'],
    breaks: 'The generation of epochs does not rise: the peers know newer maps than the one that was recovered.',
    edits: [
      {
        file: 'src/cluster/recovery.js',
        find: 'epoch: toEpoch({ generation: as.generation, number: 1 })',
        replace: 'epoch: toEpoch({ generation: as.generation - 1, number: 1 })',
      },
    ],
    focus: lostWithTheMaster,
  },
];
