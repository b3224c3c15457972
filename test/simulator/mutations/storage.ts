/**
 * Bugs of what is durable, on the disk's side: the simulated stores skip a step that the real ones must not.
 */
import type { Mutation } from './mutation.js';

export const storageMutations: readonly Mutation[] = [
  {
    name: 'acknowledging-before-fsync',
    rules: ['S1'],
    breaks: 'A commit of the index is told to be durable before it was synced: a crash takes it back.',
    edits: [
      {
        file: 'test/simulator/memory-index.js',
        find: 'await new Promise((resolve) => this.#opening.world.after(this.#opening.world.syncMs(), resolve));',
        replace: `for (const resolve of done) resolve();
          await new Promise((resolve) => this.#opening.world.after(this.#opening.world.syncMs(), resolve));`,
      },
    ],
    focus: { faults: ['slow-disk', 'crash-all', 'crash-primary', 'flap', 'crash-twice'] },
  },
  {
    name: 'entry-before-its-bytes',
    rules: ['S1'],
    breaks: 'An entry is committed while the file with its bytes is still being written.',
    edits: [
      {
        file: 'src/peer/copies.js',
        find: 'await writeSegment(this.#store, fileId, identityOf(entry), bytes, sums);',
        replace: 'writeSegment(this.#store, fileId, identityOf(entry), bytes, sums).catch((error) => error);',
      },
    ],
    focus: {
      faults: ['slow-disk', 'crash-all', 'crash-primary', 'flap', 'full-once'],
      actions: [{ kind: 'put', sizeBytes: 70_000 }, { kind: 'get' }],
    },
  },
];
