/**
 * What a mutation is: a bug put in on purpose, as data, which the checks of the simulator must find.
 */
import type { PointName } from '../../../src/core/probe.js';
import type { FaultKind } from '../plan/faults.js';
import type { ClientAction, ClientStep, Setting } from '../plan/plan.js';

/** One replacement in a compiled file. */
export interface Edit {
  /** Below the build's folder, with slashes: "src/peer/commit.js". */
  readonly file: string;
  /** Must stand there exactly once; any run of white space stands for any other. */
  readonly find: string;
  readonly replace: string;
}

/** What makes a rare bug show: the plan is drawn as always, then bent towards this. */
export interface Focus {
  readonly setting?: Partial<Setting>;
  /** Most fault steps become one of these. */
  readonly faults?: readonly FaultKind[];
  /** A third of those strike at one of these points instead. */
  readonly points?: readonly PointName[];
  /** Two more clients do only these, one after another. */
  readonly actions?: readonly ClientAction[];
  /** Still more clients go through the same steps again and again, close together, with names of their own. */
  readonly rounds?: {
    readonly clients: number;
    readonly names: number;
    readonly steps: readonly (Pick<ClientStep, 'action' | 'at'> & { readonly times: number })[];
  };
}

export interface Mutation {
  /** In kebab case; what is told on the command line. */
  readonly name: string;
  /** Of docs/safety.md: those it breaks. */
  readonly rules: readonly string[];
  /** One sentence: what goes wrong in the code, and what may follow. */
  readonly breaks: string;
  /** Several when a second line of defence alone would make the bug harmless; `breaks` says which. */
  readonly edits: readonly Edit[];
  readonly focus?: Focus;
}

/** Copies of what has long been stored move away from one peer and back to it. */
export const movingToAndFro: readonly NonNullable<Focus['rounds']>['steps'][number][] = [
  { times: 1, action: { kind: 'operate', wish: { of: 'peer', op: 'drain', peerAt: 0 } } },
  { times: 250, action: { kind: 'get' } },
  { times: 1, action: { kind: 'operate', wish: { of: 'peer', op: 'enable', peerAt: 0 } } },
  { times: 250, action: { kind: 'get' } },
];
