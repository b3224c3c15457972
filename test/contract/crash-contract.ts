/**
 * What every storage keeps when its process, or its machine, stops in the middle: all that was done, nothing that was
 * not begun, and of the rest nothing that looks like more than it is: by a plain record of what was reported.
 */
import { describe, expect, it } from 'vitest';
import { indexTables } from '../../src/core/storage.js';
import {
  contentOf,
  counterKey,
  idOf,
  type Report,
  type Script,
  type Stores,
  smallContentOf,
  smallNames,
  writesOf,
} from './crash-script.js';

export interface CrashHarness {
  /** Runs the script on what is there and ends it in the middle. Answers what it reported. */
  runAndCrash(script: Script): Promise<readonly Report[]>;
  /** Opens what the crash left. */
  open(): Promise<Stores>;
  close(): Promise<void>;
  /** Of the machine, while nothing is open; undefined where a test cannot do that. */
  readonly cutPower: (() => void) | undefined;
  dispose(): Promise<void>;
}

const everything = { from: new Uint8Array(0) };

export function crashContract(
  name: string,
  options: { makeHarness: (seed: number) => Promise<CrashHarness>; seeds: readonly number[]; rounds: number },
): void {
  describe(`${name} after crashes`, () => {
    it.each([...options.seeds])('holds what was done, and nothing that was not begun (seed %i)', async (seed) => {
      const harness = await options.makeHarness(seed);
      try {
        const record = new Record();
        for (let round = 0; round < options.rounds; round++) {
          const script = record.nextScript(seed * 1000 + round);
          record.take(await harness.runAndCrash(script));
          // What a process finds is not always on the disk yet: the second look may find less.
          for (let look = 0; look < 2; look++) {
            await record.compare(await harness.open());
            await harness.close();
            if (look === 0) harness.cutPower?.();
          }
        }
        expect(record.doneCount).toBeGreaterThan(options.rounds);
      } finally {
        await harness.dispose();
      }
    });
  });
}

/** All that was reported so far, over every crash. */
class Record {
  doneCount = 0;
  #nextNumber = 1;
  /** Transactions that may be in the index, in order; of them the first `#sureCommits` are. */
  #commits: number[] = [];
  #sureCommits = 0;
  readonly #files = new Map<number, 'begun' | 'done' | 'removed'>();
  readonly #versions = new Map<string, { done: number; begun: number[] }>(
    smallNames.map((name) => [name, { done: 0, begun: [] }]),
  );

  nextScript(seed: number): Script {
    const removable = [...this.#files].filter(([, state]) => state === 'done').map(([number]) => number);
    return { seed, firstNumber: this.#nextNumber, removable };
  }

  take(reports: readonly Report[]): void {
    for (const { deed, state, what } of reports) {
      if (state === 'done') this.doneCount++;
      const [first = '', version] = what.split(' ');
      const number = Number(version ?? first);
      if (deed !== 'remove') this.#nextNumber = Math.max(this.#nextNumber, number + 1);
      if (deed === 'commit') this.#takeCommit(state, number);
      else if (deed === 'create') this.#files.set(number, state);
      else if (deed === 'remove') this.#files.set(number, 'removed');
      else this.#takeVersion(first, state, number);
    }
  }

  async compare(stores: Stores): Promise<void> {
    this.#compareIndex(stores);
    await this.#compareFiles(stores);
    for (const [name, { done, begun }] of this.#versions) {
      const found = await stores.files.read(name);
      const allowed = begun.filter((version) => version >= done);
      const isAllowed =
        found === undefined
          ? done === 0
          : allowed.some((version) => Buffer.compare(found, smallContentOf(`${name} ${version}`)) === 0);
      expect(isAllowed, `${name} is ${found && Buffer.from(found.subarray(0, 20))}, done ${done}`).toBe(true);
    }
  }

  #takeCommit(state: 'begun' | 'done', number: number): void {
    if (state === 'begun') this.#commits.push(number);
    else this.#sureCommits = Math.max(this.#sureCommits, this.#commits.indexOf(number) + 1);
  }

  #takeVersion(name: string, state: 'begun' | 'done', version: number): void {
    const versions = this.#versions.get(name);
    if (versions === undefined) throw new Error(`Nobody replaces ${name}`);
    if (state === 'begun') versions.begun.push(version);
    else versions.done = Math.max(versions.done, version);
  }

  /** The first so many commits, all of them whole. */
  #compareIndex({ index }: Stores): void {
    const counter = index.get('meta', counterKey);
    const last = counter === undefined ? undefined : Number(Buffer.from(counter).toString());
    const count = last === undefined ? 0 : this.#commits.indexOf(last) + 1;
    expect(last === undefined || count > 0, `Transaction ${last} was begun`).toBe(true);
    expect(count, 'Transactions that are there').toBeGreaterThanOrEqual(this.#sureCommits);
    this.#commits = this.#commits.slice(0, count);
    const model = new Map<string, Uint8Array>();
    for (const number of this.#commits) {
      for (const { table, key, value } of writesOf(number)) {
        if (value === undefined) model.delete(`${table} ${key}`);
        else model.set(`${table} ${key}`, value);
      }
    }
    const found = indexTables.flatMap((table) =>
      index.range(table, everything).map(([key, value]) => [`${table} ${Buffer.from(key)}`, value] as const),
    );
    expect(found.map(([key]) => key).sort()).toEqual([...model.keys()].sort());
    for (const [key, value] of found) expect(Buffer.compare(value, model.get(key) ?? new Uint8Array(1)), key).toBe(0);
  }

  async #compareFiles({ bytes }: Stores): Promise<void> {
    const numbers = new Map([...this.#files.keys()].map((number) => [idOf(number), number]));
    const listed = await bytes.list(undefined, 100_000);
    const present = new Set(listed.map(({ id }) => id));
    for (const id of present) expect(numbers.has(id), `File ${id} was begun`).toBe(true);
    for (const [number, state] of this.#files) {
      const id = idOf(number);
      if (state === 'done') expect(present.has(id), `File ${number} is there`).toBe(true);
      if (state === 'begun' || !present.has(id)) continue;
      const { header, bytes: content } = contentOf(number);
      const found = await bytes.read(id, { offset: 0, length: 1_000_000 });
      expect(Buffer.compare(found ?? new Uint8Array(0), Buffer.concat([header, content])), `File ${number}`).toBe(0);
    }
  }
}
