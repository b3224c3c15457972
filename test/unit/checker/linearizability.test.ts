import { describe, expect, it } from 'vitest';
import type { Action, Operation, Outcome } from '../../checker/history.js';
import { findOrder } from '../../checker/linearizability.js';

/** Park and Miller's generator: the same histories in every run. */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

const versions: Readonly<Record<string, string>> = { a: '1.1', b: '1.2', c: '1.3' };

/** Anything goes, so most are wrong; values are written once each, as the workload does. */
function randomHistory(seed: number): Operation[] {
  const below = numbersFrom(seed);
  const unwritten = ['a', 'b', 'c'];
  return Array.from({ length: 3 + below(4) }, () => {
    const calledMs = below(12);
    const times = { calledMs, returnedMs: calledMs + 1 + below(6) };
    const any = ['a', 'b', 'c'][below(3)] as string;
    const choice = below(10);
    if (choice < 4) return { ...read(any, below), ...times };
    const condition = below(3) === 0 ? { ifVersion: versions[any] as string } : {};
    const value = choice < 6 ? undefined : unwritten.shift();
    const action: Action =
      value === undefined
        ? { kind: 'delete', ...condition }
        : { kind: 'put', value, ...condition, ifAbsent: below(4) === 0 };
    return { worker: 'w', name: 'n', action, outcome: randomOutcome(action, below), ...times };
  });
}

function read(value: string, below: (limit: number) => number): Omit<Operation, 'calledMs' | 'returnedMs'> {
  const outcome: Outcome =
    below(3) === 0 ? { state: 'absent' } : { state: 'done', value, version: versions[value] as string };
  return { worker: 'w', name: 'n', action: { kind: 'get' }, outcome };
}

function randomOutcome(action: Action, below: (limit: number) => number): Outcome {
  const choice = below(8);
  if (choice < 3) return { state: 'unknown', code: 'unknown-outcome' };
  if (choice === 3) return { state: 'conflict' };
  if (choice === 4 && action.kind === 'delete') return { state: 'absent' };
  return action.kind === 'put' ? { state: 'done', version: versions[action.value] as string } : { state: 'done' };
}

/** Tries every order of every choice of unknown operations. */
function hasOrder(operations: readonly Operation[]): boolean {
  const known = operations.filter(({ outcome }) => outcome.state === 'done');
  const told = new Set(known.map(({ action, outcome }) => valueIn(action, outcome)));
  const goOn = (left: readonly Operation[], state: string | null): boolean => {
    if (left.every(({ outcome }) => outcome.state === 'unknown')) return true;
    return left.some((operation) => {
      const mayBeNext = left.every(
        ({ outcome, returnedMs }) => outcome.state === 'unknown' || operation.calledMs <= returnedMs,
      );
      if (!mayBeNext) return false;
      const next = follow(operation, { state, told });
      const rest = left.filter((other) => other !== operation);
      return next !== undefined && goOn(rest, next);
    });
  };
  return goOn(operations, null);
}

function valueIn(action: Action, outcome: Outcome): string | undefined {
  if (action.kind === 'put') return action.value;
  return outcome.state === 'done' ? outcome.value : undefined;
}

function follow(
  { action, outcome }: Operation,
  { state, told }: { state: string | null; told: ReadonlySet<string | undefined> },
): string | null | undefined {
  if (action.kind === 'get') return (outcome.state === 'done' ? outcome.value : null) === state ? state : undefined;
  const isAbsent = action.kind === 'delete' && state === null;
  const current = state !== null && told.has(state) ? versions[state] : undefined;
  const holds =
    !isAbsent &&
    (action.ifVersion === undefined || action.ifVersion === current) &&
    !(action.kind === 'put' && action.ifAbsent && state !== null);
  if (holds && (outcome.state === 'done' || outcome.state === 'unknown')) {
    return action.kind === 'put' ? action.value : null;
  }
  if (holds || outcome.state === 'done') return undefined;
  if (outcome.state === 'unknown') return state;
  if (outcome.state === 'absent') return isAbsent ? state : undefined;
  return isAbsent && action.ifVersion === undefined ? undefined : state;
}

describe('the search for an order', () => {
  it('agrees with trying every order, on 6,000 small histories', () => {
    let linearizable = 0;
    for (let seed = 1; seed <= 6000; seed++) {
      const operations = randomHistory(seed * 7919);
      const expected = hasOrder(operations);
      if (expected) linearizable++;
      expect(findOrder(operations).state === 'linearizable', JSON.stringify(operations, null, 1)).toBe(expected);
    }
    expect(linearizable).toBeGreaterThan(300);
    expect(linearizable).toBeLessThan(5700);
  });
});
