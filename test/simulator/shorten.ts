/**
 * Makes a failing plan as short as it can be while it still fails in the same way.
 *
 * Delta debugging (Zeller & Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) over faults and
 * client steps in order of time, then simpler settings. What is left out changes neither the times nor the chances of
 * the rest, but it may change what the rest meets; so the outcome is short, not the shortest.
 */
import type { ClientPlan, ClientStep, Plan, Setting } from './plan/plan.js';

export interface ShortenOptions {
  /** How often the plan may be run. */
  readonly runsMax: number;
}

/** One thing that happens in a plan. */
interface Piece {
  readonly atMs: number;
  /** Index of the fault. */
  readonly fault?: number;
  /** Index of the client and of its step. */
  readonly step?: readonly [client: number, at: number];
}

/** Faults and client steps: what a reader of the plan has to think about. */
export function sizeOf(plan: Plan): number {
  return plan.faults.length + plan.clients.reduce((sum, { steps }) => sum + steps.length, 0);
}

/** Whether a run has a complaint that begins like one of the first run's. */
export function isSameKind(first: readonly string[], now: readonly string[]): boolean {
  const kinds = new Set(first.map(kindOf));
  return now.some((complaint) => kinds.has(kindOf(complaint)));
}

/** The first words of a complaint, without names and numbers. */
export function kindOf(complaint: string): string {
  const plain = complaint.replace(/^name-\d+: /, '').replace(/\d+(\.\d+)*/g, '#');
  return plain.split(/\s+/).slice(0, 3).join(' ');
}

/** `fails` runs a plan; the outcome is `plan` itself when nothing can be left out. */
export async function shorten(
  plan: Plan,
  fails: (candidate: Plan) => Promise<boolean>,
  options: ShortenOptions,
): Promise<Plan> {
  const search = new Search(plan, fails, options.runsMax);
  await search.endEarlier();
  await search.leaveOut();
  await search.simplify();
  await search.leaveOut();
  return search.best;
}

class Search {
  best: Plan;
  readonly #fails: (candidate: Plan) => Promise<boolean>;
  readonly #tried = new Set<string>();
  #runsLeft: number;

  constructor(plan: Plan, fails: (candidate: Plan) => Promise<boolean>, runsMax: number) {
    this.best = plan;
    this.#fails = fails;
    this.#runsLeft = runsMax;
  }

  /** Halves the time in which anything happens for as long as that still fails. */
  async endEarlier(): Promise<void> {
    const pieces = piecesOf(this.best);
    let [low, high] = [0, pieces.length];
    while (high - low > pieces.length / 16) {
      const middle = Math.floor((low + high) / 2);
      if (await this.#isShorter(withOnly(this.best, piecesOf(this.best).slice(0, middle)))) high = middle;
      else low = middle;
    }
  }

  /** Leaves out parts, larger ones first, down to single pieces. */
  async leaveOut(): Promise<void> {
    for (let size = Math.ceil(sizeOf(this.best) / 2); size >= 1 && this.#runsLeft > 0; size = Math.floor(size / 2)) {
      let from = 0;
      while (from < sizeOf(this.best) && this.#runsLeft > 0) {
        const pieces = piecesOf(this.best);
        const rest = [...pieces.slice(0, from), ...pieces.slice(from + size)];
        if (!(await this.#isShorter(withOnly(this.best, rest)))) from += size;
      }
    }
  }

  /** Takes every simpler setting that still fails. */
  async simplify(): Promise<void> {
    for (const simpler of simplerSettings) {
      const setting = { ...this.best.setting, ...simpler(this.best) };
      await this.#isShorter({ ...this.best, setting });
    }
    const quick = this.best.clients.map((client) => ({ ...client, isSlow: false }));
    await this.#isShorter({ ...this.best, clients: quick });
    await this.#isShorter({ ...this.best, clients: this.best.clients.filter(({ steps }) => steps.length > 0) });
  }

  /** Takes the candidate if it fails. */
  async #isShorter(candidate: Plan): Promise<boolean> {
    const text = JSON.stringify(candidate);
    if (this.#runsLeft <= 0 || this.#tried.has(text) || text === JSON.stringify(this.best)) return false;
    this.#tried.add(text);
    this.#runsLeft--;
    if (!(await this.#fails(candidate))) return false;
    this.best = candidate;
    return true;
  }
}

const simplerSettings: readonly ((plan: Plan) => Partial<Setting>)[] = [
  () => ({ usesCodec: false }),
  () => ({ spares: 0 }),
  () => ({ minInSync: 1 }),
  () => ({ slots: 1 }),
  ({ setting }) => ({ peers: Math.max(2, setting.replicas) }),
  (plan) => ({ faultsForMs: Math.min(plan.setting.faultsForMs, lastMs(plan) + 1000) }),
];

function lastMs(plan: Plan): number {
  return Math.max(0, ...piecesOf(plan).map(({ atMs }) => atMs));
}

/** In order of time, as far as that is known: a client's step may take long. */
function piecesOf(plan: Plan): readonly Piece[] {
  const pieces: Piece[] = plan.faults.map(({ atMs }, fault) => ({ atMs, fault }));
  plan.clients.forEach(({ steps }, client) => {
    let atMs = 0;
    steps.forEach(({ afterMs }, at) => {
      atMs += afterMs;
      pieces.push({ atMs, step: [client, at] });
    });
  });
  return pieces.sort((a, b) => a.atMs - b.atMs);
}

/** The plan with these pieces alone, each at the time it had. */
function withOnly(plan: Plan, pieces: readonly Piece[]): Plan {
  const faults = new Set(pieces.flatMap(({ fault }) => (fault === undefined ? [] : [fault])));
  const steps = new Set(pieces.flatMap(({ step }) => (step === undefined ? [] : [step.join()])));
  return {
    ...plan,
    faults: plan.faults.filter((_, at) => faults.has(at)),
    clients: plan.clients.map((client, number) => withSteps(client, (at) => steps.has(`${number},${at}`))),
  };
}

/** A step that stays takes over the pauses of those before it that go. */
function withSteps(client: ClientPlan, isKept: (at: number) => boolean): ClientPlan {
  const steps: ClientStep[] = [];
  let pausedMs = 0;
  client.steps.forEach((step, at) => {
    pausedMs += step.afterMs;
    if (!isKept(at)) return;
    steps.push({ ...step, afterMs: pausedMs });
    pausedMs = 0;
  });
  return { ...client, steps };
}
