/**
 * What this machine can do at most with the work of a row of `dfs bench`, measured right after it: both have met the
 * machine in the same minute, so their ratio says more than either.
 */
import { limits } from '../core/limits.js';
import type { MachineLimits } from '../core/local-machine.js';
import type { BenchOptions, BenchRow } from './bench-runs.js';

export interface Limit {
  /** What bounds the row: the lower one, where there are two. */
  readonly of: 'two hops' | 'two copies' | 'one hop' | 'LMDB alone' | 'bare echo' | "node -e ''";
  readonly perSecond: number;
}

export class BenchLimits {
  readonly #machine: MachineLimits;
  readonly #files: number;
  readonly #runs: number;
  readonly #signal: AbortSignal;

  constructor(machine: MachineLimits, { files, runs, signal }: Pick<BenchOptions, 'files' | 'runs' | 'signal'>) {
    this.#machine = machine;
    this.#files = files;
    this.#runs = runs;
    this.#signal = signal;
  }

  /** Undefined for what no bare piece of work is like: deletions, listings, and puts that make files of their own. */
  async of({ work, sizeBytes = 0, inFlight = 1 }: BenchRow): Promise<Limit | undefined> {
    const small = { count: this.#files, sizeBytes, inFlight };
    if (work === 'put' && sizeBytes <= limits.inlineBytesMax)
      return this.#measure('LMDB alone', this.#files, () => this.#machine.putsMs(small));
    if (work === 'get') return this.#measure('bare echo', this.#files, () => this.#machine.echoesMs(small));
    if (work === 'receive') return this.#measure('one hop', sizeBytes, () => this.#machine.oneHopMs(sizeBytes));
    if (work === 'start') return this.#measure("node -e ''", 1, () => this.#machine.startMs());
    if (work !== 'send') return undefined;
    const hops = await this.#measure('two hops', sizeBytes, () => this.#machine.twoHopsMs(sizeBytes));
    const copies = await this.#measure('two copies', sizeBytes, () => this.#machine.twoCopiesMs(sizeBytes));
    return hops.perSecond < copies.perSecond ? hops : copies;
  }

  /** The median of as many runs as the row's, after one that warms up. Throws once the user has interrupted. */
  async #measure(of: Limit['of'], units: number, tookMs: () => Promise<number>): Promise<Limit> {
    const rates: number[] = [];
    for (let run = 0; run <= this.#runs; run++) {
      this.#signal.throwIfAborted();
      const rate = (units / (await tookMs())) * 1000;
      if (run > 0) rates.push(rate);
    }
    rates.sort((a, b) => a - b);
    return { of, perSecond: rates[rates.length >> 1] ?? 0 };
  }
}
