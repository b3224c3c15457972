/**
 * Bugs of a write: who must hold it before anybody is told, and how it is taken back (F8, F16, F23, S1).
 */
import type { Focus, Mutation } from './mutation.js';

const losingPrimaries: Focus = {
  setting: { peers: 3, replicas: 2, minInSync: 1, slots: 1 },
  faults: ['isolate', 'cut-primary', 'crash-primary', 'cut-master', 'pause-primary'],
  points: ['replicated', 'allReplicasAnswered', 'ownEntryCommitted', 'acknowledging'],
};

/** Replicas say no to some writes, large ones among them, which others hold. */
const refusing: Focus = {
  setting: { peers: 3, replicas: 3, minInSync: 1, slots: 1 },
  faults: ['full-once', 'full-disk', 'refused-slowly', 'refused-slowly', 'refused-late', 'refused-unheard'],
  actions: [{ kind: 'put', sizeBytes: 70_000 }, { kind: 'put', sizeBytes: 1_200_000 }, { kind: 'get' }],
  points: ['replicated', 'replicaCommitted', 'replicaStaged', 'rolledBack', 'settled'],
};

export const writingMutations: readonly Mutation[] = [
  {
    name: 'acknowledges-alone-before-the-set-change',
    rules: ['S1', 'S3'],
    breaks: 'A primary whose replica is silent acknowledges without it before the map has taken it out of the set.',
    edits: [
      {
        file: 'src/peer/led-slot.js',
        find: 'this.#record.inSync.filter((peer) => peer !== this.#world.me);',
        replace: 'this.#record.inSync.filter((peer) => peer !== this.#world.me && !this.#world.linkTo(peer).isDead);',
      },
    ],
    focus: losingPrimaries,
  },
  {
    name: 'primary-commits-before-its-replicas',
    rules: ['S1', 'S4'],
    breaks: 'The primary makes a write visible before its replicas hold it: it is read, and lost with the primary.',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: 'const [staged, replicated] = await Promise.allSettled([staging, complete]);',
        replace: `const early = Promise.resolve(staging).then(async (placed) => {
            const entry = { ...first, placed };
            await index.write(led.fence(), [entry, ...others.map((each) => ({ ...each, placed: noPlace }))], mark);
            return placed;
          });
          const [staged, replicated] = await Promise.allSettled([early, complete]);`,
      },
    ],
    focus: losingPrimaries,
  },
  {
    name: 'primary-acknowledges-before-its-commit',
    rules: ['S1', 'S2'],
    breaks: 'The client is told before the own entry of the primary is durable and visible.',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: 'await index.write(led.fence(), stored, mark).catch(onOwnCommitFailed);',
        replace: 'index.write(led.fence(), stored, mark).catch((error) => error);',
      },
    ],
    focus: { faults: ['slow-disk', 'crash-primary', 'crash-all'] },
  },
  {
    name: 'replica-answers-before-its-commit',
    rules: ['S1'],
    breaks: 'A replica says that it holds a write before that is on its disk.',
    edits: [
      {
        file: 'src/peer/replica.js',
        find: 'const [isNew] = await copies.orDiscard(placed, index.write(fence, stored, mark));',
        replace: `index.write(fence, stored, mark).catch((error) => error);
          const isNew = true;`,
      },
    ],
    focus: { setting: { peers: 3, replicas: 2, slots: 1 }, faults: ['slow-disk', 'crash-all', 'crash-twice', 'flap'] },
  },
  {
    name: 'replica-keeps-nothing-it-acknowledged',
    rules: ['S1'],
    breaks: 'A replica answers a write of a segment or small file without storing it.',
    edits: [
      {
        file: 'src/peer/replica.js',
        find: 'const [isNew] = await copies.orDiscard(placed, index.write(fence, stored, mark));',
        replace:
          'const [isNew] = stored[0].version.counter % 16 === 0 ? [true] : await index.write(fence, stored, mark);',
      },
    ],
  },
  {
    name: 'acknowledged-below-min-in-sync',
    rules: ['F16', 'F23'],
    breaks: 'A write is acknowledged on fewer copies than min-in-sync (both looks at the count are left out).',
    edits: [
      { file: 'src/peer/commit.js', find: 'if (durable < this.#parts.minInSync()) {', replace: 'if (false) {' },
      { file: 'src/peer/write-path.js', find: 'if (count >= this.#parts.minInSync()) return;', replace: 'return;' },
    ],
    focus: { setting: { peers: 3, replicas: 2, minInSync: 2 }, faults: ['crash', 'cut', 'pause', 'stop'] },
  },
  {
    name: 'retry-answered-below-min-in-sync',
    rules: ['F16'],
    breaks: 'A retry is answered from the table of request ids although too few copies are in sync.',
    edits: [
      {
        file: 'src/peer/write-path.js',
        find: 'this.#checkCopies(led); if (known !== undefined) return this.#answerRetry(led, { key, mark }, known);',
        replace: `if (known !== undefined) {
            return this.#answerRetry(led, { key, mark }, known);
          }
          this.#checkCopies(led);`,
      },
      {
        file: 'src/peer/commit.js',
        find: 'if (durable < this.#parts.minInSync()) {',
        replace: 'if (durable < this.#parts.minInSync() && !durableAt.has(this.#parts.me())) {',
      },
    ],
    focus: {
      setting: { peers: 2, replicas: 2, minInSync: 2 },
      faults: ['crash', 'cut', 'pause', 'crash-primary', 'flap'],
      actions: [
        { kind: 'put-twice', againAfterMs: 200 },
        { kind: 'put-twice', againAfterMs: 1000 },
      ],
    },
  },
  {
    name: 'receipt-counts-everybody',
    rules: ['F23'],
    breaks: 'A receipt counts whoever answered, also a replica that left the set or is not yet in it.',
    edits: [
      {
        file: 'src/peer/led-slot.js',
        find: 'return this.#record.inSync.filter((peer) => peer === this.#world.me || durable.has(peer)).length;',
        replace: 'return new Set([this.#world.me, ...durable]).size;',
      },
    ],
    focus: { setting: { peers: 3, replicas: 2, slots: 1 }, faults: ['flap', 'crash', 'cut', 'slow-disk'] },
  },
  {
    name: 'refused-although-the-term-ended',
    rules: ['F8'],
    breaks: 'A write is refused although its roll-back was not confirmed: the next primary may keep it.',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: 'if (led.isOver || failed !== undefined) throw outcomeUnknown(failed?.reason ?? cause);',
        replace: '',
      },
    ],
    focus: { ...refusing, faults: ['refused-unheard'], points: [] },
  },
  {
    name: 'refused-without-roll-back',
    rules: ['F8'],
    breaks: 'A write that one replica refused stays at the others.',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: 'for (const { key } of entries) await this.#settleAt(led, peer, key);',
        replace: '',
      },
    ],
    focus: refusing,
  },
  {
    name: 'roll-back-overtakes-the-write',
    rules: ['F8'],
    breaks: 'A roll-back is sent while bytes of the write still wait for credit, and arrives before them.',
    edits: [{ file: 'src/peer/commit.js', find: 'await replication.answeredBy(peer);', replace: '' }],
    focus: {
      setting: { ...refusing.setting, isShortOfMemory: true },
      faults: ['refused-slowly'],
      actions: [{ kind: 'put', sizeBytes: 70_000 }, { kind: 'put', sizeBytes: 70_000 }, { kind: 'delete' }],
    },
  },
  {
    name: 'given-up-write-sent-again',
    rules: ['F8'],
    breaks: 'A write that is being taken back goes to replicas that become required, or have rolled it back.',
    edits: [
      { file: 'src/peer/commit.js', find: 'replication.giveUp();', replace: '' },
      {
        file: 'src/peer/replication.js',
        find: 'this.giveUp(); this.#replicated.reject(error);',
        replace: 'this.#replicated.reject(error);',
      },
    ],
    focus: refusing,
  },
  {
    name: 'sent-write-dropped-at-a-deadline',
    rules: ['F8'],
    breaks: 'A write that has been under way for a second is refused as if it had never been sent.',
    edits: [
      {
        file: 'src/peer/write-path.js',
        find: 'return decide({ led, key, deadlineMs, mark, before });',
        replace: `const busy = this.#parts.serving.busyAfterASecond();
          busy.catch((error) => error);
          return Promise.race([decide({ led, key, deadlineMs, mark, before }), busy]);`,
      },
      {
        file: 'src/peer/serving.js',
        find: 'async untilServing(led, deadlineMs) {',
        replace: `async busyAfterASecond() {
            await sleep(this.#parts.environment.clock, 1000);
            refuse('busy', 'The write took too long');
          }
          async untilServing(led, deadlineMs) {`,
      },
    ],
    focus: { faults: ['slow-disk', 'pause', 'cut', 'crash-master', 'pause-master', 'crash'] },
  },
  {
    name: 'full-primary-refuses-what-replicas-hold',
    rules: ['F8'],
    breaks: 'A primary without room for its own entry refuses a write that all its replicas hold, and goes on.',
    edits: [
      {
        file: 'src/peer/commit.js',
        find: `if (isRefusal(error, 'no-space')) throw new StorageFailure(`,
        replace: 'if (false) throw new StorageFailure(',
      },
    ],
    focus: { ...refusing, faults: ['full-primary', 'full-primary', 'crash-primary'], points: [] },
  },
];
