import { describe, expect, it } from 'vitest';
import { type Action, type Operation, type Outcome, readHistory, writeHistory } from '../../checker/history.js';
import { findOrder } from '../../checker/linearizability.js';
import { longestGap, longestPauses } from '../../checker/pauses.js';
import { judge } from '../../checker/verdict.js';

type Times = readonly [calledMs: number, returnedMs: number];
type Condition = { readonly ifVersion?: string; readonly ifAbsent?: boolean };

function operation(action: Action, [calledMs, returnedMs]: Times, outcome: Outcome): Operation {
  return { worker: 'w', name: 'n', action, calledMs, returnedMs, outcome };
}

function put(value: string, times: Times, version: string, condition: Condition = {}): Operation {
  return operation({ kind: 'put', value, ...condition }, times, { state: 'done', version });
}

function putWith(outcome: Outcome, value: string, times: Times, condition: Condition = {}): Operation {
  return operation({ kind: 'put', value, ...condition }, times, outcome);
}

function get(value: string, times: Times, version: string): Operation {
  return operation({ kind: 'get' }, times, { state: 'done', value, version });
}

const absent: Outcome = { state: 'absent' };
const conflict: Outcome = { state: 'conflict' };
const unknown: Outcome = { state: 'unknown', code: 'unknown-outcome' };
const refused: Outcome = { state: 'refused', code: 'busy' };

function getAbsent(times: Times): Operation {
  return operation({ kind: 'get' }, times, absent);
}

function remove(times: Times, version: string, ifVersion?: string): Operation {
  const action: Action = ifVersion === undefined ? { kind: 'delete' } : { kind: 'delete', ifVersion };
  return operation(action, times, { state: 'done', version });
}

function removeWith(outcome: Outcome, times: Times, ifVersion?: string): Operation {
  return operation(ifVersion === undefined ? { kind: 'delete' } : { kind: 'delete', ifVersion }, times, outcome);
}

function complaints(operations: readonly Operation[]): readonly string[] {
  return judge({ victimNames: [], operations }).complaints;
}

const good: Readonly<Record<string, readonly Operation[]>> = {
  'a read of nothing': [getAbsent([0, 1])],
  'one write and its read': [put('a', [0, 1], '1.1'), get('a', [2, 3], '1.1')],
  'a read during a write sees the old': [put('a', [0, 1], '1.1'), put('b', [2, 9], '1.2'), get('a', [3, 4], '1.1')],
  'a read during a write sees the new': [put('a', [0, 1], '1.1'), put('b', [2, 9], '1.2'), get('b', [3, 4], '1.2')],
  'two reads during a write see old, then new': [
    put('a', [0, 1], '1.1'),
    put('b', [2, 9], '1.2'),
    get('a', [3, 4], '1.1'),
    get('b', [5, 6], '1.2'),
  ],
  'two writes at once in either order': [put('a', [0, 9], '1.2'), put('b', [0, 9], '1.1'), get('a', [10, 11], '1.2')],
  'reads between two writes at once': [
    put('a', [0, 9], '1.1'),
    put('b', [0, 9], '1.2'),
    get('a', [1, 5], '1.1'),
    get('b', [6, 7], '1.2'),
  ],
  'an unknown write never seen': [put('a', [0, 1], '1.1'), putWith(unknown, 'b', [2, 3]), get('a', [4, 5], '1.1')],
  'an unknown write seen at once': [put('a', [0, 1], '1.1'), putWith(unknown, 'b', [2, 3]), get('b', [4, 5], '1.2')],
  'an unknown write that takes effect long after': [
    put('a', [0, 1], '1.1'),
    putWith(unknown, 'b', [2, 3]),
    get('a', [4, 5], '1.1'),
    put('c', [6, 7], '1.2'),
    get('b', [8, 9], '1.3'),
  ],
  'an unknown write overwritten unseen': [
    putWith(unknown, 'a', [0, 1]),
    put('b', [2, 3], '1.2'),
    get('b', [4, 5], '1.2'),
  ],
  'many unknown writes, some seen': [
    putWith(unknown, 'a', [0, 1]),
    putWith(unknown, 'b', [0, 1]),
    putWith(unknown, 'c', [0, 1]),
    getAbsent([2, 3]),
    get('b', [4, 5], '1.1'),
    get('c', [6, 7], '1.3'),
  ],
  'a deletion': [put('a', [0, 1], '1.1'), remove([2, 3], '1.2'), getAbsent([4, 5])],
  'a deletion of nothing': [removeWith(absent, [0, 1]), getAbsent([2, 3])],
  'an unknown deletion that happened': [put('a', [0, 1], '1.1'), removeWith(unknown, [2, 3]), getAbsent([4, 5])],
  'an unknown deletion that did not': [
    put('a', [0, 1], '1.1'),
    removeWith(unknown, [2, 3]),
    get('a', [4, 5], '1.1'),
    put('b', [6, 7], '1.2', { ifVersion: '1.1' }),
  ],
  'a write if absent, then a conflict': [
    put('a', [0, 1], '1.1', { ifAbsent: true }),
    putWith(conflict, 'b', [2, 3], { ifAbsent: true }),
  ],
  'one of two writes if absent': [
    put('a', [0, 5], '1.1', { ifAbsent: true }),
    putWith(conflict, 'b', [0, 5], { ifAbsent: true }),
    get('a', [6, 7], '1.1'),
  ],
  'a conflict explained by an unknown write': [
    putWith(unknown, 'a', [0, 1]),
    putWith(conflict, 'b', [2, 3], { ifAbsent: true }),
    get('a', [4, 5], '1.1'),
  ],
  'one of two writes over one version': [
    put('a', [0, 1], '1.1'),
    put('b', [2, 9], '1.2', { ifVersion: '1.1' }),
    putWith(conflict, 'c', [2, 9], { ifVersion: '1.1' }),
    get('b', [10, 11], '1.2'),
  ],
  'an unknown write whose condition never held': [
    put('a', [0, 1], '1.1'),
    put('b', [2, 3], '1.2'),
    putWith(unknown, 'c', [4, 5], { ifVersion: '1.1' }),
    get('b', [6, 7], '1.2'),
  ],
  'a refused write that nobody sees': [put('a', [0, 1], '1.1'), putWith(refused, 'b', [2, 3]), get('a', [4, 5], '1.1')],
  'a new term with a lower counter': [put('a', [0, 1], '1.9'), put('b', [2, 3], '2.1'), get('b', [4, 5], '2.1')],
  'a deletion between writes, conditionally': [
    put('a', [0, 1], '1.1'),
    remove([2, 3], '1.2', '1.1'),
    put('b', [4, 5], '1.3', { ifAbsent: true }),
    removeWith(conflict, [6, 7], '1.1'),
    get('b', [8, 9], '1.3'),
  ],
};

const bad: Readonly<Record<string, readonly Operation[]>> = {
  'a value nobody wrote': [get('a', [0, 1], '1.1')],
  'a value before it is written': [get('a', [0, 1], '1.1'), put('a', [2, 3], '1.1')],
  'an acknowledged write lost': [put('a', [0, 1], '1.1'), getAbsent([2, 3])],
  'an acknowledged overwrite lost': [put('a', [0, 1], '1.1'), put('b', [2, 3], '1.2'), get('a', [4, 5], '1.1')],
  'a read that goes back': [
    put('a', [0, 1], '1.1'),
    put('b', [2, 99], '1.2'),
    get('b', [3, 4], '1.2'),
    get('a', [5, 6], '1.1'),
  ],
  'two readers in different orders': [
    put('a', [0, 50], '1.1'),
    put('b', [0, 50], '1.2'),
    get('a', [1, 2], '1.1'),
    get('b', [3, 4], '1.2'),
    get('a', [5, 6], '1.1'),
  ],
  'a deleted file that comes back': [
    put('a', [0, 1], '1.1'),
    remove([2, 3], '1.2'),
    getAbsent([4, 5]),
    get('a', [6, 7], '1.1'),
  ],
  'a file still there after its deletion': [put('a', [0, 1], '1.1'), remove([2, 3], '1.2'), get('a', [4, 5], '1.1')],
  'a deletion of nothing acknowledged': [remove([0, 1], '1.1')],
  'two deletions of one write': [put('a', [0, 1], '1.1'), remove([2, 3], '1.2'), remove([4, 5], '1.3')],
  'nothing to delete where something is': [put('a', [0, 1], '1.1'), removeWith(absent, [2, 3])],
  'two writes if absent': [put('a', [0, 9], '1.1', { ifAbsent: true }), put('b', [0, 9], '1.2', { ifAbsent: true })],
  'a conflict if absent over nothing': [putWith(conflict, 'a', [0, 1], { ifAbsent: true })],
  'two writes over one version': [
    put('a', [0, 1], '1.1'),
    put('b', [2, 9], '1.2', { ifVersion: '1.1' }),
    put('c', [2, 9], '1.3', { ifVersion: '1.1' }),
  ],
  'a conflict where the version is current': [
    put('a', [0, 1], '1.1'),
    putWith(conflict, 'b', [2, 3], { ifVersion: '1.1' }),
    get('a', [4, 5], '1.1'),
  ],
  'a condition on a version long replaced': [
    put('a', [0, 1], '1.1'),
    put('b', [2, 3], '1.2'),
    put('c', [4, 5], '1.3', { ifVersion: '1.1' }),
  ],
  'a refused write that is seen': [putWith(refused, 'a', [0, 1]), get('a', [2, 3], '1.1')],
  'an unknown write seen, gone, seen again': [
    put('a', [0, 1], '1.1'),
    putWith(unknown, 'b', [2, 3]),
    get('b', [4, 5], '1.2'),
    get('a', [6, 7], '1.1'),
    get('b', [8, 9], '1.2'),
  ],
  'an unknown write seen before its call': [get('a', [0, 1], '1.1'), putWith(unknown, 'a', [2, 3])],
  'an unknown deletion that takes effect twice': [
    put('a', [0, 1], '1.1'),
    removeWith(unknown, [2, 3]),
    getAbsent([4, 5]),
    put('b', [6, 7], '1.3'),
    getAbsent([8, 9]),
  ],
  'a lost write behind an unknown one': [put('a', [0, 1], '1.1'), putWith(unknown, 'b', [2, 3]), getAbsent([4, 5])],
  'a version that goes back': [put('a', [0, 1], '2.1'), put('b', [2, 3], '1.9')],
  'one version for two writes': [put('a', [0, 9], '1.1'), put('b', [0, 9], '1.1')],
  'two versions of one write': [put('a', [0, 1], '1.1'), get('a', [2, 3], '1.2')],
  'one version used again after a deletion': [put('a', [0, 1], '1.1'), remove([2, 3], '1.2'), put('b', [4, 5], '1.2')],
  'one slot epoch with two numbers of copies': [
    operation({ kind: 'put', value: 'a' }, [0, 1], {
      state: 'done',
      version: '1.1',
      receipt: { slotEpoch: 7, durable: 2 },
    }),
    operation({ kind: 'put', value: 'b' }, [2, 3], {
      state: 'done',
      version: '1.2',
      receipt: { slotEpoch: 7, durable: 1 },
    }),
  ],
  'bad bytes': [
    put('a', [0, 1], '1.1'),
    operation({ kind: 'get' }, [2, 3], { state: 'corrupt', complaint: 'byte 17 differs' }),
  ],
  'nothing answered at all': [putWith(unknown, 'a', [0, 1])],
};

describe('the checker', () => {
  it.each(Object.entries(good))('accepts %s', (_, operations) => {
    expect(complaints(operations)).toEqual([]);
  });

  it.each(Object.entries(bad))('rejects %s', (_, operations) => {
    expect(complaints(operations).length).toBeGreaterThan(0);
  });

  it('judges each name by itself', () => {
    const other: Operation = { ...getAbsent([2, 3]), name: 'm' };
    expect(complaints([put('a', [0, 1], '1.1'), other])).toEqual([]);
  });

  it('rejects a single stale read hidden in 20,000 operations, and soon', () => {
    const operations = manyOperations(20_000);
    expect(findOrder(operations)).toEqual({ state: 'linearizable' });
    const stale = operations.findLast(({ action }) => action.kind === 'get') as Operation;
    const hidden = [
      ...operations,
      { ...stale, outcome: { state: 'done', value: 'v10', version: '1.10' } } as Operation,
    ];
    expect(findOrder(hidden).state).toBe('violation');
  });

  it('judges 200,000 operations', () => {
    const operations = Array.from({ length: 200_000 }, (_, index) => ({
      ...get('a', [index + 1, index + 1.5], '1.1'),
      name: `n${index % 50}`,
    }));
    const puts = Array.from({ length: 50 }, (_, index) => ({ ...put('a', [0, 0.5], '1.1'), name: `n${index}` }));
    expect(complaints([...puts, ...operations])).toEqual([]);
  });

  it('keeps a history over writing and reading it', () => {
    const history = { victimNames: ['n'], operations: good['a deletion'] as readonly Operation[] };
    expect(readHistory(writeHistory(history))).toEqual(history);
  });
});

/** Of one name: writes that overlap each other, reads in between, each twentieth write of unknown outcome. */
function manyOperations(count: number): Operation[] {
  const operations: Operation[] = [];
  let current = '';
  for (let index = 1; operations.length < count; index++) {
    const atMs = index * 10;
    const value = `v${index}`;
    const isUnknown = index % 20 === 0;
    const took: Times = [atMs - 8, atMs + 8];
    operations.push(isUnknown ? putWith(unknown, value, took) : put(value, took, `1.${index}`));
    if (!isUnknown || index % 40 === 0) current = value;
    operations.push(get(current, [atMs + 1, atMs + 1.5], `1.${current.slice(1)}`));
  }
  return operations;
}

describe('pauses', () => {
  it('are the longest time without an answer, from the first call to the last return', () => {
    expect(longestGap([10, 20, 80, 90], { startMs: 0, endMs: 100 })).toEqual({ pauseMs: 60, atMs: 20 });
    expect(longestGap([10], { startMs: 0, endMs: 100 })).toEqual({ pauseMs: 90, atMs: 10 });
    expect(longestGap([], { startMs: 5, endMs: 9 })).toEqual({ pauseMs: 4, atMs: 5 });
  });

  it('count answers only, writes apart from reads', () => {
    const pauses = longestPauses([
      put('a', [0, 10], '1.1'),
      putWith(unknown, 'b', [10, 50]),
      putWith(conflict, 'c', [50, 60]),
      get('a', [0, 30], '1.1'),
    ]);
    expect(pauses.write).toEqual({ pauseMs: 50, atMs: 10 });
    expect(pauses.read).toEqual({ pauseMs: 30, atMs: 0 });
  });
});
