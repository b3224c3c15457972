/**
 * What one seed decides before anything runs: the cluster, what goes wrong when, and what every client does.
 *
 * A plan is plain data. Any part of it can be left out and the rest stays as it was, because every step carries its own
 * chance: so a failing plan can be shortened, printed and kept.
 */
import type { PointName } from '../../../src/core/probe.js';
import { Seeded } from '../../contract/seeded.js';
import { type FaultKind, faultKinds, isAtPoint } from './faults.js';
import { type IntrusionName, intrusionNames } from './intrusions.js';
import { type OddCall, oddCalls } from './odd-calls.js';
import { drawWish, type OperatorWish } from './operator.js';
import { pointNames } from './points.js';

export interface Setting {
  readonly peers: number;
  /** Further hosts for peers, which join when a fault step says so. */
  readonly spares: number;
  readonly replicas: number;
  readonly minInSync: number;
  /** How long an absent peer is waited for before its copies are made elsewhere; half a second when absent. */
  readonly repairGraceMs?: number;
  readonly slots: number;
  readonly reads: 'lease' | 'confirm';
  readonly sweepAfterMs: number;
  readonly replacedGraceMs: number;
  readonly quarantineMs: number;
  /** Messages go through the real codec. */
  readonly usesCodec: boolean;
  /** Disks may be lost although nobody else holds what is on them; the loss must then be reported exactly. */
  readonly expectsLoss: boolean;
  readonly faultsForMs: number;
  /** How long request ids are kept, and all that follows from it; 15 minutes unless it is to be seen in a run. */
  readonly idsKeptForMs: number;
  /** Hardly any memory for payloads: they wait for credit, and readers for room; pages have few rows. */
  readonly isShortOfMemory: boolean;
  /** In how many zones the peers are; each has its own when absent. */
  readonly zones?: number;
  /** Some peers should lead more than others. */
  readonly isUneven?: boolean;
  /** A peer that has joined listens at another port with every start. */
  readonly isMoving?: boolean;
}

export interface FaultStep {
  readonly atMs: number;
  readonly kind: FaultKind;
  /** Where in the protocol it strikes, for the kinds that do so at a named point. */
  readonly point?: PointName;
  /** Decides everything else about it. */
  readonly chance: number;
}

export type ClientAction =
  | {
      readonly kind: 'put';
      readonly sizeBytes: number;
      readonly condition?: 'if-absent' | 'if-last-seen';
      /** Given up after so long. */
      readonly deadlineMs?: number;
    }
  | { readonly kind: 'delete'; readonly condition?: 'if-last-seen' }
  | { readonly kind: 'get' }
  | { readonly kind: 'list' | 'stat' }
  | { readonly kind: 'get-range'; readonly start: number; readonly end: number }
  /** Of names whose metadata is what counts: see isMetadataName. */
  | { readonly kind: 'get-metadata' | 'set-metadata' | 'put-metadata' }
  /** Locates, asks the master for its status and events, reads whatever any replica has. */
  | { readonly kind: 'look-around' }
  /** What an operator asks of the cluster. */
  | { readonly kind: 'operate'; readonly wish: OperatorWish }
  /** The client's process ends and starts again with what it cached. */
  | { readonly kind: 'restart' }
  /** A get over a connection that stays with the peer, and the term, of its first use. */
  | { readonly kind: 'get-from-the-first' }
  /** The very same put again after so long, whatever the first was told. */
  | { readonly kind: 'put-twice'; readonly againAfterMs: number }
  /** Two puts at once, of one request id but other contents. */
  | { readonly kind: 'put-other' }
  | { readonly kind: 'odd'; readonly how: OddCall; readonly chance: number }
  /** Not as a client: somebody connects who does not keep to the protocol, or has no business here. */
  | { readonly kind: 'intrude'; readonly as: IntrusionName; readonly chance: number }
  /** A put whose source pauses for so long after some bytes, and then goes on or fails. */
  | {
      readonly kind: 'upload';
      readonly sizeBytes: number;
      readonly stallAtBytes: number;
      readonly stallMs: number;
      readonly isAbandoned: boolean;
    };

export interface ClientStep {
  /** After the step before it has ended. */
  readonly afterMs: number;
  /** And then only when somebody next reaches this point, or after a few seconds. */
  readonly at?: PointName;
  readonly name: string;
  readonly action: ClientAction;
}

export interface ClientPlan {
  readonly worker: string;
  readonly isSlow: boolean;
  /** How long it waits for an answer. */
  readonly timeoutMs?: number;
  /** It is there before the first peer. */
  readonly isEarly?: boolean;
  readonly steps: readonly ClientStep[];
}

export interface Plan {
  readonly seed: number;
  readonly setting: Setting;
  readonly faults: readonly FaultStep[];
  readonly clients: readonly ClientPlan[];
}

/** The checker takes a file for what its content says; these names are used for their metadata alone. */
export function isMetadataName(name: string): boolean {
  return name.startsWith('metadata-');
}

type Draw = (chance: Seeded) => ClientAction;

const smallBytes = 100;
/** In the index, in a file of its own, in several segments; seldom, because bytes are what a run spends its time on. */
const largeBytes = [70_000, 5000, 1_200_000, 2_500_000] as const;
const deadlinesMs = [2, 10, 50, 300] as const;
/** Mostly short: in the same time more clusters and mixtures of faults are tried. */
const faultSpansMs = [2, 2, 2, 3, 3, 3, 4, 4, 5, 6, 8, 8, 16].map((seconds) => seconds * 1000);
/** Of the puts, those that are given up after one of these. */
const impatientShare = 0.04;

/** Everything about a seed. */
export function drawPlan(seed: number): Plan {
  const chance = new Seeded(seed ^ 0x5eed);
  // With chance of its own, which leaves the rest as it is.
  const more = new Seeded(seed ^ 0x0dd);
  const setting = { ...drawSetting(chance), ...drawPlaces(more) };
  const faults = [...drawFaults(chance, setting), ...drawLossesOfTheMaster(new Seeded(seed ^ 0x105e), setting)];
  const clients = drawClients(chance, setting);
  return { seed, setting, faults, clients: [...clients, ...drawOddClients(more, setting)] };
}

/** Where peers stand, and how much each should lead. */
function drawPlaces(chance: Seeded): Pick<Setting, 'zones' | 'isUneven' | 'isMoving' | 'repairGraceMs'> {
  const zones = chance.isLikely(0.4) ? { zones: 1 + chance.below(3) } : {};
  const repairGraceMs = chance.pick([500, 3000, 600_000]);
  return { ...zones, isUneven: chance.isLikely(0.3), isMoving: chance.isLikely(0.15), repairGraceMs };
}

/** Those who do what is seldom done, or what nobody may do. */
function drawOddClients(chance: Seeded, { faultsForMs }: Setting): ClientPlan[] {
  const odd: Draw = () => ({ kind: 'odd', how: chance.pick(oddCalls), chance: chance.below(2 ** 31) });
  const operates: Draw = () => ({ kind: 'operate', wish: drawWish(chance) });
  const intrudes: Draw = () => ({ kind: 'intrude', as: chance.pick(intrusionNames), chance: chance.below(2 ** 31) });
  const kinds = [
    { worker: 'odd', draw: odd, meanMs: 400 },
    { worker: 'stranger', draw: intrudes, meanMs: 300 },
    { worker: 'operator', draw: operates, meanMs: 2000 },
  ].filter(() => chance.isLikely(0.2));
  return kinds.map(({ worker, draw, meanMs }) => {
    const steps: ClientStep[] = [];
    for (let sumMs = 0; sumMs < faultsForMs; sumMs += steps.at(-1)?.afterMs ?? 0) {
      const afterMs = Math.round(chance.between(1, 2 * meanMs));
      steps.push({ afterMs, name: `name-${chance.below(3)}`, action: draw(chance) });
    }
    return { worker, isSlow: false, timeoutMs: 5000, isEarly: chance.isLikely(0.5), steps };
  });
}

function drawSetting(chance: Seeded): Setting {
  const peers = chance.pick([1, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4, 4, 5, 6, 7]);
  const replicas = Math.min(peers, chance.pick([1, 2, 2, 2, 2, 3, 3]));
  return {
    peers,
    spares: chance.isLikely(0.3) ? 1 : 0,
    replicas,
    minInSync: 1 + (chance.isLikely(0.3) ? chance.below(replicas) : 0),
    slots: chance.pick([1, 2, 4, 4, 8]),
    reads: chance.pick(['lease', 'lease', 'lease', 'confirm']),
    sweepAfterMs: chance.pick([2500, 24 * 3_600_000]),
    replacedGraceMs: chance.pick([1500, 600_000]),
    quarantineMs: chance.pick([1000, 5000, 24 * 3_600_000]),
    usesCodec: chance.isLikely(0.25),
    expectsLoss: chance.isLikely(0.04),
    faultsForMs: chance.pick(faultSpansMs),
    idsKeptForMs: chance.isLikely(0.3) ? 4500 : 15 * 60_000,
    isShortOfMemory: chance.isLikely(0.25),
  };
}

function drawFaults(chance: Seeded, setting: Setting): FaultStep[] {
  const kinds: FaultKind[] = faultKinds.filter(() => chance.isLikely(0.5));
  if (setting.expectsLoss) kinds.push('lose-disk');
  const meanMs = chance.pick([400, 800, 1500, 4000]);
  const steps: FaultStep[] = [];
  if (kinds.length === 0) return steps;
  for (let atMs = chance.between(0, meanMs); atMs < setting.faultsForMs; atMs += chance.between(0, 2 * meanMs)) {
    const kind = chance.pick(kinds);
    const point = isAtPoint(kind) ? { point: chance.pick(pointNames) } : {};
    steps.push({ atMs: Math.round(atMs), kind, ...point, chance: chance.below(2 ** 31) });
  }
  return steps;
}

/** In some runs the master's disk is lost, once or twice; seldom, as whoever recovers waits for its pings to end. */
function drawLossesOfTheMaster(chance: Seeded, setting: Setting): FaultStep[] {
  if (setting.expectsLoss || !chance.isLikely(0.15)) return [];
  return Array.from({ length: 1 + chance.below(2) }, () => ({
    atMs: Math.round(chance.between(0, setting.faultsForMs)),
    kind: chance.pick(['lose-master', 'lose-master-with-primary'] as const),
    chance: chance.below(2 ** 31),
  }));
}

function drawClients(chance: Seeded, setting: Setting): ClientPlan[] {
  const names = Array.from({ length: 1 + chance.below(6) }, (_, at) => `name-${at}`);
  const larges = chance.isLikely(0.7) ? largeBytes.slice(0, 1 + chance.below(largeBytes.length)) : [smallBytes];
  const meanMs = chance.pick([150, 300, 500]);
  const uploading = uploads(setting);
  const draws: Draw[] = [writes(larges, impatientShare), gets];
  const others: Draw[] = [
    writes(larges, impatientShare),
    writes(larges, impatientShare),
    deletes,
    looks,
    getsFromTheFirst,
    putsTwice,
    uploading,
    metadataChanges,
  ];
  for (let more = chance.below(4); more > 0; more--) draws.push(chance.pick(others));
  return draws.map((draw, at) => {
    const steps: ClientStep[] = [];
    const pauseMs = draw === uploading ? 3000 : meanMs;
    for (let sumMs = 0; sumMs < setting.faultsForMs; ) {
      const afterMs = Math.round(chance.between(0, 2 * pauseMs));
      sumMs += afterMs + 5;
      const name = draw === metadataChanges ? `metadata-${chance.below(2)}` : chance.pick(names);
      steps.push({ afterMs, name, action: draw(chance) });
    }
    const timeoutMs = chance.pick([1000, 10_000, 10_000]);
    return { worker: `c${at}`, isSlow: chance.isLikely(0.1), timeoutMs, steps };
  });
}

/** Clients that do nothing out of the ordinary, for scenarios written by hand. */
export function steadyClients(options: {
  readonly writers: number;
  readonly readers: number;
  readonly names: readonly string[];
  /** The mean pause between two operations. */
  readonly everyMs: number;
  readonly forMs: number;
}): ClientPlan[] {
  const chance = new Seeded(1);
  const draws = [
    ...Array<Draw>(options.writers).fill(writes([smallBytes])),
    ...Array<Draw>(options.readers).fill(gets),
  ];
  return draws.map((draw, at) => ({
    worker: `c${at}`,
    isSlow: false,
    steps: Array.from({ length: Math.ceil(options.forMs / options.everyMs) }, () => ({
      afterMs: Math.round(chance.between(0, 2 * options.everyMs)),
      name: chance.pick(options.names),
      action: draw(chance),
    })),
  }));
}

const writes =
  (larges: readonly number[], impatience = 0): Draw =>
  (chance) => {
    const kind = chance.between(0, 1);
    if (kind < 0.12) return { kind: 'delete' };
    if (kind < 0.16) return { kind: 'delete', condition: 'if-last-seen' };
    const sizeBytes = chance.isLikely(0.08) ? chance.pick(larges) : smallBytes;
    if (chance.isLikely(impatience)) return { kind: 'put', sizeBytes, deadlineMs: chance.pick(deadlinesMs) };
    if (kind < 0.3) return { kind: 'put', sizeBytes, condition: 'if-last-seen' };
    if (kind < 0.38) return { kind: 'put', sizeBytes, condition: 'if-absent' };
    return { kind: 'put', sizeBytes };
  };

const deletes: Draw = (chance) =>
  chance.isLikely(0.6) ? { kind: 'delete' } : { kind: 'put', sizeBytes: smallBytes, condition: 'if-absent' };
const gets: Draw = () => ({ kind: 'get' });
const looks: Draw = (chance) => {
  const kind = chance.between(0, 1);
  if (kind < 0.3) return { kind: 'list' };
  if (kind < 0.5) return { kind: 'stat' };
  if (kind < 0.6) return { kind: 'look-around' };
  if (kind < 0.65) return { kind: 'restart' };
  const start = chance.isLikely(0.8) ? chance.below(200) : chance.below(1_300_000);
  return { kind: 'get-range', start, end: start + 1 + chance.below(chance.isLikely(0.8) ? 200 : 200_000) };
};
const metadataChanges: Draw = (chance) => {
  const kind = chance.between(0, 1);
  if (kind < 0.25) return { kind: 'put-metadata' };
  if (kind < 0.65) return { kind: 'set-metadata' };
  return kind < 0.75 ? { kind: 'delete' } : { kind: 'get-metadata' };
};
const getsFromTheFirst: Draw = () => ({ kind: 'get-from-the-first' });
const putsTwice: Draw = (chance) =>
  chance.isLikely(0.1)
    ? { kind: 'put-other' }
    : { kind: 'put-twice', againAfterMs: chance.pick([0, 1, 20, 200, 1000, 3000]) };
const uploads =
  ({ sweepAfterMs }: Setting): Draw =>
  (chance) => {
    const sizeBytes = chance.isLikely(0.8) ? 1_200_000 : 2_500_000;
    return {
      kind: 'upload',
      sizeBytes,
      stallAtBytes: Math.floor(chance.between(0, sizeBytes)),
      stallMs: sweepAfterMs < 10_000 ? chance.pick([10, 500, 3000, 6000]) : chance.pick([10, 500]),
      isAbandoned: chance.isLikely(0.3),
    };
  };
