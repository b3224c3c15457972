import { describe, expect, it } from 'vitest';
import { drawPlan, type Plan } from '../../simulator/plan/plan.js';
import { isSameKind, kindOf, shorten, sizeOf } from '../../simulator/shorten.js';

function busyPlan(): Plan {
  const plans = Array.from({ length: 200 }, (_, seed) => drawPlan(seed));
  const isBusy = ({ faults, clients }: Plan): boolean =>
    faults.length > 20 && clients.length > 2 && clients.every(({ steps }) => steps.length > 30);
  return plans.find(isBusy) ?? drawPlan(1);
}

/** When every step of a client begins, as long as each ends at once. */
function startsOf(plan: Plan): Map<object, number> {
  const starts = new Map<object, number>();
  for (const { steps } of plan.clients) {
    let atMs = 0;
    for (const step of steps) {
      atMs += step.afterMs;
      starts.set(step.action, atMs);
    }
  }
  return starts;
}

describe('a failing plan', () => {
  const plan = busyPlan();
  const fault = plan.faults.find(({ atMs }) => atMs > 5000);
  const [first, second] = [plan.clients[0]?.steps[9], plan.clients[1]?.steps[30]];
  const holds = ({ faults, clients }: Plan): boolean => {
    const actions = clients.flatMap(({ steps }) => steps.map(({ action }) => action));
    return (
      [first, second].every((step) => actions.some((action) => action === step?.action)) &&
      faults.some((each) => each === fault)
    );
  };

  it('is shortened to what it needs to fail, and each event keeps its time', async () => {
    const shortened = await shorten(plan, async (candidate) => holds(candidate), { runsMax: 500 });
    expect(holds(shortened)).toBe(true);
    expect(sizeOf(shortened)).toBe(3);
    const [before, after] = [startsOf(plan), startsOf(shortened)];
    for (const [action, atMs] of after) expect(atMs).toBe(before.get(action));
  });

  it('is run no more often than allowed', async () => {
    let runs = 0;
    const fails = async (candidate: Plan): Promise<boolean> => {
      runs++;
      return holds(candidate);
    };
    await shorten(plan, fails, { runsMax: 12 });
    expect(runs).toBe(12);
  });

  it('stays as it is when everything matters', async () => {
    expect(await shorten(plan, async () => false, { runsMax: 50 })).toBe(plan);
  });
});

describe('two complaints', () => {
  it('are of one kind when they begin alike, whatever the names and numbers', () => {
    const about = (name: string, at: number): string => `${name}: Not linearizable: get [${at}] of ${name}`;
    expect(isSameKind([about('name-1', 7)], ['Slot 3 on p1: bad inline bytes', about('name-4', 120.5)])).toBe(true);
    expect(isSameKind([about('name-1', 7)], ['name-1: Went back: get'])).toBe(false);
    expect(kindOf('Slot 12, p1 and p2: "name-3" is absent')).toBe(kindOf('Slot 1, p4 and p3: "name-0" is absent'));
  });
});
