/**
 * Copies of a peer's index: `checkpoints/<name>.mdb`, each an LMDB environment in one file.
 *
 * One that is being made is called `<name>.new` until it is finished, so that a crash leaves nothing that could be
 * taken for a whole copy: what has that name when the folder is opened is removed.
 */
import { lstat, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { assert } from '../core/assert.js';
import type { IndexCopies, IndexStore } from '../core/storage.js';
import { syncFolder } from './folder-sync.js';
import { copyIndex, type IndexOptions, openIndex } from './lmdb-index.js';
import { isAbsence, toStorageFailure, toWriteError } from './system-errors.js';

const namePattern = /^[a-z0-9-]{1,64}$/;
const finished = '.mdb';
const unfinished = '.new';
/** What LMDB and lmdb-index.ts put beside an index. */
const besides = ['', '-lock', '-suspect'] as const;

/** Opens the folder, made when it is missing. `indexPath`: where `index` is. */
export async function openIndexCopies(
  folder: string,
  of: { readonly index: IndexStore; readonly indexPath: string },
  options: IndexOptions,
): Promise<IndexCopies> {
  try {
    await mkdir(folder, { recursive: true });
    const names = await readdir(folder);
    for (const name of names) {
      if (besides.some((end) => name.endsWith(`${unfinished}${end}`))) await rm(join(folder, name), { force: true });
    }
    await syncFolder(folder);
    await syncFolder(dirname(folder));
  } catch (error) {
    throw toWriteError(error, `Opening ${folder}`);
  }
  return new LmdbCopies(folder, of, options);
}

class LmdbCopies implements IndexCopies {
  readonly #folder: string;
  readonly #of: { readonly index: IndexStore; readonly indexPath: string };
  readonly #options: IndexOptions;

  constructor(folder: string, of: { index: IndexStore; indexPath: string }, options: IndexOptions) {
    this.#folder = folder;
    this.#of = of;
    this.#options = options;
  }

  async list(): Promise<readonly string[]> {
    const names = await readdir(this.#folder).catch((error: unknown) => {
      throw toStorageFailure(error, `Listing ${this.#folder}`);
    });
    return names
      .filter((name) => name.endsWith(finished))
      .map((name) => name.slice(0, -finished.length))
      .filter((name) => namePattern.test(name))
      .sort();
  }

  sizeOfNext(): Promise<number> {
    return sizeOf(this.#of.indexPath);
  }

  async make(name: string): Promise<IndexStore> {
    const path = this.#pathOf(name, unfinished);
    await this.#removeFiles(path);
    await copyIndex(this.#of.index, path);
    const found = await openIndex(path, this.#options);
    assert(found.state === 'open', `A copy that was just made is whole: ${JSON.stringify(found)}`);
    return found.index;
  }

  async finish(name: string): Promise<void> {
    const path = this.#pathOf(name, unfinished);
    try {
      await rename(path, this.#pathOf(name, finished));
      await rm(`${path}-lock`, { force: true });
      await syncFolder(this.#folder);
    } catch (error) {
      throw toWriteError(error, `Finishing ${path}`);
    }
  }

  async open(name: string): Promise<IndexStore | undefined> {
    const found = await openIndex(this.#pathOf(name, finished), this.#options);
    return found.state === 'open' ? found.index : undefined;
  }

  sizeOf(name: string): Promise<number> {
    return sizeOf(this.#pathOf(name, finished));
  }

  async remove(name: string): Promise<void> {
    await this.#removeFiles(this.#pathOf(name, finished));
    await this.#removeFiles(this.#pathOf(name, unfinished));
  }

  async #removeFiles(path: string): Promise<void> {
    try {
      for (const end of besides) await rm(`${path}${end}`, { force: true });
      await syncFolder(this.#folder);
    } catch (error) {
      throw toStorageFailure(error, `Removing ${path}`);
    }
  }

  #pathOf(name: string, end: typeof finished | typeof unfinished): string {
    assert(namePattern.test(name), `"${name}" is a name for a copy of an index`);
    return join(this.#folder, `${name}${end}`);
  }
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await lstat(path)).size;
  } catch (error) {
    if (isAbsence(error)) return 0;
    throw toStorageFailure(error, `Looking at ${path}`);
  }
}
