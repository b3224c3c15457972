/**
 * Bugs of the master and of the map: who is promoted, what is durable, whom peers believe (S1, S7, S9, S10).
 */
import { type Mutation, movingToAndFro } from './mutation.js';

export const masterMutations: readonly Mutation[] = [
  {
    name: 'promoting-outside-the-set',
    rules: ['S1', 'S3'],
    breaks: 'When no member answers, the master promotes a peer that is still copying.',
    edits: [
      {
        file: 'src/cluster/membership.js',
        find: 'if (successor === undefined) return record; return without(withTerm(',
        replace: `const outsider = record.joining.find((peer) => alive.has(peer));
          if (successor === undefined && outsider !== undefined) {
            const joining = record.joining.filter((peer) => peer !== outsider);
            return { ...record, slotEpoch: epoch, term: epoch, primary: outsider, inSync: [outsider], joining };
          }
          if (successor === undefined) return record;
          return without(withTerm(`,
      },
    ],
    focus: {
      setting: { peers: 2, replicas: 2 },
      faults: ['crash-twice', 'flap', 'crash-primary', 'crash', 'slow-disk'],
    },
  },
  {
    name: 'map-shown-before-it-is-durable',
    rules: ['S1', 'S9'],
    breaks: 'Peers hear of a map that the master forgets when it crashes.',
    edits: [
      {
        file: 'src/master/commits.js',
        find: 'const isStored = await this.#store.compareAndSet(before?.epoch, map);',
        replace: `this.#map = map;
          this.#owner.onCommitted(before, map);
          const isStored = await this.#store.compareAndSet(before?.epoch, map);`,
      },
      {
        file: 'src/master/commits.js',
        find: `} this.#map = map; this.#committedMs = this.#owner.clock.monotonicMs();
          probe?.at({ point: 'mapCommitted', before, after: map });
          this.#owner.onCommitted(before, map);`,
        replace: `} this.#committedMs = this.#owner.clock.monotonicMs();
          probe?.at({ point: 'mapCommitted', before, after: map });`,
      },
    ],
    focus: { faults: ['crash-master', 'crash', 'flap', 'crash-all'] },
  },
  {
    name: 'older-map-accepted',
    rules: ['S10'],
    breaks:
      'Peers take a map that is older than theirs, and the master does not mind that they know a newer one (either ' +
      'alone would stop it).',
    edits: [
      {
        file: 'src/peer/map-keeper.js',
        find: 'return map.epoch > ours.epoch;',
        replace: 'return map.epoch !== ours.epoch;',
      },
      { file: 'src/master/peer-watch.js', find: 'if (mapEpoch > map.epoch)', replace: 'if (false)' },
    ],
    focus: { setting: { peers: 3, replicas: 2 }, faults: ['old-master', 'crash', 'stop', 'crash-primary'] },
  },
  {
    name: 'empty-master-makes-a-cluster-anew',
    rules: ['S10', 'F14'],
    breaks: 'A master that lost its disk takes the peers of the old cluster into a new one.',
    edits: [
      {
        file: 'src/master/arrivals.js',
        find: 'if (hello.clusterId !== undefined) refuseForEmptyStore(hello.clusterId); return;',
        replace: 'return;',
      },
      {
        file: 'src/master/arrivals.js',
        find: 'if (map === undefined && join.clusterId !== undefined) return refuseForEmptyStore(join.clusterId);',
        replace: '',
      },
      {
        file: 'src/master/arrivals.js',
        find: 'if (join.clusterId !== undefined && join.clusterId !== current.clusterId) {',
        replace: 'if (false) {',
      },
      {
        file: 'src/master/arrivals.js',
        find: 'if (isUnknown && join.lineage !== undefined && join.lineage !== current.lineage) {',
        replace: 'if (false) {',
      },
      {
        file: 'src/master/server.js',
        find: 'if (this.#master.map === undefined && strange !== undefined)',
        replace: 'if (false)',
      },
      {
        file: 'src/cluster/membership.js',
        find: 'if (join.peerId !== undefined && namesake === undefined) {',
        replace: 'if (false) {',
      },
    ],
    focus: { setting: { peers: 3, replicas: 2 }, faults: ['empty-master', 'crash', 'stop'] },
  },
  {
    name: 'new-store-keeps-its-standing',
    rules: ['S1', 'F11'],
    breaks: 'A peer that comes back with an empty store stays in the sets in which its lost one was.',
    edits: [
      {
        file: 'src/cluster/membership.js',
        find: `if (!isNamed) return record;
          if (record.primary !== peer.id) return without(record, { peer: peer.id, epoch });`,
        replace: 'if (!isNamed || record.primary !== peer.id) return record;',
      },
    ],
    focus: { setting: { peers: 3, replicas: 2 }, faults: ['wipe', 'crash', 'crash-primary'] },
  },
  {
    name: 'copy-dropped-before-the-switch',
    rules: ['S7'],
    breaks: 'A copy that is not wanted any more goes before the wanted one is in sync.',
    edits: [
      { file: 'src/cluster/planner.js', find: 'if (!isComplete || map.movesPaused) return joiners;', replace: '' },
      {
        file: 'src/cluster/planner.js',
        find: 'const spare = Math.max(0, record.inSync.length - map.pool.replicas);',
        replace: 'const spare = Math.max(0, record.inSync.length - 1);',
      },
    ],
    focus: { setting: { peers: 3, spares: 1, replicas: 2, slots: 8 }, faults: ['join', 'crash', 'slow-disk'] },
  },
  {
    name: 'copy-dropped-unheard',
    rules: ['S7'],
    breaks: 'A copy goes although who is to stay has not been heard from since it became the only one.',
    edits: [
      {
        file: 'src/cluster/planner.js',
        find: 'record.inSync.includes(peer) && isUp(peer) && hasTaken(peer)',
        replace: 'record.inSync.includes(peer) && isUp(peer)',
      },
    ],
    focus: {
      setting: { peers: 2, replicas: 1, slots: 2, repairGraceMs: 3000, faultsForMs: 20_000 },
      faults: ['wipe-successor'],
      rounds: { clients: 1, names: 1, steps: movingToAndFro },
    },
  },
  {
    name: 'adds-for-one-who-counts-as-down',
    rules: ['F6'],
    breaks:
      'A primary that was paused and counts as down has its replica added, which is promoted over it at once, by an ' +
      'answer of before: when the replica has just lost its disk, nobody in sync is left.',
    edits: [
      {
        file: 'src/master/server.js',
        find: `if (changes.some(({ op }) => op === 'add')) this.#checkHeard(map, by.peer);`,
        replace: '',
      },
    ],
    focus: {
      setting: { peers: 2, replicas: 2, minInSync: 1, slots: 1, faultsForMs: 20_000 },
      faults: ['wipe-joiner-after-a-pause', 'wipe-joiner-after-a-pause', 'flap', 'crash'],
    },
  },
];
