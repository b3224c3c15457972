/**
 * Short ways to say what a scripted scenario does: put, get, look into disks, speak to one peer directly.
 */
import type { FileClient } from '../../src/client/file-client.js';
import { hashOfName } from '../../src/cluster/hashing.js';
import { type SlotRecord, slotOfHash } from '../../src/cluster/map.js';
import { blockSums, xxh64 } from '../../src/core/checksum.js';
import { isRefusal } from '../../src/core/errors.js';
import { type TimedId, toTimedId } from '../../src/core/ids.js';
import { decodeValue, keyOfName, type StoredEntry } from '../../src/peer/entry.js';
import { openSession, type Session } from '../../src/protocol/session.js';
import { type ClusterOptions, SimCluster } from './cluster.js';
import type { SimHost } from './world/sim-host.js';

export const bucket = 'files';

export class Scenario {
  readonly cluster: SimCluster;
  readonly client: FileClient;
  readonly clientHost: SimHost;
  #generation = 0;

  static async start(options: Partial<ClusterOptions> = {}): Promise<Scenario> {
    const cluster = new SimCluster({ seed: 1, peers: 2, slots: 1, ...options });
    await cluster.start();
    // Handovers to the peers that should lead begin some seconds after the start: let them pass.
    await cluster.world.runFor(7000);
    await cluster.untilWhole();
    const { client, host } = await cluster.client();
    return new Scenario(cluster, client, host);
  }

  private constructor(cluster: SimCluster, client: FileClient, clientHost: SimHost) {
    this.cluster = cluster;
    this.client = client;
    this.clientHost = clientHost;
  }

  get world() {
    return this.cluster.world;
  }

  recordOf(name: string): SlotRecord {
    const record = this.cluster.map?.slots[this.slotOf(name)];
    if (record === undefined) throw new Error('The master has no map');
    return record;
  }

  slotOf(name: string): number {
    return slotOfHash(hashOfName(name), this.cluster.map?.slots.length ?? 1);
  }

  primaryOf(name: string): SimHost {
    return this.cluster.hostOf(this.recordOf(name).primary);
  }

  /** In the order of the map's record. */
  backupsOf(name: string): SimHost[] {
    const { inSync, primary } = this.recordOf(name);
    return inSync.filter((peer) => peer !== primary).map((peer) => this.cluster.hostOf(peer));
  }

  async put(name: string, content: string | Uint8Array, options: Parameters<FileClient['put']>[2] = {}) {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    return this.world.until(this.client.put(name, bytes, { timeoutMs: 20_000, ...options }));
  }

  /** The content as text; undefined when there is no such file. */
  async get(name: string, client = this.client): Promise<string | undefined> {
    const read = async (): Promise<string> => {
      const file = await client.get(name, { timeoutMs: 20_000 });
      return Buffer.from(await file.bytes()).toString();
    };
    return this.world.until(
      read().catch((error: unknown) => {
        if (isRefusal(error, 'not-found')) return undefined;
        throw error;
      }),
    );
  }

  /** The code a call is refused with; "done" when it is not. */
  async codeOf(call: Promise<unknown>, limitMs = 60_000): Promise<string> {
    return this.world.until(
      call.then(
        () => 'done',
        (error: unknown) => {
          if (isRefusal(error)) return error.code;
          throw error;
        },
      ),
      limitMs,
    );
  }

  /** What a host's disk says of a name; undefined when it says nothing. */
  entryOn(host: SimHost, name: string): StoredEntry | 'damaged' | undefined {
    const key = keyOfName({ bucket, name });
    const found = decodeValue(key, host.disk.index.durable.get('entries', key));
    if (found.state === 'damaged') return 'damaged';
    return found.state === 'present' ? found.entry : undefined;
  }

  /** A connection to one peer as a client, past all routing. */
  async sessionTo(host: SimHost, from = this.clientHost): Promise<Session> {
    const environment = from.environment;
    if (environment === undefined) throw new Error(`${from.name} does not run`);
    const hello = { role: 'client', generation: ++this.#generation, clientId: new Uint8Array(16).fill(7) } as const;
    return this.world.until(openSession(environment, `${host.name}:7421`, { hello, timeoutMs: 1000 }));
  }

  /** A put of one segment as a client sends it. */
  putRequest(name: string, content: string, ids: { requestId?: TimedId; uploadId?: TimedId } = {}) {
    const payload = new Uint8Array(Buffer.from(content));
    const checksum = new Uint8Array(8);
    new DataView(checksum.buffer).setBigUint64(0, xxh64(payload));
    const sums = blockSums(payload);
    const header = {
      slot: this.slotOf(name),
      term: this.recordOf(name).term,
      bucket,
      name,
      requestId: ids.requestId ?? this.newId(),
      uploadId: ids.uploadId ?? this.newId(),
      size: payload.length,
      checksum,
      segmentBytes: 1024 * 1024,
      segments: 1,
      metadata: {},
      sums,
    };
    return { header, payload, sums };
  }

  newId(): TimedId {
    const clock = this.cluster.master.environment?.clock;
    return toTimedId({ atMs: clock?.wallMs() ?? 0, random: this.world.chance.bytes(10) });
  }
}
