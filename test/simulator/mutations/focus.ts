/**
 * Bends a drawn plan towards what makes a rare bug show. The same seed and focus give the same plan.
 */
import { Seeded } from '../../contract/seeded.js';
import {
  type ClientAction,
  type ClientPlan,
  type ClientStep,
  type FaultStep,
  isMetadataName,
  type Plan,
  type Setting,
} from '../plan/plan.js';
import type { Focus } from './mutation.js';

const bentShare = 0.7;
const atPointShare = 1 / 3;
const extraClients = 2;
/** For one after another, as a rule. */
const pointAwaitedMs = 1000;

export function withFocus(plan: Plan, focus: Focus): Plan {
  const setting = settled({ ...plan.setting, ...focus.setting });
  const chance = new Seeded(plan.seed ^ 0xf0c5);
  const faults = focus.faults === undefined ? plan.faults : bentFaults(plan, focus, chance);
  const extra = focus.actions === undefined ? [] : clientsFor(plan, focus.actions, chance);
  const rounds = focus.rounds === undefined ? [] : clientsInRounds(plan, focus.rounds, chance);
  return { ...plan, setting, faults, clients: [...plan.clients, ...extra, ...rounds] };
}

/** Numbers that fit each other. */
function settled(setting: Setting): Setting {
  const replicas = Math.min(setting.replicas, setting.peers);
  return { ...setting, replicas, minInSync: Math.min(setting.minInSync, replicas) };
}

function bentFaults(plan: Plan, { faults: kinds = [], points = [] }: Focus, chance: Seeded): readonly FaultStep[] {
  const drawn = plan.faults.length > 0 ? plan.faults : everySecond(plan, chance);
  return drawn.map((step): FaultStep => {
    if (!chance.isLikely(bentShare)) return step;
    const { atMs } = step;
    if (points.length === 0 || !chance.isLikely(atPointShare))
      return { atMs, kind: chance.pick(kinds), chance: step.chance };
    const kind = chance.pick(['crash-at-point', 'crash-at-point', 'pause-at-point'] as const);
    return { atMs, kind, point: chance.pick(points), chance: step.chance };
  });
}

function everySecond({ setting }: Plan, chance: Seeded): readonly FaultStep[] {
  const steps: FaultStep[] = [];
  for (let atMs = 500; atMs < setting.faultsForMs; atMs += 1000) {
    steps.push({ atMs, kind: 'crash', chance: chance.below(2 ** 31) });
  }
  return steps;
}

function clientsFor(plan: Plan, actions: readonly ClientAction[], chance: Seeded): readonly ClientPlan[] {
  const names = [...new Set(plan.clients.flatMap(({ steps }) => steps.map(({ name }) => name)))].filter(
    (name) => !isMetadataName(name),
  );
  if (names.length === 0) names.push('name-0');
  return Array.from({ length: extraClients }, (_, at) => {
    const steps: ClientStep[] = [];
    for (let sumMs = 0; sumMs < plan.setting.faultsForMs; ) {
      const afterMs = Math.round(chance.between(0, 200));
      sumMs += afterMs + 5;
      steps.push({ afterMs, name: chance.pick(names), action: chance.pick(actions) });
    }
    return { worker: `x${at}`, isSlow: false, steps };
  });
}

function clientsInRounds(plan: Plan, rounds: NonNullable<Focus['rounds']>, chance: Seeded): readonly ClientPlan[] {
  const names = Array.from({ length: rounds.names }, (_, at) => `own-${at}`);
  return Array.from({ length: rounds.clients }, (_, at) => {
    const steps: ClientStep[] = [];
    for (let sumMs = 0; sumMs < plan.setting.faultsForMs; ) {
      for (const { times, ...step } of rounds.steps) {
        for (let time = 0; time < times; time++) {
          const afterMs = Math.round(chance.between(0, 10));
          sumMs += afterMs + (step.at === undefined ? 5 : pointAwaitedMs);
          steps.push({ afterMs, name: chance.pick(names), ...step });
        }
      }
    }
    return { worker: `y${at}`, isSlow: false, steps };
  });
}
