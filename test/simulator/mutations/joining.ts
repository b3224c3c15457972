/**
 * Bugs of joining: how a replica without everything comes into the in-sync set (F6, F11, F17).
 */
import type { Edit, Focus, Mutation } from './mutation.js';

/** Replicas leave and come back while there are many writes, some of them slow. */
const comingAndGoing: Focus = {
  setting: { peers: 3, replicas: 2, minInSync: 1, slots: 2 },
  faults: ['crash', 'flap', 'slow-disk', 'cut', 'pause', 'crash-twice'],
  actions: [{ kind: 'put', sizeBytes: 100 }],
  points: ['required', 'comparedAgain', 'askedToAdd', 'settled', 'mapCommitting', 'mapCommitted'],
};

/** The same joiner may go and come back twice. */
const comingAndGoingForLong: Focus = { ...comingAndGoing, setting: { ...comingAndGoing.setting, faultsForMs: 20_000 } };

/** Joiners come back with another store, and the primary may not hear of it before they join again. */
const wipedInBetween: Focus = {
  ...comingAndGoingForLong,
  faults: ['wipe-joiner', 'flap', 'wipe-joiner', 'crash', 'cut', 'wipe-joiner'],
};

const writesAreNotWaitedFor: Edit = {
  file: 'src/peer/joining.js',
  find: 'await led.writesBegunBefore();',
  replace: '',
};

export const joiningMutations: readonly Mutation[] = [
  {
    name: 'required-too-late',
    rules: ['F6'],
    breaks: 'A joiner is required only once it is a member: writes between the comparison and that pass it by.',
    edits: [
      { file: 'src/peer/joining.js', find: 'led.require(peer);', replace: '' },
      {
        file: 'src/peer/joining.js',
        find: 'led.isPending(peer) && isStillJoining(led, peer)',
        replace: 'isStillJoining(led, peer)',
      },
    ],
    focus: comingAndGoing,
  },
  {
    name: 'no-wait-for-older-writes',
    rules: ['F6'],
    breaks: 'The second comparison does not wait for writes that began before the joiner was required.',
    edits: [writesAreNotWaitedFor],
    focus: comingAndGoing,
  },
  {
    name: 'no-second-comparison',
    rules: ['F6'],
    breaks: 'What was written between the copying and the moment the joiner was required is never compared.',
    edits: [
      {
        file: 'src/peer/joining.js',
        find: 'await led.writesBegunBefore(); add(total, await parts.comparison.settleSlot(led, peer));',
        replace: 'await led.writesBegunBefore();',
      },
    ],
    focus: comingAndGoing,
  },
  {
    name: 'joining-copy-outside-the-keys-queue',
    rules: ['F3'],
    breaks: 'A key is copied while a write of it is under way, and the older content replaces the newer.',
    edits: [
      {
        file: 'src/peer/comparison.js',
        find: 'led.queue.run(queueKeyOf(their.key), settle)',
        replace: 'settle()',
      },
    ],
    focus: { ...comingAndGoing, setting: { ...comingAndGoing.setting, slots: 1 } },
  },
  {
    name: 'required-when-the-write-starts',
    rules: ['F6'],
    breaks:
      'Who must hold a write is settled when it starts, and older writes are not waited for (the wait alone would ' +
      'make up for it).',
    edits: [
      {
        file: 'src/peer/replication.js',
        find: 'const required = this.#slot.required();',
        replace: `this.first ??= this.#slot.required();
          const required = this.first.filter((peer) => this.#slot.isHeldBy(peer));`,
      },
      writesAreNotWaitedFor,
    ],
    focus: comingAndGoing,
  },
  {
    name: 'add-names-the-current-store',
    rules: ['F6', 'F11'],
    breaks: 'The master is asked to add whatever store the joiner has by now, also an empty one.',
    edits: [
      {
        file: 'src/peer/joining.js',
        find: 'if (parts.storeOf(peer) !== storeId) return;',
        replace: '',
      },
      {
        file: 'src/peer/joining.js',
        find: 'await parts.askToAdd({ led, peer, storeId, copied: total });',
        replace: 'await parts.askToAdd({ led, peer, storeId: parts.storeOf(peer), copied: total });',
      },
    ],
    focus: wipedInBetween,
  },
  {
    name: 'store-of-an-add-not-checked',
    rules: ['F11'],
    breaks:
      'The master adds a joiner whatever store it has by now, and its primary does not look either (either alone ' +
      'would notice that it was wiped).',
    edits: [
      {
        file: 'src/cluster/slot-changes.js',
        find: '&& change.storeId === known.storeId',
        replace: '',
      },
      {
        file: 'src/peer/joining.js',
        find: 'if (parts.storeOf(peer) !== storeId) return;',
        replace: '',
      },
    ],
    focus: wipedInBetween,
  },
  {
    name: 'add-not-repeated',
    rules: ['F6'],
    breaks: 'An add whose answer is lost is never asked again: the joiner stays required and is never a member.',
    edits: [
      {
        file: 'src/peer/change-lane.js',
        find: 'if (!(await this.#parts.send(batch.map(({ change }) => change)))) {',
        replace: `const isAdding = batch.every(({ change }) => change.op === 'add');
          if (!(await this.#parts.send(batch.map(({ change }) => change))) && !isAdding) {`,
      },
      {
        file: 'src/peer/joining.js',
        find: 'while (storeId !== undefined && led.isPending(peer)',
        replace: 'if (storeId !== undefined && led.isPending(peer)',
      },
      {
        file: 'src/peer/join-queue.js',
        find: 'if (this.#parts.isWanted(led)) this.#waiting.add(led);',
        replace: '',
      },
    ],
    focus: { ...comingAndGoing, faults: ['crash-master', 'cut-master', 'crash', 'flap'] },
  },
  {
    name: 'add-without-being-pending',
    rules: ['F6', 'F17'],
    breaks: 'A joiner that the map dropped and named again is added without a new comparison.',
    edits: [
      {
        file: 'src/peer/joining.js',
        find: 'led.isPending(peer) && isStillJoining(led, peer)',
        replace: 'isStillJoining(led, peer)',
      },
    ],
    focus: { ...comingAndGoingForLong, faults: ['flap', 'cut-master', 'crash', 'pause-master'] },
  },
  {
    name: 'pending-forgotten-too-early',
    rules: ['F17'],
    breaks: 'Any newer record ends that a joiner is required, though the add may be committed already.',
    edits: [
      {
        file: 'src/peer/led-slot.js',
        find: 'if (record.inSync.includes(peer) || !record.joining.includes(peer))',
        replace: 'if (true)',
      },
      {
        file: 'src/peer/joining.js',
        find: 'led.isPending(peer) && isStillJoining(led, peer)',
        replace: 'isStillJoining(led, peer)',
      },
    ],
    focus: { ...comingAndGoing, setting: { peers: 4, replicas: 3, minInSync: 1, slots: 2 } },
  },
  {
    name: 'remove-leaves-the-slot-epoch',
    rules: ['F17'],
    breaks: 'To remove a peer that is no member leaves the slotEpoch as it was: the primary never learns of it.',
    edits: [
      {
        file: 'src/cluster/slot-record.js',
        find: 'if (!record.inSync.includes(peer)) return { ...record, slotEpoch: epoch, joining };',
        replace: 'if (!record.inSync.includes(peer)) return { ...record, joining };',
      },
    ],
    focus: comingAndGoing,
  },
  {
    name: 'stale-changes-apply',
    rules: ['F17', 'F18'],
    breaks: 'The master applies a change that was decided on an older record: a late add of a peer that left since.',
    edits: [
      {
        file: 'src/cluster/slot-changes.js',
        find: `if (before.slotEpoch !== change.slotEpoch) return 'stale';`,
        replace: '',
      },
    ],
    focus: { ...comingAndGoing, faults: ['late-add', 'flap', 'late-add', 'crash'], points: [] },
  },
  {
    name: 'wiped-peer-answers',
    rules: ['F11'],
    breaks:
      'A peer with a new store, and a new id, answers for the one that the map names: receipts count a copy that is ' +
      'gone (a new store under the old id leaves all sets in the very map that it begins with).',
    edits: [
      {
        file: 'src/peer/callers.js',
        find: 'if (hello.expectStoreId !== undefined && hello.expectStoreId !== me.storeId) {',
        replace: 'if (false) {',
      },
      {
        file: 'src/peer/callers.js',
        find: 'if (hello.expectPeerId !== undefined && me.peerId !== undefined && hello.expectPeerId !== me.peerId) {',
        replace: 'if (false) {',
      },
      {
        file: 'src/peer/replica.js',
        find: 'if (record?.slotEpoch === slotEpoch && me.peerId !== undefined) {',
        replace: 'if (false) {',
      },
    ],
    focus: {
      setting: { peers: 3, replicas: 2, minInSync: 1, slots: 8, expectsLoss: true },
      faults: ['crash', 'lose-disk', 'lose-disk', 'stop'],
    },
  },
];
