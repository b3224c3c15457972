/**
 * The library: DfsClient over this machine's network, clock and disk, and the types of its calls.
 */
import { type ClientOptions, connectClient, type FileClient } from './client/file-client.js';
import { type Environment, silentLog } from './core/environment.js';
import { defaultCacheFolder, openCacheFiles } from './io/cache-files.js';
import { systemClock } from './io/clock.js';
import { systemRandom } from './io/random.js';
import { tcpNetwork } from './io/tcp.js';

export type * from './client/operations.js';
export type * from './client/results.js';
export { DfsError, type ErrorCode, refusals } from './core/errors.js';

export interface ConnectOptions extends ClientOptions {
  /** Where the last known cluster map is kept; null keeps none. ~/.cache/dfs when absent. */
  readonly cacheDir?: string | null;
  /** Where notes for debugging go; nowhere when absent. */
  readonly log?: Environment['log'];
}

/** A client of one cluster, for one bucket; `bucket` gives those of others. */
export type DfsClient = FileClient;

export const DfsClient = {
  /** Throws DfsError: `invalid` for malformed options, `unavailable` when nothing is cached and no master answers. */
  async connect(options: ConnectOptions): Promise<DfsClient> {
    const { cacheDir, log, ...rest } = options;
    const environment: Environment = {
      clock: systemClock,
      random: systemRandom,
      network: tcpNetwork,
      log: log ?? silentLog,
    };
    const cacheFiles = cacheDir === null ? undefined : openCacheFiles(cacheDir ?? defaultCacheFolder());
    return connectClient(environment, { ...rest, cacheFiles });
  },
};
