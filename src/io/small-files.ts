/**
 * A folder's small files (the map, identities), each replaced in one step: a reader finds the old or the new content.
 */
import { constants } from 'node:fs';
import { lstat, open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../core/assert.js';
import { StorageFailure } from '../core/errors.js';
import { KeyedQueue } from '../core/keyed-queue.js';
import type { SmallFiles } from '../core/storage.js';
import { syncFolder } from './folder-sync.js';
import { isAbsence, isFullDisk, toStorageFailure, toWriteError } from './system-errors.js';

const namePattern = /^[a-z0-9][a-z0-9.-]{0,63}$/;
const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const writeFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

/** `folder` exists. */
export function openSmallFiles(folder: string): SmallFiles {
  return new SmallFolder(folder);
}

class SmallFolder implements SmallFiles {
  readonly #folder: string;
  readonly #queue = new KeyedQueue();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Throws StorageFailure when something other than a regular file has the name: absent is only what is not there. */
  async read(name: string): Promise<Uint8Array | undefined> {
    const path = this.#pathOf(name);
    try {
      const stat = await lstat(path);
      if (!stat.isFile()) throw new StorageFailure(`${path} is not a regular file`);
      const file = await open(path, readFlags);
      try {
        const content = await file.readFile();
        return new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
      } finally {
        await file.close();
      }
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw toStorageFailure(error, `Reading ${path}`);
    }
  }

  replace(name: string, content: Uint8Array): Promise<void> {
    const path = this.#pathOf(name);
    return this.#queue.run(name, () => this.#write(path, content));
  }

  async #write(path: string, content: Uint8Array): Promise<void> {
    const temporary = `${path}.new`;
    try {
      const file = await open(temporary, writeFlags, 0o640);
      try {
        await file.writeFile(content);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
      await syncFolder(this.#folder);
    } catch (error) {
      if (isFullDisk(error)) await discard(temporary);
      throw toWriteError(error, `Replacing ${path}`);
    }
  }

  #pathOf(name: string): string {
    assert(namePattern.test(name) && !name.endsWith('.new'), `"${name}" is a name for a small file`);
    return join(this.#folder, name);
  }
}

async function discard(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (!isAbsence(error)) throw toStorageFailure(error, `Removing ${path}`);
  });
}
