/**
 * The files that hold the bytes of segments: bytes/<first hex digit>/<id>, created once, never changed.
 *
 * A file is acknowledged when its content and its folder entry are durable. Nothing but a regular file is ever read: a
 * link, a pipe or a folder in a file's place counts as missing. What belongs to whom is the index's business.
 */
import { closeSync, constants, fdatasync, fstatSync, open as openFile, read as readFile } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { lstat, mkdir, open, readdir, statfs, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { assert, assertDefined } from '../core/assert.js';
import { DfsError } from '../core/errors.js';
import { takePayloadMemory } from '../core/payload-memory.js';
import type { ByteStore, FileId } from '../core/storage.js';
import { FolderSync, syncFolder } from './folder-sync.js';
import {
  isAbsence,
  isFullDisk,
  isOutOfDescriptors,
  systemCode,
  toStorageFailure,
  toWriteError,
} from './system-errors.js';

const datasync = promisify(fdatasync);
const digits = [...'0123456789abcdef'];
const idPattern = /^[0-9a-f]{32}$/;
const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
// O_NONBLOCK: opening a pipe in a file's place must not wait for its writer.
const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Opens the store in `folder`, whose parent exists; makes what is missing of its sixteen folders. */
export async function openByteFiles(folder: string): Promise<ByteFiles> {
  try {
    await makeFolders(folder);
    const syncs = await Promise.all(digits.map(async (digit) => new FolderSync(await open(join(folder, digit), 'r'))));
    return new ByteFiles(folder, new Map(digits.map((digit, at) => [digit, assertDefined(syncs[at], 'One a digit')])));
  } catch (error) {
    throw toWriteError(error, `Opening ${folder}`);
  }
}

async function makeFolders(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const digit of digits) await mkdir(join(folder, digit), { recursive: true });
  await syncFolder(folder);
  await syncFolder(join(folder, '..'));
}

export class ByteFiles implements ByteStore {
  readonly #folder: string;
  readonly #syncs: ReadonlyMap<string, FolderSync>;
  /** The folder that list() is walking through, read once. */
  #listing: { digit: string; ids: readonly FileId[] } | undefined;

  constructor(folder: string, syncs: ReadonlyMap<string, FolderSync>) {
    this.#folder = folder;
    this.#syncs = syncs;
  }

  async create(id: FileId, header: Uint8Array, bytes: Uint8Array): Promise<void> {
    const path = this.#pathOf(id);
    const file = await open(path, createFlags, 0o640).catch((error: unknown) => {
      assert(systemCode(error) !== 'EEXIST', `File ${id} exists already: ids are never reused`);
      throw toWriteError(error, `Creating ${path}`);
    });
    try {
      await this.#fill(file, path, [header, bytes]);
      await assertDefined(this.#syncs.get(id.charAt(0)), 'A folder for each digit').sync();
    } catch (error) {
      if (isFullDisk(error)) await this.remove(id);
      throw toWriteError(error, `Writing ${path}`);
    }
  }

  async sync(id: FileId): Promise<void> {
    const path = this.#pathOf(id);
    const descriptor = await openToRead(path);
    if (descriptor === undefined) throw new DfsError('integrity', `There is no file at ${path}`);
    try {
      await datasync(descriptor);
      await assertDefined(this.#syncs.get(id.charAt(0)), 'A folder for each digit').sync();
    } catch (error) {
      throw toStorageFailure(error, `Syncing ${path}`);
    } finally {
      closeSync(descriptor);
    }
  }

  async #fill(file: FileHandle, path: string, parts: readonly Uint8Array[]): Promise<void> {
    try {
      const sizeBytes = parts.reduce((sum, part) => sum + part.length, 0);
      let { bytesWritten } = await file.writev([...parts]);
      if (bytesWritten < sizeBytes) {
        // A short write: the disk is nearly full. What is left either fits or fails with the reason.
        const rest = Buffer.concat(parts).subarray(bytesWritten);
        for (let done = 0; done < rest.length; done += bytesWritten) {
          ({ bytesWritten } = await file.write(rest, done));
          assert(bytesWritten > 0, `A write to ${path} makes progress or fails`);
        }
      }
      await file.datasync();
    } finally {
      await file.close();
    }
  }

  async read(id: FileId, range: { offset: number; length: number }): Promise<Uint8Array | undefined> {
    const path = this.#pathOf(id);
    const descriptor = await openToRead(path);
    if (descriptor === undefined) return undefined;
    try {
      const stat = fstatSync(descriptor);
      if (!stat.isFile()) return undefined;
      const length = Math.max(0, Math.min(range.length, stat.size - range.offset));
      return await readFully(descriptor, { offset: range.offset, length });
    } catch (error) {
      throw new DfsError('integrity', `Reading ${path} failed`, { cause: error });
    } finally {
      closeSync(descriptor);
    }
  }

  async sizeOf(id: FileId): Promise<number | undefined> {
    const found = await this.#regularFile(id);
    return found?.sizeBytes;
  }

  async remove(id: FileId): Promise<void> {
    const path = this.#pathOf(id);
    await unlink(path).catch((error: unknown) => {
      // A folder in the file's place is not ours to empty; it counts as missing everywhere else.
      const harmless = isAbsence(error) || systemCode(error) === 'EISDIR' || systemCode(error) === 'EPERM';
      if (!harmless) throw toStorageFailure(error, `Removing ${path}`);
    });
  }

  async list(after: FileId | undefined, limit: number): Promise<readonly { id: FileId; modifiedAtMs: number }[]> {
    assert(limit > 0, 'A page holds something');
    const page: { id: FileId; modifiedAtMs: number }[] = [];
    for (const digit of digits) {
      if (after !== undefined && digit < after.charAt(0)) continue;
      for (const id of await this.#idsIn(digit, after)) {
        const found = await this.#regularFile(id);
        if (found !== undefined) page.push({ id, modifiedAtMs: found.modifiedAtMs });
        if (page.length === limit) return page;
      }
    }
    this.#listing = undefined;
    return page;
  }

  async space(): Promise<{ freeBytes: number; totalBytes: number }> {
    try {
      const { bavail, blocks, bsize } = await statfs(this.#folder);
      return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    } catch (error) {
      throw toStorageFailure(error, `Asking for the space at ${this.#folder}`);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#syncs.values()].map((sync) => sync.close()));
  }

  /** The ids in one folder behind `after`, in order. A walk over many pages reads each folder once. */
  async #idsIn(digit: string, after: FileId | undefined): Promise<readonly FileId[]> {
    const begins = after === undefined || after.charAt(0) !== digit;
    if (begins || this.#listing?.digit !== digit) {
      const path = join(this.#folder, digit);
      const names = await readdir(path).catch((error: unknown) => {
        throw toStorageFailure(error, `Listing ${path}`);
      });
      const ids = names.filter((name) => idPattern.test(name) && name.charAt(0) === digit).sort();
      this.#listing = { digit, ids };
    }
    const { ids } = this.#listing;
    return begins ? ids : ids.slice(firstBehind(ids, after));
  }

  async #regularFile(id: FileId): Promise<{ sizeBytes: number; modifiedAtMs: number } | undefined> {
    const path = this.#pathOf(id);
    try {
      const stat = await lstat(path);
      return stat.isFile() ? { sizeBytes: stat.size, modifiedAtMs: stat.mtimeMs } : undefined;
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw new DfsError('integrity', `Looking at ${path} failed`, { cause: error });
    }
  }

  #pathOf(id: FileId): string {
    assert(idPattern.test(id), `A file id is 32 hex digits, not ${id}`);
    return join(this.#folder, id.charAt(0), id);
  }
}

/** The position of the first id greater than `after` in a sorted list. */
function firstBehind(ids: readonly FileId[], after: FileId): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (assertDefined(ids[middle], 'Within the list') <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Undefined when nothing is there that may be opened: no file, a link, a socket. */
function openToRead(path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    openFile(path, readFlags, (error, descriptor) => {
      if (error === null) resolve(descriptor);
      else if (isAbsence(error) || systemCode(error) === 'ELOOP' || systemCode(error) === 'ENXIO') resolve(undefined);
      else if (isOutOfDescriptors(error)) reject(toWriteError(error, `Opening ${path}`));
      else reject(new DfsError('integrity', `Opening ${path} failed`, { cause: error }));
    });
  });
}

async function readFully(descriptor: number, range: { offset: number; length: number }): Promise<Uint8Array> {
  const bytes = takePayloadMemory(range.length);
  let done = 0;
  while (done < bytes.length) {
    const count = await readOnce(descriptor, bytes.subarray(done), range.offset + done);
    if (count === 0) break; // cut shorter meanwhile
    done += count;
  }
  return done < bytes.length ? bytes.subarray(0, done) : bytes;
}

function readOnce(descriptor: number, target: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    readFile(descriptor, target, 0, target.length, position, (error, count) => {
      if (error === null) resolve(count);
      else reject(error);
    });
  });
}
