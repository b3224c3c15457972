/**
 * Is there an order of one file's operations that explains every answer and keeps real time? Each operation must seem
 * to take effect at one moment between its call and its return.
 *
 * The search of Wing and Gong with Lowe's memory of visited configurations ("Testing for linearizability", 2017), as
 * Porcupine does it per key. A file's state is the value it holds, or null. Operations of unknown outcome may take
 * effect at any moment after their call, or never.
 */
import { describeOperation, type Operation } from './history.js';

type FileState = string | null;

export type Finding =
  | { readonly state: 'linearizable' }
  | { readonly state: 'violation'; readonly complaint: string }
  /** The search took more steps than it may. */
  | { readonly state: 'undecided'; readonly complaint: string };

const stepsMax = 2_000_000;

/** All of one name. Refused operations had no effect and are left out. */
export function findOrder(operations: readonly Operation[]): Finding {
  const relevant = operations.filter(({ outcome }) => outcome.state !== 'refused');
  return new Search(relevant).run();
}

/** One way to go on from a configuration. */
interface Candidate {
  readonly isSure: boolean;
  readonly index: number;
  readonly next: FileState;
}

interface Step {
  readonly before: FileState;
  readonly candidates: readonly Candidate[];
  /** Index of the candidate taken. */
  taken: number;
}

class Search {
  /** Those that returned an answer, by time of call. */
  readonly #sure: readonly Operation[];
  /** Writes of unknown outcome, by time of call. */
  readonly #unsure: readonly Operation[];
  readonly #kinds: readonly string[];
  readonly #versionOf: ReadonlyMap<string, string>;
  readonly #sureDone: Uint8Array;
  readonly #unsureDone: Uint8Array;
  /** The same, a bit each, to tell configurations apart. */
  #unsureBits = 0n;
  readonly #visited = new Set<string>();
  #sureLeft: number;
  #first = 0;
  #state: FileState = null;
  #deepest = { left: Number.POSITIVE_INFINITY, complaint: '' };

  constructor(operations: readonly Operation[]) {
    const sorted = [...operations].sort((a, b) => a.calledMs - b.calledMs);
    this.#sure = sorted.filter(({ outcome }) => outcome.state !== 'unknown');
    this.#unsure = sorted.filter(({ action, outcome }) => outcome.state === 'unknown' && action.kind !== 'get');
    this.#versionOf = versionsOf(operations);
    this.#kinds = this.#unsure.map((operation) => this.#kindOf(operation));
    this.#sureDone = new Uint8Array(this.#sure.length);
    this.#unsureDone = new Uint8Array(this.#unsure.length);
    this.#sureLeft = this.#sure.length;
  }

  run(): Finding {
    const path: Step[] = [];
    for (let steps = 0; steps < stepsMax; steps++) {
      if (this.#sureLeft === 0) return { state: 'linearizable' };
      const candidates = this.#candidates();
      if (candidates.length > 0) {
        path.push({ before: this.#state, candidates, taken: 0 });
        this.#take(candidates[0] as Candidate);
        continue;
      }
      if (!this.#backtrack(path)) return { state: 'violation', complaint: this.#deepest.complaint };
    }
    return { state: 'undecided', complaint: `No answer after ${stepsMax} steps` };
  }

  /** Takes the next way not yet tried; false when all have been. */
  #backtrack(path: Step[]): boolean {
    for (let step = path.pop(); step; step = path.pop()) {
      this.#undo(step.candidates[step.taken] as Candidate, step.before);
      const next = step.candidates[++step.taken];
      if (!next) continue;
      path.push(step);
      this.#take(next);
      return true;
    }
    return false;
  }

  #take({ isSure, index, next }: Candidate): void {
    if (isSure) {
      this.#sureDone[index] = 1;
      this.#sureLeft--;
      while (this.#sureDone[this.#first] === 1) this.#first++;
    } else {
      this.#unsureDone[index] = 1;
      this.#unsureBits ^= 1n << BigInt(index);
    }
    this.#state = next;
  }

  #undo({ isSure, index }: Candidate, before: FileState): void {
    if (isSure) {
      this.#sureDone[index] = 0;
      this.#sureLeft++;
      this.#first = Math.min(this.#first, index);
    } else {
      this.#unsureDone[index] = 0;
      this.#unsureBits ^= 1n << BigInt(index);
    }
    this.#state = before;
  }

  /** What may take effect next; nothing when this configuration was met before. */
  #candidates(): readonly Candidate[] {
    const { open, doneAhead, deadlineMs } = this.#window();
    const configuration = `${this.#first}|${doneAhead.join()}|${this.#unsureBits.toString(36)}|${this.#state}`;
    if (this.#visited.has(configuration)) return [];
    this.#visited.add(configuration);

    const candidates: Candidate[] = [];
    for (const index of open) {
      const next = this.#after(this.#sure[index] as Operation);
      // What changes nothing and fits now can never fit worse than now: no other way needs trying.
      if (next === this.#state) return [{ isSure: true, index, next }];
      if (next !== undefined) candidates.push({ isSure: true, index, next });
    }
    candidates.push(...this.#unsureCandidates(open, deadlineMs));
    if (candidates.length === 0) this.#noteDeepest(open);
    return candidates;
  }

  /**
   * Unknown writes worth assuming now. One that no other operation needs can be left out of the order, and one that is
   * needed can wait until just before the operation that needs it: so only those that make another one fit are tried.
   * Of those that nobody ever read, one of a kind is as good as the next.
   */
  #unsureCandidates(open: readonly number[], deadlineMs: number): Candidate[] {
    const before = this.#state;
    const callable = new Map<string, number>();
    for (const [index, operation] of this.#unsure.entries()) {
      if (operation.calledMs > deadlineMs) break;
      const kind = this.#kinds[index] as string;
      if (this.#unsureDone[index] === 0 && !callable.has(kind)) callable.set(kind, index);
    }
    const unsure = [...callable.values()];
    const others = [...open.map((index) => this.#sure[index]), ...unsure.map((index) => this.#unsure[index])];
    return unsure.flatMap((index) => {
      const operation = this.#unsure[index] as Operation;
      const next = this.#after(operation);
      if (next === undefined || next === before) return [];
      const isNeeded = others.some(
        (other) => other !== operation && this.#isEnabled(other as Operation, { before, next }),
      );
      return isNeeded ? [{ isSure: false, index, next }] : [];
    });
  }

  /** Unknown writes of one kind are interchangeable. */
  #kindOf({ action }: Operation): string {
    if (action.kind === 'put' && this.#versionOf.has(action.value)) return action.value;
    const condition = action.kind === 'get' ? '' : (action.ifVersion ?? '');
    return `${action.kind} ${condition} ${action.kind === 'put' && action.ifAbsent}`;
  }

  /** Does `operation` fit after `next`, otherwise than it fits now? */
  #isEnabled(operation: Operation, states: { before: FileState; next: FileState }): boolean {
    const afterBefore = this.#after(operation, states.before);
    const afterNext = this.#after(operation, states.next);
    if (afterNext === undefined) return false;
    // Changes nothing in either: it may as well go first.
    if (afterNext === states.next) return afterBefore !== states.before;
    return afterNext !== afterBefore;
  }

  /** Answered operations that are not in the order yet and were called before any such one had returned. */
  #window(): { open: number[]; doneAhead: number[]; deadlineMs: number } {
    const open: number[] = [];
    const doneAhead: number[] = [];
    let deadlineMs = Number.POSITIVE_INFINITY;
    for (let index = this.#first; index < this.#sure.length; index++) {
      const operation = this.#sure[index] as Operation;
      if (operation.calledMs > deadlineMs) break;
      if (this.#sureDone[index] === 1) {
        doneAhead.push(index);
        continue;
      }
      open.push(index);
      deadlineMs = Math.min(deadlineMs, operation.returnedMs);
    }
    const eligible = open.filter((index) => (this.#sure[index] as Operation).calledMs <= deadlineMs);
    return { open: eligible, doneAhead, deadlineMs };
  }

  /** The state after `operation` took effect now; undefined when its answer contradicts the state. */
  #after({ action, outcome }: Operation, state: FileState = this.#state): FileState | undefined {
    if (outcome.state === 'corrupt' || outcome.state === 'refused') return undefined;
    if (action.kind === 'get') {
      const seen = outcome.state === 'done' ? (outcome.value as string) : null;
      return seen === state ? state : undefined;
    }
    const next = this.#write(action, state);
    switch (outcome.state) {
      case 'unknown':
        return next === 'conflict' || next === 'absent' ? state : next.becomes;
      case 'done':
        return next === 'conflict' || next === 'absent' ? undefined : next.becomes;
      case 'conflict':
        return next === 'conflict' || (next === 'absent' && action.ifVersion !== undefined) ? state : undefined;
      case 'absent':
        return next === 'absent' ? state : undefined;
    }
  }

  /** What the file store must do with this write now. */
  #write(
    action: Exclude<Operation['action'], { kind: 'get' }>,
    state: FileState,
  ): { becomes: FileState } | 'conflict' | 'absent' {
    if (action.kind === 'delete' && state === null) return 'absent';
    if (action.ifVersion !== undefined) {
      const version = state === null ? undefined : this.#versionOf.get(state);
      if (version !== action.ifVersion) return 'conflict';
    }
    if (action.kind === 'delete') return { becomes: null };
    return action.ifAbsent && state !== null ? 'conflict' : { becomes: action.value };
  }

  #noteDeepest(open: readonly number[]): void {
    if (this.#sureLeft >= this.#deepest.left) return;
    const waiting = open.map((index) => describeOperation(this.#sure[index] as Operation)).join('; ');
    const complaint = `The file holds ${this.#state ?? 'nothing'}, and no order explains: ${waiting}`;
    this.#deepest = { left: this.#sureLeft, complaint };
  }
}

/** Which version each value was given, as far as anybody was told. */
function versionsOf(operations: readonly Operation[]): Map<string, string> {
  const versions = new Map<string, string>();
  for (const { action, outcome } of operations) {
    if (outcome.state !== 'done' || outcome.version === undefined) continue;
    const value = action.kind === 'put' ? action.value : outcome.value;
    if (value !== undefined && action.kind !== 'delete') versions.set(value, outcome.version);
  }
  return versions;
}
