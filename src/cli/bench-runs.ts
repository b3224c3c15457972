/**
 * Measures what one client sees of a cluster: small files, one large file in and out, a listing.
 *
 * Every operation is the library's own, with its receipt. What is read is compared with what was written: small files
 * whole, of the large one each MiB's first byte, as the library has verified the others by their checksums. A first run
 * warms up and does not count. Names lie below a prefix of their own, and are removed again.
 */
import type { FileClient } from '../client/file-client.js';
import type { Clock } from '../core/environment.js';
import { DfsError } from '../core/errors.js';
import { forEachBounded } from './parallel.js';

export interface BenchOptions {
  /** Of the small files. */
  readonly sizes: readonly number[];
  /** Operations under way at the same time, for each row. */
  readonly inFlight: readonly number[];
  /** How many clients ask at the same time, each for one small file after the other, for each row. */
  readonly clients: readonly number[];
  readonly files: number;
  readonly largeBytes: number;
  readonly runs: number;
  readonly signal: AbortSignal;
  /** One more client, with connections of its own; closed by whoever made it. */
  readonly connect: () => Promise<FileClient>;
  /** `dfs send -` in a process of its own: stores the bytes under the name, in the same bucket. */
  readonly sendAlone: (name: string, bytes: Uint8Array) => Promise<void>;
}

export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

export interface BenchRow {
  /** `start`: `dfs send` of a small file as a process of its own, the cluster map remembered. */
  readonly work: 'put' | 'get' | 'mixed' | 'delete' | 'send' | 'receive' | 'list' | 'start';
  /** Of one file; of a listing undefined. */
  readonly sizeBytes?: number;
  /** Of small files only. */
  readonly inFlight?: number;
  /** Where it was not one client that had them in flight, but so many. */
  readonly clients?: number;
  readonly unit: 'operations' | 'bytes' | 'names' | 'processes';
  /** Over the runs. */
  readonly perSecond: Spread;
  /** Of single operations, over all runs; where there are many. */
  readonly p50Ms?: number;
  readonly p99Ms?: number;
}

type SmallWork = 'put' | 'get' | 'mixed' | 'delete';

/** What one run took: how many units in how long, and each operation. */
interface Run {
  readonly units: number;
  readonly tookMs: number;
  readonly operationsMs: readonly number[];
}

const removalsAtOnce = 64;
const pieceBytes = 1024 * 1024;

export class Bench {
  readonly #client: FileClient;
  readonly #clock: Clock;
  readonly #options: BenchOptions;
  readonly #prefix: string;

  /** `prefix`: of names that nobody else uses. */
  constructor(client: FileClient, clock: Clock, prefix: string, options: BenchOptions) {
    this.#client = client;
    this.#clock = clock;
    this.#prefix = prefix;
    this.#options = options;
  }

  /** Calls `onRow` with each row as it is measured. Throws `integrity` when other bytes came back than were stored. */
  async run(onRow: (row: BenchRow) => Promise<void>): Promise<void> {
    const { sizes, inFlight } = this.#options;
    for (const sizeBytes of sizes) {
      for (const atOnce of inFlight) {
        for (const row of await this.#smallFiles(sizeBytes, atOnce)) await onRow(row);
      }
    }
    for (const row of await this.#largeFile()) await onRow(row);
    await onRow(await this.#listing());
    await onRow(await this.#start());
    // The last, as the clients stay connected.
    for (const row of await this.#manyClients()) await onRow(row);
  }

  /** Removes whatever is left below the prefix; also after an interruption. */
  async cleanUp(): Promise<void> {
    const names = this.#client.list({ prefix: this.#prefix });
    await forEachBounded(names, atMost(removalsAtOnce), async ({ name }) => {
      await this.#client.delete(name);
    });
  }

  #smallFiles(sizeBytes: number, inFlight: number): Promise<readonly BenchRow[]> {
    const works = ['put', 'get', 'mixed', 'delete'] as const;
    return this.#small({ works, sizeBytes, of: `${sizeBytes}-${inFlight}` }, Array(inFlight).fill(this.#client));
  }

  /** Of the smallest files: with many clients it is their number that is measured. */
  async #manyClients(): Promise<readonly BenchRow[]> {
    const rows: BenchRow[] = [];
    const all: FileClient[] = [];
    const sizeBytes = Math.min(...this.#options.sizes);
    for (const count of this.#options.clients) {
      while (all.length < count) all.push(await this.#options.connect());
      const works = ['put', 'get'] as const;
      const measured = await this.#small({ works, sizeBytes, of: `clients-${count}` }, all.slice(0, count));
      rows.push(...measured.map((row) => ({ ...row, clients: count })));
    }
    return rows;
  }

  /** `askers`: who asks at the same time, each for one file after the other. */
  async #small(
    { works, sizeBytes, of }: { works: readonly SmallWork[]; sizeBytes: number; of: string },
    askers: readonly FileClient[],
  ): Promise<readonly BenchRow[]> {
    const runs = new Map<SmallWork, Run[]>(works.map((work) => [work, []]));
    for (let run = 0; run <= this.#options.runs; run++) {
      const files = this.#files(sizeBytes, `${of}-${run}`);
      for (const work of works) {
        const took = await this.#timed(work === 'get' ? [...files].reverse() : files, askers, this.#taskOf(work));
        if (run > 0) runs.get(work)?.push(took);
      }
    }
    return [...runs].map(([work, measured]) => ({
      ...{ work, sizeBytes, inFlight: askers.length, unit: 'operations' },
      perSecond: spread(measured),
      ...percentiles(measured),
    }));
  }

  #taskOf(work: SmallWork): Task {
    const { signal } = this.#options;
    const put: Task = async (client, { name, content }) => void (await client.put(name, content(), { signal }));
    const get: Task = async (client, { name, content }) => {
      const file = await client.get(name, { signal });
      mustBeEqual(name, await file.bytes(), content());
    };
    let turn = 0;
    return {
      ...{ put, get },
      delete: async (client: FileClient, { name }: SmallFile) => void (await client.delete(name, { signal })),
      // A put of what is there already, then a get, and so on (YCSB's workload A).
      mixed: (client: FileClient, file: SmallFile) => (turn++ % 2 === 0 ? put : get)(client, file),
    }[work];
  }

  async #largeFile(): Promise<readonly BenchRow[]> {
    const { largeBytes: sizeBytes, runs, signal } = this.#options;
    if (sizeBytes === 0) return [];
    const name = `${this.#prefix}large`;
    const sent: Run[] = [];
    const received: Run[] = [];
    for (let run = 0; run <= runs; run++) {
      const send = await this.#timedOnce(sizeBytes, async () => {
        await this.#client.put(name, pieces(sizeBytes, run), { size: sizeBytes, signal });
      });
      const receive = await this.#timedOnce(sizeBytes, () => this.#receive(name, sizeBytes, run));
      if (run === 0) continue;
      sent.push(send);
      received.push(receive);
    }
    return [
      { work: 'send', sizeBytes, unit: 'bytes', perSecond: spread(sent) },
      { work: 'receive', sizeBytes, unit: 'bytes', perSecond: spread(received) },
    ];
  }

  /** The library has verified the checksum of every piece; what is asked here is whether it is the right file. */
  async #receive(name: string, sizeBytes: number, run: number): Promise<void> {
    const file = await this.#client.get(name, { signal: this.#options.signal, reuseMemory: true });
    let at = 0;
    for await (const piece of file.body) {
      const first = new Uint8Array(piece.subarray(0, 1));
      if (at % pieceBytes === 0) mustBeEqual(name, first, pieceOf(at / pieceBytes, run, 1));
      at += piece.length;
    }
    if (at !== sizeBytes) throw otherBytes(name);
  }

  async #listing(): Promise<BenchRow> {
    const { files, runs, signal } = this.#options;
    const names = this.#files(0, 'list');
    await forEachBounded(names, atMost(removalsAtOnce), async ({ name, content }) => {
      await this.#client.put(name, content(), { signal });
    });
    const listed: Run[] = [];
    for (let run = 0; run <= runs; run++) {
      let count = 0;
      const took = await this.#timedOnce(files, async () => {
        for await (const _entry of this.#client.list({ prefix: `${this.#prefix}list`, signal })) count++;
      });
      if (count !== files) throw new DfsError('integrity', `${files} files were stored, and ${count} are listed`);
      if (run > 0) listed.push(took);
    }
    return { work: 'list', unit: 'names', perSecond: spread(listed) };
  }

  async #start(): Promise<BenchRow> {
    const sizeBytes = 4096;
    const started: Run[] = [];
    for (let run = 0; run <= this.#options.runs; run++) {
      const name = `${this.#prefix}start-${run}`;
      const content = pieceOf(run, sizeBytes, sizeBytes);
      const took = await this.#timedOnce(1, () => this.#options.sendAlone(name, content));
      const file = await this.#client.get(name, { signal: this.#options.signal });
      mustBeEqual(name, await file.bytes(), content);
      if (run > 0) started.push(took);
    }
    return { work: 'start', sizeBytes, unit: 'processes', perSecond: spread(started) };
  }

  #files(sizeBytes: number, of: string): readonly SmallFile[] {
    return Array.from({ length: this.#options.files }, (_, index) => ({
      name: `${this.#prefix}${of}/${scattered(index)}`,
      content: () => pieceOf(index, sizeBytes, sizeBytes),
    }));
  }

  async #timed(files: readonly SmallFile[], askers: readonly FileClient[], task: Task): Promise<Run> {
    const operationsMs: number[] = [];
    const fromMs = this.#clock.monotonicMs();
    let next = 0;
    const askAll = async (client: FileClient): Promise<void> => {
      for (let file = files[next++]; file !== undefined; file = files[next++]) {
        const calledMs = this.#clock.monotonicMs();
        await task(client, file);
        operationsMs.push(this.#clock.monotonicMs() - calledMs);
      }
    };
    const all = await Promise.allSettled(askers.map((client) => askAll(client).finally(() => (next = files.length))));
    const failed = all.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
    return { units: files.length, tookMs: this.#clock.monotonicMs() - fromMs, operationsMs };
  }

  async #timedOnce(units: number, task: () => Promise<void>): Promise<Run> {
    const fromMs = this.#clock.monotonicMs();
    await task();
    return { units, tookMs: this.#clock.monotonicMs() - fromMs, operationsMs: [] };
  }
}

type Task = (client: FileClient, file: SmallFile) => Promise<void>;

interface SmallFile {
  readonly name: string;
  /** Made anew each time: it is not kept in memory for thousands of files. */
  content(): Uint8Array;
}

/** Numbers in another order than names: what is stored one after the other does not lie side by side. */
function scattered(index: number): string {
  return (Math.imul(index + 1, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0');
}

/** Bytes that compress badly, the same for the same numbers (xorshift32, Marsaglia 2003). */
function pieceOf(index: number, salt: number, bytes: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(bytes / 4));
  let state = (Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca6b)) | 1;
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return new Uint8Array(words.buffer, 0, bytes);
}

/** One piece of random bytes with another beginning each time: making bytes must not be what is measured. */
function* pieces(sizeBytes: number, salt: number): Generator<Uint8Array> {
  const piece = pieceOf(0, salt, Math.min(pieceBytes, sizeBytes));
  for (let at = 0; at < sizeBytes; at += pieceBytes) {
    piece.set(pieceOf(at / pieceBytes, salt, 1)); // whoever asks for the next has done with the one before
    yield piece.subarray(0, sizeBytes - at);
  }
}

function mustBeEqual(name: string, found: Uint8Array, stored: Uint8Array): void {
  if (Buffer.compare(found, stored) !== 0) throw otherBytes(name);
}

function otherBytes(name: string): DfsError {
  return new DfsError('integrity', `${name} came back with other bytes than were stored`);
}

function atMost(atOnce: number) {
  return { atOnce, weightMax: atOnce, weightOf: () => 1 };
}

function spread(runs: readonly Run[]): Spread {
  const rates = runs.map(({ units, tookMs }) => (units / tookMs) * 1000).sort((a, b) => a - b);
  return { min: rates[0] ?? 0, median: rates[rates.length >> 1] ?? 0, max: rates.at(-1) ?? 0 };
}

function percentiles(runs: readonly Run[]): { p50Ms: number; p99Ms: number } {
  const all = runs.flatMap(({ operationsMs }) => operationsMs).sort((a, b) => a - b);
  const at = (share: number): number => all[Math.min(all.length - 1, Math.floor(all.length * share))] ?? 0;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}
