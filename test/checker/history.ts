/**
 * What clients did and saw, as the checker reads it: one operation a line, times from one monotonic clock.
 */

export type Action =
  | { readonly kind: 'put'; readonly value: string; readonly ifVersion?: string; readonly ifAbsent?: boolean }
  | { readonly kind: 'delete'; readonly ifVersion?: string }
  | { readonly kind: 'get' };

/** What a receipt says about copies. */
export interface Kept {
  readonly slotEpoch: number;
  readonly durable: number;
}

export type Outcome =
  /** Acknowledged; `value` is what a get returned. */
  | { readonly state: 'done'; readonly version?: string; readonly value?: string; readonly receipt?: Kept }
  /** The file did not exist. */
  | { readonly state: 'absent' }
  /** The condition did not hold. */
  | { readonly state: 'conflict' }
  /** May take effect at any moment after the call, or never. */
  | { readonly state: 'unknown'; readonly code: string }
  /** Certainly without effect. */
  | { readonly state: 'refused'; readonly code: string }
  /** A get returned bytes that no put wrote. */
  | { readonly state: 'corrupt'; readonly complaint: string };

export interface Operation {
  readonly worker: string;
  readonly name: string;
  readonly action: Action;
  readonly calledMs: number;
  readonly returnedMs: number;
  readonly outcome: Outcome;
}

export interface History {
  /** The names whose slots the victim of the scenario served at the start. */
  readonly victimNames: readonly string[];
  readonly operations: readonly Operation[];
}

export function isWrite(operation: Operation): boolean {
  return operation.action.kind !== 'get';
}

/** The server gave a definite answer, be it yes or no. */
export function isAnswered(operation: Operation): boolean {
  const { state } = operation.outcome;
  return state === 'done' || state === 'absent' || state === 'conflict';
}

export function byName(operations: readonly Operation[]): Map<string, Operation[]> {
  const groups = new Map<string, Operation[]>();
  for (const operation of operations) {
    const group = groups.get(operation.name);
    if (group) group.push(operation);
    else groups.set(operation.name, [operation]);
  }
  return groups;
}

/** For people: "w3 put w3:17 [120.5 … 133.0] done 12.4". */
export function describeOperation({ worker, action, calledMs, returnedMs, outcome }: Operation): string {
  const value = action.kind === 'put' ? ` ${action.value}` : '';
  const condition = action.kind === 'get' ? '' : conditionText(action);
  const seen = outcome.state === 'done' ? ` ${outcome.value ?? ''} ${outcome.version ?? ''}` : '';
  const times = `[${calledMs.toFixed(1)} … ${returnedMs.toFixed(1)}]`;
  return `${worker} ${action.kind}${value}${condition} ${times} ${outcome.state}${seen}`.replace(/ +/g, ' ').trim();
}

function conditionText(action: Exclude<Action, { kind: 'get' }>): string {
  if (action.ifVersion !== undefined) return ` if ${action.ifVersion}`;
  return action.kind === 'put' && action.ifAbsent ? ' if absent' : '';
}

/** The text of a history file. */
export function writeHistory(history: History): string {
  const first = JSON.stringify({ victimNames: history.victimNames });
  return `${[first, ...history.operations.map((operation) => JSON.stringify(operation))].join('\n')}\n`;
}

export function readHistory(text: string): History {
  const [first, ...rest] = text.split('\n').filter((line) => line !== '');
  if (first === undefined) throw new Error('The history is empty');
  const { victimNames } = JSON.parse(first) as { victimNames: string[] };
  return { victimNames, operations: rest.map((line) => JSON.parse(line) as Operation) };
}
