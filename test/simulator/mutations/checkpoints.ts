/**
 * Bugs of checkpoints: what one needs is removed, or was never in it.
 */
import type { Focus, Mutation } from './mutation.js';

/** Files of several segments come and go all the time, and whatever may go is swept within seconds. */
const comingAndGoing: Focus = {
  setting: {
    sweepAfterMs: 2500,
    replacedGraceMs: 1500,
    quarantineMs: 1000,
    slots: 8,
    peers: 3,
    replicas: 2,
    minInSync: 1,
  },
  faults: ['slow-disk', 'slow-link', 'cut-client'],
  actions: [
    { kind: 'operate', wish: { of: 'checkpoint', op: 'create' } },
    { kind: 'put', sizeBytes: 1_200_000 },
    { kind: 'put', sizeBytes: 100_000 },
    { kind: 'delete' },
  ],
};

export const checkpointMutations: readonly Mutation[] = [
  {
    name: 'file-removed-that-a-checkpoint-needs',
    rules: ['S1'],
    breaks: 'Replaced files go when their grace is over, whatever checkpoints name.',
    edits: [{ file: 'src/peer/sweeper.js', find: 'if (checkpoints.needs(toHex(key))) {', replace: 'if (false) {' }],
    focus: comingAndGoing,
  },
  {
    name: 'checkpoint-without-late-segments',
    rules: ['S1'],
    breaks: 'A record that was copied late names segments that came to other peers after their index was copied.',
    edits: [{ file: 'src/peer/checkpoints.js', find: 'await this.#addArrived(hold, copy);', replace: '' }],
    focus: comingAndGoing,
  },
  {
    name: 'sweeps-go-on-during-a-checkpoint',
    rules: ['F13'],
    breaks: 'Segments of a file that was copied with its record go before their own index is copied.',
    edits: [
      {
        file: 'src/peer/uploads.js',
        find: 'if (this.#parts.checkpoints.isHolding) return nowMs + askTimeoutMs;',
        replace: '',
      },
      // What a copy names is kept once it is there; this is about what was gone by then.
      {
        file: 'src/peer/sweeper.js',
        find: 'row.dueMs > clock.nowMs() || checkpoints.isHolding',
        replace: 'row.dueMs > clock.nowMs()',
      },
    ],
    focus: comingAndGoing,
  },
];
