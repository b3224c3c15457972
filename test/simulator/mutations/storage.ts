/**
 * Bugs of what is durable, on the disk's side: the simulated stores skip a step that the real ones must not.
 */
import type { Edit, Focus, Mutation } from './mutation.js';

/** What was not synced is lost only when the machine loses its power. */
const powerCuts: Focus = {
  setting: { peers: 3, replicas: 2 },
  faults: ['crash-all', 'crash-primary', 'flap', 'crash-twice', 'crash'],
  points: ['replicaCommitted', 'ownEntryCommitted', 'acknowledging', 'mapDurable', 'promised'],
};

function skipping(step: string): Edit {
  return { file: 'test/simulator/world/memory-disk.js', find: 'skips = {};', replace: `skips = { ${step}: true };` };
}

export const storageMutations: readonly Mutation[] = [
  {
    name: 'acknowledging-before-fsync',
    rules: ['S1'],
    breaks: 'A commit of the index is told to be durable without a sync: a power cut takes it back.',
    edits: [skipping('indexSync')],
    focus: powerCuts,
  },
  {
    name: 'no-file-fsync',
    rules: ['S1'],
    breaks: 'The content of a file is told to be durable without a sync: a power cut leaves it torn or empty.',
    edits: [skipping('fileSync')],
    focus: { ...powerCuts, actions: [{ kind: 'put', sizeBytes: 70_000 }, { kind: 'get' }] },
  },
  {
    name: 'no-folder-fsync',
    rules: ['S1'],
    breaks: 'The folder of a new file is not synced: a power cut forgets that the file was ever there.',
    edits: [skipping('folderSync')],
    focus: { ...powerCuts, actions: [{ kind: 'put', sizeBytes: 70_000 }, { kind: 'get' }] },
  },
  {
    name: 'lost-index-keeps-its-standing',
    rules: ['S1', 'F11'],
    breaks: 'A folder whose index is lost starts an empty one under its old store id, and is in sync by the map.',
    edits: [
      {
        file: 'src/peer/data-folder.js',
        find: 'storeId: toHex(parts.random.bytes(16)),',
        replace: 'storeId: known?.storeId ?? toHex(parts.random.bytes(16)),',
      },
    ],
    focus: { ...powerCuts, faults: ['lose-index', 'flap', 'lose-index', 'crash'] },
  },
  {
    name: 'memory-given-back-too-early',
    rules: ['S5'],
    breaks:
      'The memory of what is being written is given back before it is on the disk: other bytes come to lie in it.',
    edits: [
      {
        file: 'src/peer/replica.js',
        find: 'const placed = await copies.stage(entry, request.payload ?? nothing, sums);\n            this',
        replace:
          'const staging = copies.stage(entry, request.payload ?? nothing, sums); ' +
          'givePayloadMemory(request.payload); request = { ...request, payload: undefined }; ' +
          'const placed = await staging;\n            this',
      },
    ],
    focus: { actions: [{ kind: 'put', sizeBytes: 70_000 }, { kind: 'get' }] },
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
  {
    name: 'adopts-what-it-has-not-read',
    rules: ['S5', 'S7'],
    breaks: 'A file of a lost index is taken for what its header says, whatever its bytes are.',
    edits: [
      {
        file: 'src/peer/copies.js',
        find: "read.state === 'ok' && sameBytes(read.sums, sums) && sameBytes(blockSums(read.bytes), sums)",
        replace: "read.state === 'ok'",
      },
    ],
    focus: {
      setting: { peers: 3, replicas: 2 },
      faults: ['lose-index', 'crash', 'lose-index', 'crash-primary'],
      actions: [{ kind: 'put', sizeBytes: 70_000 }, { kind: 'get' }],
    },
  },
];
