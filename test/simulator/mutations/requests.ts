/**
 * Bugs of request ids and of what clients make of answers: one request, one effect, no false success (F1, F5, F7, S6).
 */
import type { Edit, Focus, Mutation } from './mutation.js';

/** The same request again, sooner or later, with other changes and promotions in between. */
const lateRetries: Focus = {
  setting: { peers: 3, replicas: 2, minInSync: 1, slots: 1 },
  faults: ['crash-primary', 'crash-twice', 'stop', 'pause-primary', 'reset', 'flap'],
  actions: [
    { kind: 'put-twice', againAfterMs: 200 },
    { kind: 'delete' },
    { kind: 'put-twice', againAfterMs: 1000 },
    { kind: 'put', sizeBytes: 100 },
  ],
  points: ['settled', 'ownEntryCommitted', 'acknowledging', 'allReplicasAnswered', 'replicated'],
};

/** What is under way when a primary dies reaches one replica, and the next primary dies while it levels that. */
const tornWrites: Focus = {
  setting: { peers: 3, replicas: 3, minInSync: 1, slots: 1 },
  faults: ['torn-write', 'torn-write', 'refused-and-gone'],
  actions: [{ kind: 'put', sizeBytes: 100 }, { kind: 'put', sizeBytes: 70_000 }, { kind: 'get' }],
};

/** Requests that come late, when what they ask for is possible again. */
const lateConditions: Focus = {
  setting: { peers: 3, replicas: 2, minInSync: 1, slots: 1 },
  actions: [{ kind: 'put', sizeBytes: 100, condition: 'if-absent' }, { kind: 'delete' }],
};

/** Otherwise ids that differ would be levelled without end, and be found by that. */
const digestsWithoutIds: Edit = {
  file: 'src/peer/request-ids.js',
  find: 'return xxh64(Buffer.concat([key, row.id, encodeVersion(row.version)]));',
  replace: 'return 0n;',
};

export const requestMutations: readonly Mutation[] = [
  {
    name: 'digests-without-ids',
    rules: ['F1'],
    breaks: 'Digests do not count request ids: replicas that differ in ids alone are taken for equal.',
    edits: [digestsWithoutIds],
    focus: lateRetries,
  },
  {
    name: 'ids-not-levelled',
    rules: ['F1'],
    breaks: 'Levelling and resync make records equal, but not the ids of older requests.',
    edits: [
      {
        file: 'src/peer/comparison.js',
        find: `if (own !== undefined) await this.#sendNewerIds(led, peer, their, own);
          await this.#settleIds(led, peer, their.key);`,
        replace: '',
      },
      digestsWithoutIds,
    ],
    focus: lateRetries,
  },
  {
    name: 'ids-kept-after-roll-back',
    rules: ['F1'],
    breaks: 'The id of a change that is taken back stays: its retry is told "done" for a write that is gone.',
    edits: [
      {
        file: 'src/peer/entry-index.js',
        find: 'changes.dropIdsAbove(key, entry?.version ?? noVersion);',
        replace: '',
      },
      {
        file: 'src/peer/comparison.js',
        find: 'await this.#changeIds(led, peer, { key, puts: [], drops: [...theirs.values()] });',
        replace: '',
      },
      digestsWithoutIds,
    ],
    focus: { ...lateRetries, setting: { ...lateRetries.setting, replicas: 3 } },
  },
  {
    name: 'ids-taken-back-in-a-second-step',
    rules: ['F1'],
    breaks: 'A record is taken back in one step and its id in another: a promotion in between answers its retry.',
    edits: [
      {
        file: 'src/peer/entry-index.js',
        find: 'changes.dropIdsAbove(key, entry?.version ?? noVersion);',
        replace: '',
      },
    ],
    focus: tornWrites,
  },
  {
    name: 'copy-without-its-request-id',
    rules: ['F1'],
    breaks: 'A copied record comes without the id that wrote it, which follows later: a retry in between runs again.',
    edits: [
      {
        file: 'src/peer/comparison.js',
        find: 'const mark = toWireMark(this.#index.markOf(own.key, own.version));',
        replace: 'const mark = {};',
      },
    ],
    focus: tornWrites,
  },
  {
    name: 'ids-die-when-overwritten',
    rules: ['F1'],
    breaks: 'A change forgets the ids of those before it on its key: a late retry of one of them runs again.',
    edits: [
      {
        file: 'src/peer/entry-index.js',
        find: 'changes.putId(first.key, {',
        replace: 'changes.dropIdsAbove(first.key, noVersion); changes.putId(first.key, {',
      },
    ],
    focus: lateRetries,
  },
  {
    name: 'ids-die-with-the-tombstone',
    rules: ['F1'],
    breaks: 'A delete forgets the ids of the record it ends: a late retry of its put brings the file back.',
    edits: [
      {
        file: 'src/peer/entry-index.js',
        find: 'changes.putId(first.key, {',
        replace: `if (first.kind === 'tombstone') changes.dropIdsAbove(first.key, noVersion);
          changes.putId(first.key, {`,
      },
    ],
    focus: lateRetries,
  },
  {
    name: 'request-ids-not-replicated',
    rules: ['F1', 'S6'],
    breaks: 'Replicas store a change without its request id: after a failover its retry runs again.',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: '...toWireMark(mark),',
        replace: '',
      },
    ],
    focus: lateRetries,
  },
  {
    name: 'conditions-before-the-queue',
    rules: ['F5'],
    breaks: 'Conditions are checked against what was there before the queue: two if-absent writes both succeed.',
    edits: [
      {
        file: 'src/peer/write-path.js',
        find: `const led = await this.#parts.serving.route(header, deadlineMs);
          return led.queue.run(queueKeyOf(key), async () => { // Not before`,
        replace: `const led = await this.#parts.serving.route(header, deadlineMs);
          const early = this.#parts.index.lookup(key);
          return led.queue.run(queueKeyOf(key), async () => { // Not before`,
      },
      {
        file: 'src/peer/write-path.js',
        find: 'const found = this.#parts.index.lookup(key); const entry = found',
        replace: 'const found = early; const entry = found',
      },
    ],
    focus: {
      setting: { slots: 1 },
      actions: [{ kind: 'put', sizeBytes: 100, condition: 'if-absent' }, { kind: 'delete' }],
    },
  },
  {
    name: 'id-looked-up-before-the-queue',
    rules: ['F5'],
    breaks: 'A retry that comes while its first attempt is under way does not find its id and runs again.',
    edits: [
      {
        file: 'src/peer/write-path.js',
        find: `const led = await this.#parts.serving.route(header, deadlineMs);
          return led.queue.run(queueKeyOf(key), async () => { // Not before`,
        replace: `const led = await this.#parts.serving.route(header, deadlineMs);
          const early = this.#parts.index.findId(key, header.requestId);
          return led.queue.run(queueKeyOf(key), async () => { // Not before`,
      },
      {
        file: 'src/peer/write-path.js',
        find: 'const known = this.#parts.index.findId(key, header.requestId);',
        replace: 'const known = early;',
      },
    ],
    focus: {
      ...lateRetries,
      actions: [
        { kind: 'put-twice', againAfterMs: 0 },
        { kind: 'put-twice', againAfterMs: 1 },
      ],
    },
  },
  {
    name: 'ids-with-other-content-accepted',
    rules: ['F5'],
    breaks: 'A request id that comes again with other content is told "done" for what it did not do.',
    edits: [
      {
        file: 'src/peer/write-path.js',
        find: 'if (Buffer.compare(known.contentHash, mark.contentHash) !== 0) {',
        replace: 'if (false) {',
      },
    ],
    focus: { actions: [{ kind: 'put-other' }] },
  },
  {
    name: 'older-attempt-forgotten',
    rules: ['F7'],
    breaks: 'A client reports a refusal although an earlier attempt was never answered and may take effect.',
    edits: [
      {
        file: 'src/client/judgement.js',
        find: 'const isOpen = isChange && (wasOpen || (attempt.wasSent && leavesOpen.has(code)));',
        replace: 'const isOpen = isChange && attempt.wasSent && leavesOpen.has(code);',
      },
    ],
    focus: { faults: ['crash-primary', 'crash-all', 'crash', 'isolate', 'pause-many', 'crash-master'] },
  },
  {
    name: 'unknown-told-as-refused',
    rules: ['F7', 'S6'],
    breaks: 'A client whose time is over tells "not done" although an attempt is open.',
    edits: [
      {
        file: 'src/client/judgement.js',
        find: 'if (isOpen) return unknownOutcome(about, last ?? why);',
        replace: '',
      },
    ],
    focus: { faults: ['crash-primary', 'crash-all', 'crash', 'isolate', 'pause-many', 'crash-master'] },
  },
  {
    name: 'new-request-id-for-every-attempt',
    rules: ['S6'],
    breaks: 'Every attempt of a client is a new request, which takes effect again.',
    edits: [
      { file: 'src/client/request-identity.js', find: 'this.#id ??= toTimedId(', replace: 'this.#id = toTimedId(' },
    ],
    focus: { faults: ['crash-primary', 'reset', 'flap', 'pause-primary', 'stop'] },
  },
  {
    name: 'requests-of-another-term-are-served',
    rules: ['F7'],
    breaks: 'A peer serves requests that were routed by an older term of its own, and answered by another peer since.',
    edits: [
      { file: 'src/peer/serving.js', find: 'if (led?.term === routed.term) {', replace: 'if (led !== undefined) {' },
    ],
    focus: { ...lateConditions, faults: ['late-for-its-term'] },
  },
  {
    name: 'older-connections-live',
    rules: ['F7'],
    breaks:
      'A connection of a client that has opened a newer one is still read: what was told "no" there happens here.',
    edits: [
      {
        file: 'src/peer/callers.js',
        find: `before.session?.close('replaced by a newer connection of the same caller');`,
        replace: '',
      },
    ],
    focus: { ...lateConditions, faults: ['late-client'] },
  },
  {
    name: 'reader-does-not-verify',
    rules: ['S5'],
    breaks: 'A reader takes blocks that do not match their checksums, neither as they arrive nor when they are used.',
    edits: [
      {
        file: 'src/client/blocks.js',
        find: 'if (arrivedSums === undefined || !sameBytes(sums, arrivedSums)) {',
        replace: 'if (false) {',
      },
      { file: 'src/protocol/pending-requests.js', find: 'else if (frame.damaged) {', replace: 'else if (false) {' },
    ],
    focus: {
      setting: { peers: 3, replicas: 2, spares: 0, faultsForMs: 20_000 },
      faults: ['rot-file'],
      actions: [{ kind: 'put', sizeBytes: 70_000 }, { kind: 'get' }, { kind: 'get' }, { kind: 'get' }],
    },
  },
];
