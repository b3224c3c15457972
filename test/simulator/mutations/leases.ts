/**
 * Bugs of leases and of reads: who may answer that something is current (F12, F24, S2, S3).
 */
import type { Focus, Mutation } from './mutation.js';

/** Readers stay with a primary that is paused, or cut from the master while its replica is not. */
const deposed: Focus = {
  setting: { peers: 3, replicas: 2, minInSync: 1, slots: 1, reads: 'lease' },
  faults: ['pause-primary', 'cut-master', 'isolate', 'cut-primary'],
  actions: [{ kind: 'get-from-the-first' }],
  points: ['beaconGranted', 'sealed', 'handoverDrained', 'mapDurable', 'serving', 'readCurrent'],
};

export const leaseMutations: readonly Mutation[] = [
  {
    name: 'no-wait-for-old-leases',
    rules: ['F12'],
    breaks: 'A new primary serves at once, while the old one may still answer reads by its lease.',
    edits: [
      {
        file: 'src/peer/grants.js',
        find: 'return Math.max(0, sinceMs + timing.leaseWaitMs - this.#clock.monotonicMs());',
        replace: 'return 0;',
      },
    ],
    focus: deposed,
  },
  {
    name: 'lease-counted-from-receipt',
    rules: ['F12'],
    breaks: 'A lease lasts from the arrival of the grant, so a delayed answer stretches it.',
    edits: [
      {
        file: 'src/peer/replica-link.js',
        find: 'this.#granted = { sentAtMs, terms, refused: new Set(refused) };',
        replace: `this.#granted = {
          sentAtMs: this.#environment.clock.monotonicMs(), terms, refused: new Set(refused)
        };`,
      },
    ],
    focus: deposed,
  },
  {
    name: 'lease-as-a-flag',
    rules: ['F12'],
    breaks: 'Whether the lease holds is a flag that a timer sets: after a pause sockets are served before timers.',
    edits: [
      {
        file: 'src/peer/serving.js',
        find: 'clock.monotonicMs() < led.leaseUntilMs()',
        replace: 'leaseFlag(clock, led)',
      },
      {
        file: 'src/peer/serving.js',
        find: 'const pollMs = 5;',
        replace: `const pollMs = 5;
          function leaseFlag(clock, led) {
            if (led.leaseFlag !== undefined) return led.leaseFlag.isSet;
            const look = () => {
              led.leaseFlag = { isSet: clock.monotonicMs() < led.leaseUntilMs() };
              if (!led.isOver) clock.after(10, look);
            };
            look();
            return led.leaseFlag.isSet;
          }`,
      },
    ],
    focus: deposed,
  },
  {
    name: 'grants-forgotten-on-restart',
    rules: ['F12'],
    breaks: 'A restarted replica does not count its start as a grant: promoted at once, it waits for no lease.',
    edits: [
      {
        file: 'src/peer/grants.js',
        find: 'const sinceMs = Math.max(last?.atMs ?? 0, this.#startedAtMs);',
        replace: 'const sinceMs = last?.atMs ?? 0;',
      },
    ],
    focus: { ...deposed, faults: ['flap-successor', 'cut-master', 'cut-master', 'flap-successor', 'isolate'] },
  },
  {
    name: 'lease-for-the-pair',
    rules: ['F12'],
    breaks: 'A replica grants a beacon for all its slots, also where it has promised a newer slotEpoch.',
    edits: [
      {
        file: 'src/peer/grants.js',
        find: 'if (this.promisedFor(row.slot) > row.slotEpoch)',
        replace: 'if (false)',
      },
    ],
    focus: deposed,
  },
  {
    name: 'refused-slots-keep-their-lease',
    rules: ['F12'],
    breaks: 'A primary takes an answered beacon for a lease of every slot in it, also of those that were refused.',
    edits: [{ file: 'src/peer/replica-link.js', find: '|| granted.refused.has(slot)', replace: '' }],
    focus: deposed,
  },
  {
    name: 'lease-longer-than-the-wait',
    rules: ['F12'],
    breaks: 'A lease outlasts what a new primary waits.',
    edits: [{ file: 'src/core/timing.js', find: 'leaseMs: 150,', replace: 'leaseMs: 400,' }],
    focus: deposed,
  },
  {
    name: 'read-without-proof',
    rules: ['S2', 'S3'],
    breaks: 'A serving primary answers a get without a lease and without asking anybody.',
    edits: [
      {
        file: 'src/peer/read-path.js',
        find: 'await this.#parts.serving.ensureCurrent(led, request.deadlineMs); return led;',
        replace: 'return led;',
      },
    ],
    focus: deposed,
  },
  {
    name: 'list-without-proof',
    rules: ['S2'],
    breaks: 'A serving primary lists names without a lease and without asking anybody.',
    edits: [
      {
        file: 'src/peer/listing.js',
        find: 'await parts.serving.ensureCurrent(led, request.deadlineMs);',
        replace: '',
      },
    ],
    focus: { ...deposed, actions: [{ kind: 'list' }] },
  },
  {
    name: 'condition-answered-without-proof',
    rules: ['S2', 'F5'],
    breaks: 'A deposed primary refuses a conditional write, or a retry, by what it last knew.',
    edits: [
      {
        file: 'src/peer/write-path.js',
        find: 'if (!isPlain || known !== undefined)',
        replace: 'if (false)',
      },
    ],
    focus: { ...deposed, actions: [{ kind: 'put', sizeBytes: 100, condition: 'if-absent' }, { kind: 'delete' }] },
  },
  {
    name: 'confirmation-from-before-the-read',
    rules: ['S2'],
    breaks: 'With reads confirmed, any grant ever given counts as the confirmation.',
    edits: [
      {
        file: 'src/peer/leadership.js',
        find: 'this.#linkTo(peer).grantedAtMs(led.slot, led.term) >= sinceMs',
        replace: 'this.#linkTo(peer).grantedAtMs(led.slot, led.term) > 0',
      },
    ],
    focus: { ...deposed, setting: { ...deposed.setting, reads: 'confirm' } },
  },
  {
    name: 'alone-although-somebody-is-pending',
    rules: ['F24'],
    breaks: 'A primary that asked the master to add a replica still takes itself for alone, and reads without a lease.',
    edits: [
      {
        file: 'src/peer/led-slot.js',
        find: 'return this.required().length === 0;',
        replace: 'return this.#record.inSync.length === 1;',
      },
    ],
    focus: { ...deposed, faults: ['crash', 'cut-master', 'pause-primary', 'isolate', 'flap'] },
  },
  {
    name: 'wait-skipped-without-a-handover',
    rules: ['F20', 'F12'],
    breaks: 'A new primary skips the wait whenever it granted leases, not only after a handover of that very term.',
    edits: [
      {
        file: 'src/peer/grants.js',
        find: 'if (last !== undefined && last.term === handoverOf) return 0;',
        replace: 'if (last !== undefined) return 0;',
      },
    ],
    focus: deposed,
  },
  {
    name: 'unsealed-by-a-timer',
    rules: ['F20'],
    breaks: 'A sealed slot serves again after a while although the master may have handed it over.',
    edits: [
      {
        file: 'src/peer/handover.js',
        find: `await parts.master.change(ready.map(({ led, to }) => ({ ...led.fence(), op: 'handover', peer: to })));`,
        replace: `const change = parts.master.change(
            ready.map(({ led, to }) => ({ ...led.fence(), op: 'handover', peer: to })));
          await Promise.race([change, sleep(parts.clock, 30)]);`,
      },
    ],
    focus: {
      ...deposed,
      setting: { ...deposed.setting, isUneven: true, slots: 8, faultsForMs: 26_000 },
      faults: ['deaf-amid-handover', 'deaf-amid-handover', 'crash-primary'],
      points: [],
    },
  },
];
