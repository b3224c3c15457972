/**
 * The program `dfs`: hands the real terminal, files, clock and client to the command line.
 *
 * What most commands do not need is imported where it is used, so that starting up stays quick.
 */
import { runProgram } from '../cli/program.js';
import type { Settings } from '../cli/settings.js';
import type { FileClient } from '../client/file-client.js';
import { packageVersion } from '../core/version.js';
import { systemClock } from '../io/clock.js';
import { localFiles } from '../io/local-files.js';
import { processes } from '../io/processes.js';
import { flushTerminal, openTerminal } from '../io/terminal.js';

/** Resolves with the exit code once everything printed has left the process. */
export async function main(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const exitCode = await runProgram(argv, {
    ...{ terminal: openTerminal(), files: localFiles, processes, clock: systemClock, environment },
    version: packageVersion,
    loadConfig,
    freePorts: async (wanted) => (await import('../io/free-ports.js')).freePorts(wanted),
    connect: async (settings) => connect(settings, defaultCacheDir(environment)),
  });
  await flushTerminal();
  return exitCode;
}

async function connect(settings: Settings, cacheDir: string | undefined): Promise<FileClient> {
  const { DfsClient } = await import('../dfs.js');
  const { masters, bucket, timeoutMs, deadlineMs } = settings;
  const cache = settings.cacheDir ?? cacheDir;
  return DfsClient.connect({
    ...{ masters, bucket, timeoutMs },
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
    ...(cache === undefined ? {} : { cacheDir: cache }),
  });
}

function defaultCacheDir({ XDG_CACHE_HOME, HOME }: Readonly<Record<string, string | undefined>>): string | undefined {
  if (XDG_CACHE_HOME) return localFiles.join(XDG_CACHE_HOME, 'dfs');
  return HOME ? localFiles.join(HOME, '.cache/dfs') : undefined;
}

async function loadConfig(path: string): Promise<Readonly<Record<string, unknown>>> {
  const { parseToml } = await import('./toml.js');
  return parseToml(await localFiles.readText(path), path);
}
