/**
 * Gives a data folder to one process at a time.
 *
 * An abstract unix socket named after the folder's device and inode is the lock: the kernel frees it the moment its
 * holder ends, however it ends. The file `lock` beside it names the holder (process id with its start time and the
 * boot, so that a reused id is told apart) and covers a holder in another network namespace. The file stays open:
 * that keeps its inode from being reused, so that a wiped folder is noticed.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from 'node:fs';
import { access, mkdir, realpath, stat, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { exitCodes } from '../core/errors.js';
import { syncFolder } from './folder-sync.js';
import { isAbsence, systemCode, toStorageFailure } from './system-errors.js';

export type FolderRefusal = 'in-use' | 'missing-parent' | 'not-a-folder' | 'not-writable';

const exitCodeFor: Readonly<Record<FolderRefusal, number>> = {
  'in-use': exitCodes.folderInUse,
  'missing-parent': exitCodes.configuration,
  'not-a-folder': exitCodes.configuration,
  'not-writable': exitCodes.configuration,
};

/** The folder cannot be used as it is; `exitCode` is what the program ends with. */
export class FolderRefused extends Error {
  override name = 'FolderRefused';
  readonly reason: FolderRefusal;
  readonly exitCode: number;

  constructor(reason: FolderRefusal, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
    this.exitCode = exitCodeFor[reason];
  }
}

export interface FolderLock {
  /** The folder's real path. */
  readonly path: string;
  /** Whether the folder is still the one that was locked: not wiped, replaced or unmounted. Cheap. */
  stillThere(): boolean;
  release(): Promise<void>;
}

interface Holder {
  readonly pid: number;
  readonly startedAt: string;
  readonly bootId: string;
}

const lockName = 'lock';

/** Locks `folder` for this process, making it when only its last part is missing. Throws FolderRefused. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const path = await findOrMake(resolve(folder));
  const socket = await holdSocket(path);
  try {
    const file = claimFile(path);
    return heldLock(path, file, socket);
  } catch (error) {
    await closeServer(socket);
    throw error;
  }
}

async function findOrMake(folder: string): Promise<string> {
  try {
    await mkdir(folder);
    await syncFolder(dirname(folder));
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw refusalToMake(folder, error);
  }
  const path = await realpath(folder).catch((error: unknown) => {
    throw new FolderRefused('not-a-folder', `The data folder ${folder} is a link that leads nowhere`, error);
  });
  if (!(await stat(path)).isDirectory()) {
    throw new FolderRefused('not-a-folder', `The data folder ${folder} is not a folder`);
  }
  await access(path, constants.R_OK | constants.W_OK | constants.X_OK).catch((error: unknown) => {
    throw new FolderRefused('not-writable', `The data folder ${folder} is not writable (${systemCode(error)})`, error);
  });
  return path;
}

function refusalToMake(folder: string, error: unknown): Error {
  const parent = dirname(folder);
  switch (systemCode(error)) {
    case 'ENOENT':
      return new FolderRefused(
        'missing-parent',
        `The folder ${parent} for the data folder does not exist: make it, or mount it, first`,
        error,
      );
    case 'ENOTDIR':
      return new FolderRefused('not-a-folder', `${parent} on the way to the data folder is not a folder`, error);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new FolderRefused('not-writable', `The data folder cannot be made: ${parent} is not writable`, error);
    default:
      return toStorageFailure(error, `Making the data folder ${folder}`);
  }
}

async function holdSocket(path: string): Promise<Server> {
  const { dev, ino } = await stat(path);
  const server = createServer((connection) => connection.destroy());
  return new Promise((resolveWith, reject) => {
    server.once('error', (error) => {
      reject(systemCode(error) === 'EADDRINUSE' ? inUse(path, readHolder(path)) : error);
    });
    server.listen({ path: `\0dfs-folder-${dev}-${ino}` }, () => {
      server.unref();
      resolveWith(server);
    });
  });
}

/** Writes this process into the lock file and returns its descriptor. */
function claimFile(path: string): number {
  const holder = readHolder(path);
  if (holder !== undefined && isAlive(holder)) throw inUse(path, holder);
  let descriptor: number;
  try {
    descriptor = openSync(join(path, lockName), constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o640);
  } catch (error) {
    throw new FolderRefused('not-writable', `The data folder ${path} is not writable (${systemCode(error)})`, error);
  }
  try {
    ftruncateSync(descriptor);
    writeSync(descriptor, `${JSON.stringify(describeProcess(process.pid))}\n`);
    fsyncSync(descriptor);
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw toStorageFailure(error, `Writing ${join(path, lockName)}`);
  }
}

function heldLock(path: string, descriptor: number, socket: Server): FolderLock {
  const { dev, ino } = fstatSync(descriptor);
  const file = join(path, lockName);
  return {
    path,
    stillThere(): boolean {
      try {
        const found = statSync(file);
        return found.dev === dev && found.ino === ino;
      } catch (error) {
        if (systemCode(error) === undefined) throw error;
        return false; // gone, or not to be reached: either way not what was locked
      }
    },
    async release(): Promise<void> {
      const wasThere = this.stillThere();
      closeSync(descriptor);
      if (wasThere) await unlink(file);
      await closeServer(socket);
    },
  };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolveWith) => server.close(() => resolveWith()));
}

function inUse(path: string, holder: Holder | undefined): FolderRefused {
  const who = holder === undefined ? 'another process' : `process ${holder.pid}`;
  return new FolderRefused('in-use', `The data folder ${path} is in use by ${who}`);
}

function describeProcess(pid: number): Holder | undefined {
  try {
    // Field 22 of proc(5)'s stat, counted behind the command, which may hold spaces and brackets.
    const line = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const startedAt = line.slice(line.lastIndexOf(')') + 2).split(' ')[19];
    if (startedAt === undefined) return undefined;
    return { pid, startedAt, bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() };
  } catch (error) {
    if (isAbsence(error) || systemCode(error) === 'ESRCH') return undefined;
    throw error;
  }
}

function isAlive(holder: Holder): boolean {
  const found = describeProcess(holder.pid);
  if (found === undefined || holder.pid === process.pid) return false;
  return found.startedAt === holder.startedAt && found.bootId === holder.bootId;
}

/** Undefined when the file is absent or does not name a process: then it locks nothing. */
function readHolder(path: string): Holder | undefined {
  try {
    const found: unknown = JSON.parse(readFileSync(join(path, lockName), 'utf8'));
    if (typeof found !== 'object' || found === null) return undefined;
    const { pid, startedAt, bootId } = found as Readonly<Record<string, unknown>>;
    if (typeof pid !== 'number' || typeof startedAt !== 'string' || typeof bootId !== 'string') return undefined;
    return { pid, startedAt, bootId };
  } catch (error) {
    if (isAbsence(error) || error instanceof SyntaxError) return undefined;
    throw toStorageFailure(error, `Reading ${join(path, lockName)}`);
  }
}
