/**
 * Bugs of what the cluster does to be whole, and of what operators ask of it: repair, moves, removal, scrubs, what-if
 * (S5, S7).
 */
import type { ClientAction } from '../plan/plan.js';
import { type Focus, type Mutation, movingToAndFro } from './mutation.js';

const manyFiles: readonly ClientAction[] = [
  { kind: 'put', sizeBytes: 70_000 },
  { kind: 'put', sizeBytes: 100 },
];

function ofPeers(op: 'drain' | 'enable' | 'maintenance'): readonly ClientAction[] {
  return [0, 1, 2].map((peerAt) => ({ kind: 'operate', wish: { of: 'peer', op, peerAt } }));
}

const pauses: readonly ClientAction[] = [
  { kind: 'operate', wish: { of: 'moves', isPaused: true } },
  { kind: 'operate', wish: { of: 'moves', isPaused: false } },
];

/** Copies move all the time, and it takes a while until each is in sync. */
const moving: Focus = {
  setting: { peers: 4, replicas: 2, minInSync: 1, slots: 8 },
  faults: ['slow-disk', 'crash', 'slow-link', 'pause'],
  actions: [...ofPeers('drain'), ...ofPeers('enable'), { kind: 'put', sizeBytes: 70_000 }],
};

/** Long absences, often of several at once; what was on them is soon made anew. */
const away: Focus = {
  setting: { peers: 4, replicas: 2, minInSync: 1, slots: 4, repairGraceMs: 500 },
  faults: ['leave', 'crash', 'crash-all', 'leave', 'pause-many', 'crash-twice'],
};

/** Bytes rot on one disk at a time, and little else happens. */
const rotten: Focus = {
  setting: { peers: 3, replicas: 2, minInSync: 1, slots: 4 },
  faults: ['rot-file', 'fail-reads', 'rot-file'],
  actions: manyFiles,
};

export const operationMutations: readonly Mutation[] = [
  {
    name: 'joining-copy-counted-by-a-drain',
    rules: ['S7'],
    breaks: 'A drained peer gives up its copy as soon as another has begun to make one.',
    edits: [
      {
        file: 'src/cluster/planner.js',
        find: 'const holds = (peer) => record.inSync.includes(peer) && isUp(peer) && hasTaken(peer);',
        replace: `const has = (peer) => record.inSync.includes(peer) || record.joining.includes(peer);
          const holds = (peer) => has(peer) && isUp(peer) && hasTaken(peer);`,
      },
      {
        file: 'src/cluster/planner.js',
        find: 'const spare = Math.max(0, record.inSync.length - map.pool.replicas);',
        replace: 'const spare = Math.max(0, record.inSync.length + record.joining.length - map.pool.replicas);',
      },
    ],
    focus: moving,
  },
  {
    name: 'moves-not-paused',
    rules: ['S7'],
    breaks: 'Copies go away although an operator has paused moves.',
    edits: [
      {
        file: 'src/cluster/planner.js',
        find: 'if (!isComplete || map.movesPaused) return joiners;',
        replace: 'if (!isComplete) return joiners;',
      },
      {
        file: 'src/cluster/planner.js',
        find: '(isRepair || !map.movesPaused)',
        replace: 'true',
      },
    ],
    focus: { ...moving, actions: [...ofPeers('drain'), ...ofPeers('enable'), ...pauses] },
  },
  {
    name: 'repair-while-most-are-away',
    rules: ['S7'],
    breaks: 'With most peers away, as after a cut of the power, the rest is filled with copies of everything.',
    edits: [
      {
        file: 'src/cluster/absence.js',
        find: 'return members.filter((peer) => !isRunning(peer)).length * 2 > members.length;',
        replace: 'return false;',
      },
    ],
    focus: away,
  },
  {
    name: 'repair-during-maintenance',
    rules: ['S7'],
    breaks: 'What is on a peer under maintenance is made anew elsewhere.',
    edits: [
      {
        file: 'src/cluster/absence.js',
        find: `return isAway && !peer.isOut && peer.mode !== 'maintenance';`,
        replace: 'return isAway && !peer.isOut;',
      },
    ],
    focus: { ...away, actions: [...ofPeers('maintenance'), ...ofPeers('enable')] },
  },
  {
    name: 'return-does-not-end-a-repair',
    rules: ['S7'],
    breaks: 'A peer that was given up stays so when it is back: everything it has is copied elsewhere all the same.',
    edits: [
      {
        file: 'src/cluster/membership.js',
        find: `const heard = { state: 'up', isOut: false };`,
        replace: `const heard = { state: 'up' };`,
      },
    ],
    focus: away,
  },
  {
    name: 'copy-not-read-back',
    rules: ['S5', 'S7'],
    breaks: 'A copy that the disk has spoiled counts as one in sync: nobody looked at it.',
    edits: [
      {
        file: 'src/peer/replica.js',
        find: `if (placed.where === 'file') await copies.orDiscard(placed, copies.readBack({ ...entry, placed }));`,
        replace: '',
      },
    ],
    focus: {
      setting: { peers: 3, replicas: 2, minInSync: 1, repairGraceMs: 500, slots: 4, faultsForMs: 20_000 },
      faults: ['spoil-copies', 'spoil-copies', 'leave'],
      rounds: {
        clients: 1,
        names: 40,
        steps: [{ times: 10, action: { kind: 'put', sizeBytes: 70_000 } }, ...movingToAndFro],
      },
    },
  },
  {
    name: 'scrub-that-does-not-read',
    rules: ['S5'],
    breaks: 'A scrub takes every copy whose entry can be read for a good one.',
    edits: [
      {
        file: 'src/peer/scrub.js',
        find: `const isGood = found.state === 'present' && (await copies.stateOf(found.entry)) === 'ok';`,
        replace: `const isGood = found.state === 'present';`,
      },
    ],
    focus: rotten,
  },
  {
    name: 'bad-copy-struck-off-unrepaired',
    rules: ['S5', 'S7'],
    breaks: 'That a copy is bad is forgotten when its first repair fails: it stays bad after a good one has come back.',
    edits: [
      {
        file: 'src/peer/damage.js',
        find: 'const lengthMs = Math.min(longestPauseMs,',
        replace: `await this.#parts.store.transact((transaction) => transaction.delete('damaged', key));
            this.#count -= 1;
            const lengthMs = Math.min(longestPauseMs,`,
      },
    ],
    focus: {
      setting: { peers: 3, replicas: 2, minInSync: 1, repairGraceMs: 500, slots: 4 },
      faults: ['rot-while-copied', 'leave', 'rot-while-copied', 'crash'],
      // Files that nobody replaces: what is bad stays so until it is mended.
      rounds: {
        clients: 1,
        names: 40,
        steps: [
          { action: { kind: 'put', sizeBytes: 70_000 }, times: 12 },
          { action: { kind: 'list' }, at: 'promoting', times: 6 },
        ],
      },
    },
  },
  {
    name: 'last-holder-removed',
    rules: ['S7'],
    breaks: 'A peer may be removed although nobody else has what it holds, or it still leads.',
    edits: [
      { file: 'src/cluster/operations.js', find: 'if (isRunning(peer) && held > 0) {', replace: 'if (false) {' },
      { file: 'src/cluster/operations.js', find: 'if (lone > 0) {', replace: 'if (false) {' },
      { file: 'src/cluster/operations.js', find: 'if (slotCount > 0) {', replace: 'if (false) {' },
      { file: 'src/cluster/operations.js', find: 'if (led > 0)', replace: 'if (false)' },
    ],
    focus: {
      ...away,
      actions: [0, 1, 2].map((peerAt) => ({ kind: 'operate', wish: { of: 'removal', peerAt } })),
    },
  },
  {
    name: 'what-if-counts-joining-copies',
    rules: ['S7'],
    breaks: 'An operator is told that nothing would be lost, because somebody has begun to copy it.',
    edits: [
      {
        file: 'src/cluster/what-if.js',
        find: 'for (const [slot, { inSync }] of map.slots.entries()) {',
        replace: `for (const [slot, { inSync: members, joining }] of map.slots.entries()) {
          const inSync = [...members, ...joining];`,
      },
    ],
    focus: {
      ...moving,
      actions: [...(moving.actions ?? []), ...[0, 1, 2, 3].map(whatIfOf), ...[0, 1, 2, 3].map(whatIfOf)],
    },
  },
];

function whatIfOf(peerAt: number): ClientAction {
  return { kind: 'operate', wish: { of: 'what-if', peersAt: [peerAt, peerAt + 1] } };
}
