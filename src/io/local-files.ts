/**
 * The user's own files: read without being fooled by change, written without ever showing half a file.
 *
 * A source is checked again before its last piece is handed out, so that a file that changed under the reader fails
 * instead of being stored torn. A target is written beside its place under a temporary name and renamed; whatever ends
 * the process takes the temporary file with it (only SIGKILL leaves one: `.dfs-….part`).
 */
import { randomBytes } from 'node:crypto';
import { constants, type Dirent, rmSync } from 'node:fs';
import {
  type FileHandle,
  link,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  unlink,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { DfsError, type ErrorCode } from '../core/errors.js';
import type { LocalFiles, LocalKind, LocalSource, LocalTarget, WalkedEntry } from '../core/local-machine.js';
import { givePayloadMemory, takePayloadMemory } from '../core/payload-memory.js';

const pieceBytes = 1024 * 1024;

const causes: Readonly<Record<string, { code: ErrorCode; says: string; advice?: string }>> = {
  ENOENT: { code: 'not-found', says: 'no such file or folder' },
  ENOTDIR: { code: 'failed', says: 'a part of the path is a file, not a folder' },
  EISDIR: { code: 'failed', says: 'is a folder' },
  EACCES: { code: 'failed', says: 'permission denied', advice: 'Check its permissions, or run as a user who has them' },
  EPERM: { code: 'failed', says: 'not permitted' },
  EROFS: { code: 'failed', says: 'the file system is read-only' },
  ENAMETOOLONG: { code: 'failed', says: 'the name is too long for this file system', advice: 'Give another with -o' },
  ENOSPC: { code: 'no-space', says: 'the local disk is full', advice: 'Free some space, or choose another place' },
  EDQUOT: { code: 'no-space', says: 'the disk quota is used up', advice: 'Free some space, or choose another place' },
  EMFILE: { code: 'failed', says: 'too many open files', advice: 'Raise the limit (ulimit -n)' },
};

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? '';
}

function toLocalError(error: unknown, path: string): DfsError {
  if (error instanceof DfsError) return error;
  const known = causes[codeOf(error)];
  const says = known?.says ?? (error instanceof Error ? error.message : String(error));
  return new DfsError(known?.code ?? 'failed', `${path}: ${says}`, {
    cause: error,
    ...(known?.advice === undefined ? {} : { advice: known.advice }),
  });
}

function changed(path: string, how: string): DfsError {
  return new DfsError('failed', `${path} changed while it was being read: ${how}`, {
    advice: 'Nothing was stored under its name. Send it again when nobody writes to it, or send a copy of it',
  });
}

async function openSource(path: string): Promise<LocalSource> {
  // O_NONBLOCK: opening a pipe must not wait for somebody to write to it.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: unknown) => {
    throw toLocalError(error, path);
  });
  const first = await handle.stat({ bigint: true });
  if (!first.isFile()) {
    await handle.close();
    throw new DfsError('invalid', `${path} is not a regular file`);
  }
  const sizeBytes = Number(first.size);

  const assertUnchanged = async (): Promise<void> => {
    const now = await handle.stat({ bigint: true });
    if (now.size !== first.size) throw changed(path, `it had ${first.size} bytes, now ${now.size}`);
    if (now.mtimeNs !== first.mtimeNs) throw changed(path, 'it was written to');
  };

  async function* read(): AsyncIterable<Uint8Array> {
    let position = 0;
    while (position < sizeBytes) {
      const piece = takePayloadMemory(Math.min(pieceBytes, sizeBytes - position));
      const { bytesRead } = await handle.read(piece, 0, piece.length, position).catch((error: unknown) => {
        throw toLocalError(error, path);
      });
      if (bytesRead === 0) throw changed(path, `it had ${sizeBytes} bytes, now ${position}`);
      position += bytesRead;
      if (position === sizeBytes) await assertUnchanged();
      yield piece.subarray(0, bytesRead);
      givePayloadMemory(piece);
    }
    if (sizeBytes === 0) await assertUnchanged();
  }

  return { sizeBytes, read, close: () => handle.close() };
}

async function* walk(folder: string, prefix = ''): AsyncIterable<WalkedEntry> {
  let entries: Dirent<Buffer>[];
  try {
    entries = await readdir(folder, { withFileTypes: true, encoding: 'buffer' });
  } catch (error) {
    const { message, advice } = toLocalError(error, folder);
    yield { kind: 'skipped', path: folder, reason: message, advice: advice ?? '' };
    return;
  }
  entries.sort((a, b) => Buffer.compare(a.name, b.name));
  for (const entry of entries) {
    const part = toText(entry.name);
    if (part === undefined) {
      const path = join(folder, entry.name.toString('latin1'));
      yield { kind: 'skipped', path, reason: `${path}: its name is not UTF-8`, advice: 'Rename it, then send it' };
    } else if (entry.isDirectory()) {
      yield* walk(join(folder, part), `${prefix}${part}/`);
    } else {
      yield await toWalkedFile(join(folder, part), `${prefix}${part}`);
    }
  }
}

async function toWalkedFile(path: string, name: string): Promise<WalkedEntry> {
  try {
    const entry = await stat(path);
    if (entry.isFile()) return { kind: 'file', path, name, sizeBytes: entry.size };
    const reason = entry.isDirectory() ? `${path} is a link to a folder` : `${path} is not a regular file`;
    const advice = entry.isDirectory() ? 'Links to folders are not followed; send that folder by itself' : 'Left out';
    return { kind: 'skipped', path, reason, advice };
  } catch (error) {
    return { kind: 'skipped', path, reason: toLocalError(error, path).message, advice: 'Left out' };
  }
}

function toText(name: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(name);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** Temporary files that exist right now: the last thing the process does is to remove them. */
const unfinished = new Set<string>();
let isExitWatched = false;

function removeAtExit(path: string): void {
  unfinished.add(path);
  if (isExitWatched) return;
  isExitWatched = true;
  process.once('exit', () => {
    for (const left of unfinished) rmSync(left, { force: true });
  });
}

async function createTarget(target: string): Promise<LocalTarget> {
  const folder = dirname(target);
  const temporary = join(folder, `.dfs-${randomBytes(8).toString('hex')}.part`);
  let handle: FileHandle;
  try {
    await mkdir(folder, { recursive: true });
    removeAtExit(temporary);
    handle = await open(temporary, 'wx', 0o666);
  } catch (error) {
    unfinished.delete(temporary);
    throw toLocalError(error, target);
  }
  const discard = async (): Promise<void> => {
    await handle.close();
    await rm(temporary, { force: true });
    unfinished.delete(temporary);
  };
  return {
    async write(bytes) {
      try {
        await handle.writeFile(bytes);
      } catch (error) {
        throw toLocalError(error, target);
      }
    },
    async commit({ replace }) {
      try {
        await handle.close();
        if (replace) await rename(temporary, target);
        else await linkInPlace(temporary, target);
        unfinished.delete(temporary);
      } catch (error) {
        throw codeOf(error) === 'EEXIST' ? targetExists(target) : toLocalError(error, target);
      }
    },
    discard,
  };
}

/** Unlike rename, link refuses to replace: two programs that fetch the same file cannot overwrite each other. */
async function linkInPlace(temporary: string, target: string): Promise<void> {
  try {
    await link(temporary, target);
    await unlink(temporary);
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(codeOf(error))) throw error;
    if (await exists(target)) throw targetExists(target);
    await rename(temporary, target);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
    return false;
  }
}

function targetExists(target: string): DfsError {
  return new DfsError('conflict', `${target} exists already and was kept`, {
    advice: 'Give --force to replace it, or -o for another place',
  });
}

async function kindOf(path: string): Promise<LocalKind | undefined> {
  try {
    const entry = await stat(path);
    if (entry.isFile()) return 'file';
    if (entry.isDirectory()) return 'folder';
    return entry.isFIFO() ? 'pipe' : 'other';
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw toLocalError(error, path);
  }
}

export const localFiles: LocalFiles = {
  kindOf,
  sizeOf: async (path) => (await stat(path)).size,
  baseNameOf: (path) => basename(resolve(path)),
  join,
  open: openSource,
  walk: (folder) => walk(folder),
  create: createTarget,
  async readText(path) {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      throw toLocalError(error, path);
    }
  },
  makeTemporaryFolder: () => mkdtemp(join(tmpdir(), 'dfs-')),
  async makeFolder(path) {
    await mkdir(path, { recursive: true }).catch((error: unknown) => {
      throw toLocalError(error, path);
    });
  },
  removeFolder: (path) => rm(path, { recursive: true, force: true }),
};
