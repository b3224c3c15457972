/**
 * A folder of small files that are only a help: made when missing, shared by programs that run at the same time, never
 * waited for until durable. Each writer has its own temporary file, so a reader finds one whole content or another.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { SmallFiles } from '../core/storage.js';
import { isAbsence } from './system-errors.js';

/** ~/.cache/dfs, or where XDG_CACHE_HOME says. */
export function defaultCacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'dfs');
}

/** Errors are those of the file system; whoever keeps a cache goes on without. */
export function openCacheFiles(folder: string): SmallFiles {
  return {
    async read(name) {
      try {
        return await readFile(join(folder, name));
      } catch (error) {
        if (isAbsence(error)) return undefined;
        throw error;
      }
    },

    async replace(name, content) {
      await mkdir(folder, { recursive: true });
      const temporary = join(folder, `${name}.${randomBytes(6).toString('hex')}.new`);
      try {
        await writeFile(temporary, content, { flag: 'wx', mode: 0o600 });
        await rename(temporary, join(folder, name));
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    },
  };
}

/** Why nothing can be kept in the folder, for people; undefined when it can. */
export async function whyUnusable(folder: string): Promise<string | undefined> {
  const trial = join(folder, `trial.${randomBytes(6).toString('hex')}.new`);
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(trial, 'dfs', { flag: 'wx', mode: 0o600 });
    await rm(trial);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
