/**
 * A client on a host of its own, which may be restarted with nothing but what it cached on its disk.
 */
import { connectClient, type FileClient } from '../../src/client/file-client.js';
import { isRefusal } from '../../src/core/errors.js';
import type { Address } from '../../src/core/ids.js';
import type { SmallFiles } from '../../src/core/storage.js';
import type { SimCluster } from './cluster.js';
import { SimHost, type Started } from './world/sim-host.js';

const retryMs = 500;

export class SimClient {
  readonly cluster: SimCluster;
  readonly host: SimHost;
  #client: FileClient | undefined;
  #onConnected: (() => void)[] = [];
  #beforeStart: ((files: SmallFiles) => Promise<void>) | undefined;

  /** `timeoutMs`: how long a call waits for an answer. */
  constructor(cluster: SimCluster, name: string, options: { masters: readonly Address[]; timeoutMs: number }) {
    this.cluster = cluster;
    this.host = new SimHost(cluster.network, {
      name,
      trace: cluster.trace,
      probeOf: (process) => ({
        at: (moment) => {
          if (!process.isDead) cluster.points.reach(this.host, moment);
        },
      }),
      program: async (environment, { disk, world }): Promise<Started> => {
        const cacheFiles = disk.openSmallFiles(world);
        await this.#beforeStart?.(cacheFiles);
        let client: FileClient | undefined;
        while (client === undefined) {
          // Nobody answers and nothing is cached: as a person would, it tries again.
          client = await connectClient(environment, { ...options, cacheFiles }).catch((error: unknown) => {
            if (!isRefusal(error)) throw error;
            return new Promise<undefined>((resolve) => environment.clock.after(retryMs, () => resolve(undefined)));
          });
        }
        const connected = client;
        this.#client = client;
        for (const call of this.#onConnected.splice(0)) call();
        return { stop: () => connected.close() };
      },
    });
  }

  get client(): FileClient {
    if (this.#client === undefined) throw new Error(`The client on ${this.host.name} is not connected`);
    return this.#client;
  }

  /** Resolves when a new process of the client knows the cluster; `before` may change what it finds on its disk. */
  restart(before?: (files: SmallFiles) => Promise<void>): Promise<void> {
    this.host.crash();
    this.#beforeStart = before;
    this.#client = undefined;
    const connected = new Promise<void>((resolve) => this.#onConnected.push(resolve));
    this.host.start();
    return connected;
  }
}
