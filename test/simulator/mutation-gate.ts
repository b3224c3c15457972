/**
 * The mutation gate: bugs put in on purpose, each of which the simulator must find from several fresh random starts.
 *
 * A mutation is patched into a copy of the compiled build and hunted there by a process of its own. What it finds
 * counts only if the very same seed has nothing to complain of in the build as it is.
 */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { mutations } from './mutations/catalogue.js';
import type { Order, Report } from './mutations/hunt.js';
import type { Mutation } from './mutations/mutation.js';
import { applyEdits, copyBuild, PatchFailure } from './mutations/patch.js';

export interface GateOptions {
  /** Whole names, or beginnings of them; empty: every mutation. */
  readonly names: readonly string[];
  /** How many fresh starts must each find it. */
  readonly starts: number;
  /** How long each start may hunt, on one core. */
  readonly minutes: number;
  /** Mutations hunted at the same time. */
  readonly jobs: number;
  /** The seed of the first start instead of a random one. */
  readonly fromSeed?: number;
  /** Only whether every patch still applies. */
  readonly isDry?: boolean;
  /** Shortens what is found first in so many runs at most, and prints the story. */
  readonly shortenRuns?: number;
}

type Print = (line: string) => void;

/** A seed that takes longer than this does not end. */
const seedWithinMs = 120_000;
const seedsMax = 2 ** 31;
/** So many seeds that fail in the build as it is end a hunt. */
const unsoundMax = 5;

/** Prints what became of every mutation; resolves to the exit code: 1 when one escaped or no longer applies. */
export async function runMutationGate(
  options: GateOptions,
  print: Print = (line) => console.log(line),
): Promise<number> {
  const chosen = chosenMutations(options.names);
  const build = fileURLToPath(new URL('../..', import.meta.url));
  const waiting = [...chosen];
  const escaped: string[] = [];
  const shares: number[] = [];
  const work = async (): Promise<void> => {
    for (let mutation = waiting.shift(); mutation !== undefined; mutation = waiting.shift()) {
      const outcome = await new Hunt(build, mutation, options, print).run();
      if (!outcome.isFound) escaped.push(mutation.name);
      if (outcome.share !== undefined) shares.push(outcome.share);
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, work));
  if (shares.length > 0) print(`Shortened to ${percent(median(shares))} of the events in the median`);
  print(`${chosen.length - escaped.length} of ${chosen.length} mutations ${options.isDry ? 'apply' : 'were found'}`);
  if (escaped.length > 0) print(`Not: ${escaped.join(', ')}`);
  return escaped.length === 0 ? 0 : 1;
}

/** Throws when a name fits none. */
export function chosenMutations(names: readonly string[]): readonly Mutation[] {
  if (names.length === 0) return mutations;
  return names.flatMap((name) => {
    const exact = mutations.filter((mutation) => mutation.name === name);
    const fitting = exact.length > 0 ? exact : mutations.filter((mutation) => mutation.name.startsWith(name));
    if (fitting.length === 0) throw new Error(`No mutation is called ${name}`);
    return fitting;
  });
}

interface Outcome {
  readonly isFound: boolean;
  /** Of its events, what was left after shortening. */
  readonly share?: number;
}

type Found = Extract<Report, { kind: 'found' }>;

class Hunt {
  readonly #build: string;
  readonly #mutation: Mutation;
  readonly #options: GateOptions;
  readonly #print: Print;

  constructor(build: string, mutation: Mutation, options: GateOptions, print: Print) {
    this.#build = build;
    this.#mutation = mutation;
    this.#options = options;
    this.#print = (line) => print(`${mutation.name}: ${line}`);
  }

  async run(): Promise<Outcome> {
    const sound = copyBuild(this.#build);
    const broken = copyBuild(this.#build);
    try {
      applyEdits(broken.folder, this.#mutation.edits);
      if (this.#options.isDry) return { isFound: true };
      return await this.#startAll(sound.folder, broken.folder);
    } catch (error) {
      if (!(error instanceof PatchFailure)) throw error;
      this.#print(`no longer applies: ${error.message}`);
      return { isFound: false };
    } finally {
      sound.remove();
      broken.remove();
    }
  }

  async #startAll(sound: string, broken: string): Promise<Outcome> {
    const { starts, fromSeed, shortenRuns } = this.#options;
    let first: Found | undefined;
    for (let start = 0; start < starts; start++) {
      const seed = start === 0 && fromSeed !== undefined ? fromSeed : randomInt(seedsMax);
      const found = await this.#hunt(seed, { sound, broken });
      if (found === undefined) return { isFound: false };
      first ??= found;
    }
    if (first === undefined || shortenRuns === undefined) return { isFound: true };
    return { isFound: true, ...(await this.#tell(first.seed, broken, shortenRuns)) };
  }

  async #hunt(fromSeed: number, folders: { sound: string; broken: string }): Promise<Found | undefined> {
    const { focus = {} } = this.#mutation;
    const startMs = performance.now();
    const endMs = startMs + this.#options.minutes * 60_000;
    let seed = fromSeed;
    let virtualMs = 0;
    let unsound = 0;
    while (performance.now() < endMs) {
      const order: Order = { kind: 'hunt', fromSeed: seed, forMs: endMs - performance.now(), focus };
      const found = await ask(folders.broken, order);
      if (found.kind !== 'found') break;
      virtualMs += found.virtualMs;
      const seconds = Math.round((performance.now() - startMs) / 1000);
      const times = `${found.seed - fromSeed + 1} seeds, ${Math.round(virtualMs / 1000)} virtual s, ${seconds} s`;
      if ((await ask(folders.sound, { kind: 'try', seed: found.seed, focus })).kind !== 'found') {
        this.#print(`found after ${times}, seed ${found.seed}: ${firstLine(found)}`);
        return found;
      }
      this.#print(`seed ${found.seed} fails without the mutation too: ${firstLine(found)}`);
      if (++unsound === unsoundMax) {
        this.#print('the build as it is fails too often to tell anything');
        return undefined;
      }
      seed = found.seed + 1;
    }
    this.#print(`ESCAPED for ${this.#options.minutes} minutes from seed ${fromSeed}`);
    return undefined;
  }

  async #tell(seed: number, broken: string, runsMax: number): Promise<{ share?: number }> {
    const { focus = {} } = this.#mutation;
    const told = await ask(broken, { kind: 'tell', seed, focus, runsMax });
    if (told.kind !== 'told') return {};
    const share = told.events / told.eventsBefore;
    this.#print(`shortened from ${told.eventsBefore} to ${told.events} events (${percent(share)})\n${told.text}`);
    return { share };
  }
}

function firstLine({ complaints }: Found): string {
  return (complaints[0] ?? '').split('\n')[0]?.slice(0, 300) ?? '';
}

/** What a process in a copy of the build says at last. One that is stuck in a seed has found that. */
function ask(folder: string, order: Order): Promise<Report> {
  const program = `${folder}/test/simulator/mutations/hunt.js`;
  const child = spawn(process.execPath, [...process.execArgv, program, JSON.stringify(order)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return new Promise((resolve, reject) => {
    let last: Report = { kind: 'over' };
    let errors = '';
    const onStuck = (): void => {
      child.kill('SIGKILL');
      const seed = last.kind === 'begins' ? last.seed : 0;
      resolve({ kind: 'found', seed, virtualMs: 0, complaints: [`The seed does not end within ${seedWithinMs} ms`] });
    };
    let timer = setTimeout(onStuck, seedWithinMs);
    createInterface({ input: child.stdout }).on('line', (line) => {
      last = JSON.parse(line) as Report;
      clearTimeout(timer);
      timer = setTimeout(onStuck, seedWithinMs);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      errors = `${errors}${chunk}`.slice(-2000);
    });
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      // A bug may also end the process: then the checks need not.
      if (code === 0) resolve(last);
      else if (last.kind !== 'begins') reject(new PatchFailure(`The patched build does not run: ${errors}`));
      else
        resolve({ kind: 'found', seed: last.seed, virtualMs: 0, complaints: [`The run ended by itself: ${errors}`] });
    });
  });
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
