/**
 * The program `dfs`: hands the real terminal, files, clock and client to the command line.
 *
 * What most commands do not need is imported where it is used, so that starting up stays quick.
 */
import { runProgram, type World } from '../cli/program.js';
import type { Settings } from '../cli/settings.js';
import type { FileClient } from '../client/file-client.js';
import { silentLog } from '../core/environment.js';
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
    limitsOf: async (folder) => (await import('../io/machine-limits.js')).machineLimits(folder),
    connect,
    examine,
  });
  await flushTerminal();
  return exitCode;
}

async function examine({ masters, cacheDir }: Settings): ReturnType<World['examine']> {
  const [client, { tcpNetwork }, { systemRandom }, cache, { nodeVersion }] = await Promise.all([
    import('../client/examination.js'),
    import('../io/tcp.js'),
    import('../io/random.js'),
    import('../io/cache-files.js'),
    import('../io/daemon-process.js'),
  ]);
  const folder = cacheDir ?? cache.defaultCacheFolder();
  const environment = { clock: systemClock, random: systemRandom, network: tcpNetwork, log: silentLog };
  const cluster = await client.examine(environment, { masters, cacheFiles: cache.openCacheFiles(folder) });
  return { cluster, here: { nodeVersion, cacheProblem: await cache.whyUnusable(folder) } };
}

async function connect({ masters, bucket, timeoutMs, deadlineMs, cacheDir }: Settings): Promise<FileClient> {
  const [{ connectClient }, { tcpNetwork }, { systemRandom }, { defaultCacheFolder, openCacheFiles }] =
    await Promise.all([
      import('../client/file-client.js'),
      import('../io/tcp.js'),
      import('../io/random.js'),
      import('../io/cache-files.js'),
    ]);
  const environment = { clock: systemClock, random: systemRandom, network: tcpNetwork, log: silentLog };
  return connectClient(environment, {
    ...{ masters, bucket, timeoutMs, cacheFiles: openCacheFiles(cacheDir ?? defaultCacheFolder()) },
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  });
}

async function loadConfig(path: string): Promise<Readonly<Record<string, unknown>>> {
  const { parseToml } = await import('./toml.js');
  return parseToml(await localFiles.readText(path), path);
}
