/**
 * A cluster of scripted peers and a master for tests of the client: they share one store, so that only what the client
 * does is under test. Each peer can be told to answer otherwise.
 */

import { type ClientOptions, connectClient, type FileClient } from '../../../src/client/file-client.js';
import { hashOfName } from '../../../src/cluster/hashing.js';
import { type ClusterMap, type SlotRecord, slotOfHash } from '../../../src/cluster/map.js';
import { blockSums } from '../../../src/core/checksum.js';
import type { Environment } from '../../../src/core/environment.js';
import { refuse } from '../../../src/core/errors.js';
import { toHex, type Version } from '../../../src/core/ids.js';
import { limits } from '../../../src/core/limits.js';
import type { SmallFiles } from '../../../src/core/storage.js';
import { compareUtf8 } from '../../../src/core/utf8-order.js';
import { systemClock } from '../../../src/io/clock.js';
import { systemRandom } from '../../../src/io/random.js';
import { CreditPool } from '../../../src/protocol/credit.js';
import { encodeMap } from '../../../src/protocol/map-codec.js';
import type { WireFileRecord } from '../../../src/protocol/message-fields.js';
import type { MessageName } from '../../../src/protocol/messages.js';
import { encodeListRows } from '../../../src/protocol/rows.js';
import {
  type AnyIncoming,
  acceptSession,
  type HelloRequest,
  type Incoming,
  type Outgoing,
} from '../../../src/protocol/session.js';
import { MemoryNetwork } from '../memory-network.js';

export const clusterId = 'c'.repeat(32);
export const slotCount = 8;
const noLog = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

type Script = (request: AnyIncoming) => Promise<Outgoing> | undefined;

interface StoredFile {
  record: WireFileRecord;
  first: Uint8Array;
}

export const never = new Promise<never>(() => undefined);

export function slotOf(name: string): number {
  return slotOfHash(hashOfName(name), slotCount);
}

export class FakePeer {
  readonly id: string;
  readonly address: string;
  readonly requests: AnyIncoming[] = [];
  readonly hellos: HelloRequest[] = [];
  /** Asked first; undefined lets the usual answer come. */
  script: Script = () => undefined;
  sentBytes = 0;
  /** What it has of the map, when it is behind. */
  map: ClusterMap | undefined;

  constructor(id: string, address: string) {
    this.id = id;
    this.address = address;
  }

  named<N extends MessageName>(name: N): Incoming<N>[] {
    return this.requests.filter((request) => request.name === name) as unknown as Incoming<N>[];
  }
}

export class FakeCluster {
  readonly network = new MemoryNetwork();
  readonly environment: Environment = { clock: systemClock, random: systemRandom, network: this.network, log: noLog };
  readonly master = new FakePeer('master', '127.0.0.1:7420');
  readonly peers: readonly FakePeer[];
  readonly files = new Map<string, StoredFile>();
  readonly segments = new Map<string, Uint8Array>();
  readonly answered = new Map<string, Outgoing>();
  clusterMs = 1_800_000_000_000;
  map: ClusterMap;
  #counter = 0;
  #mapWaiters: (() => void)[] = [];
  readonly #clients: FileClient[] = [];
  readonly #listening = new Map<string, { close(): Promise<void> }>();

  private constructor(peerCount: number, replicas: number) {
    this.peers = Array.from({ length: peerCount }, (_, at) => new FakePeer(`p${at + 1}`, `127.0.0.1:${7431 + at}`));
    this.map = this.#firstMap(replicas);
  }

  static async start({ peers = 2, replicas = 2 } = {}): Promise<FakeCluster> {
    const cluster = new FakeCluster(peers, replicas);
    for (const host of [cluster.master, ...cluster.peers]) await cluster.listen(host);
    return cluster;
  }

  async client(options: Partial<ClientOptions> & { cacheFiles?: SmallFiles } = {}): Promise<FileClient> {
    const client = await connectClient(this.environment, {
      masters: [this.master.address],
      timeoutMs: 3000,
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) await client.close();
    for (const host of [this.master, ...this.peers]) await this.kill(host);
  }

  async listen(host: FakePeer): Promise<void> {
    const listener = await this.network.listen(host.address, (connection) =>
      acceptSession(this.environment, connection, {
        onHello: (hello) => {
          host.hellos.push(hello);
          if (hello.clusterId !== undefined && hello.clusterId !== this.map.clusterId) {
            refuse('wrong-cluster', 'This peer belongs to another cluster');
          }
          const isMaster = host === this.master;
          return {
            role: isMaster ? 'master' : 'peer',
            clusterId: this.map.clusterId,
            ...(isMaster ? {} : { peerId: host.id }),
            clusterMs: this.clusterMs,
            mapEpoch: (host.map ?? this.map).epoch,
            yourAddress: '127.0.0.1',
          };
        },
        serve: (request) => this.#serve(host, request),
        creditPoolFor: () => new CreditPool(limits.clientCreditBytes),
      }),
    );
    this.#listening.set(host.address, listener);
  }

  async kill(host: FakePeer): Promise<void> {
    await this.#listening.get(host.address)?.close();
    this.#listening.delete(host.address);
  }

  peer(id: string): FakePeer {
    const found = this.peers.find((peer) => peer.id === id);
    if (found === undefined) throw new Error(`No peer ${id}`);
    return found;
  }

  primaryOf(name: string): FakePeer {
    return this.peer(this.map.slots[slotOf(name)]?.primary ?? '');
  }

  backupOf(name: string): FakePeer {
    const record = this.map.slots[slotOf(name)];
    return this.peer(record?.inSync.find((id) => id !== record.primary) ?? '');
  }

  /** Publishes a map with some slots changed. */
  change(slots: readonly number[], changed: (record: SlotRecord, epoch: number) => SlotRecord): void {
    const epoch = this.map.epoch + 1;
    const records = this.map.slots.map((record, slot) => (slots.includes(slot) ? changed(record, epoch) : record));
    this.publish({ ...this.map, epoch, slots: records });
  }

  publish(map: ClusterMap): void {
    this.map = map;
    for (const wake of this.#mapWaiters.splice(0)) wake();
  }

  /** The other in-sync member becomes primary of every slot this peer served. */
  failOver(dead: FakePeer): void {
    const slots = this.map.slots.flatMap((record, slot) => (record.inSync.includes(dead.id) ? [slot] : []));
    this.change(slots, (record, epoch) => {
      const inSync = record.inSync.filter((id) => id !== dead.id);
      const changed = { ...record, inSync, slotEpoch: epoch };
      return record.primary === dead.id ? { ...changed, primary: inSync[0], term: epoch } : changed;
    });
  }

  async #serve(host: FakePeer, request: AnyIncoming): Promise<Outgoing> {
    host.requests.push(request);
    const outgoing = await (host.script(request) ?? this.answer(host, request));
    host.sentBytes += outgoing.payload?.length ?? 0;
    return outgoing;
  }

  /** The usual answer. */
  async answer(host: FakePeer, request: AnyIncoming): Promise<Outgoing> {
    switch (request.name) {
      case 'map':
        return this.#answerMap(host, request.header);
      case 'put':
      case 'put-segment':
      case 'delete':
      case 'set-metadata':
        return this.#answerOnce(host, request);
      case 'get':
        return this.#get(host, request.header);
      case 'get-segment':
        return this.#getSegment(request.header);
      case 'list':
        return this.#list(host, request.header);
      case 'copy-state':
        return { header: { state: 'ok', size: 0 } };
      case 'report-damage':
        return { header: { state: 'ok' } };
      case 'suspect':
        return { header: {} };
      case 'status':
        return { header: {}, payload: Buffer.from('{"health":"healthy"}') };
      case 'events':
        return { header: {}, payload: Buffer.from('[{"seq":1}]') };
      default:
        return refuse('unsupported', `${request.name} is not faked`);
    }
  }

  async #answerMap(host: FakePeer, { newerThan, waitMs }: { newerThan: number; waitMs: number }): Promise<Outgoing> {
    const known = (): ClusterMap => host.map ?? this.map;
    if (known().epoch <= newerThan) {
      await new Promise<void>((resolve) => {
        this.#mapWaiters.push(resolve);
        systemClock.after(waitMs, resolve);
      });
    }
    const { epoch } = known();
    return epoch > newerThan ? { header: { epoch }, payload: encodeMap(known()) } : { header: { epoch } };
  }

  #answerOnce(
    host: FakePeer,
    request: Incoming<'put' | 'put-segment' | 'delete' | 'set-metadata'> | AnyIncoming,
  ): Outgoing {
    const { slot, term } = request.header as { slot: number; term: number };
    this.#checkRole(host, slot, term);
    const id = 'requestId' in request.header ? toHex(request.header.requestId as Uint8Array) : undefined;
    const before = id === undefined ? undefined : this.answered.get(id);
    if (before !== undefined) return before;
    const version = { epoch: this.map.slots[slot]?.slotEpoch ?? 0, counter: ++this.#counter };
    this.#apply(request as AnyIncoming, version);
    const record = this.map.slots[slot];
    const outgoing = {
      header: {
        version,
        slotEpoch: record?.slotEpoch ?? 0,
        copies: { durable: record?.inSync.length ?? 0, wanted: this.map.pool.replicas },
        primary: host.id,
        backups: record?.inSync.filter((member) => member !== host.id) ?? [],
      },
    };
    if (id !== undefined) this.answered.set(id, outgoing);
    return outgoing;
  }

  #apply(request: AnyIncoming, version: Version): void {
    const { name } = request;
    if (name === 'put-segment') {
      const { uploadId, index } = request.header;
      this.segments.set(`${toHex(uploadId)} ${index}`, request.payload ?? new Uint8Array(0));
      return;
    }
    if (name !== 'put' && name !== 'delete' && name !== 'set-metadata') return;
    const key = `${request.header.bucket}/${request.header.name}`;
    const file = this.files.get(key);
    if (name === 'put') {
      if (request.header.ifAbsent && file) refuse('conflict', 'The name exists');
      const times = { createdAtMs: this.clusterMs, modifiedAtMs: this.clusterMs };
      const record: WireFileRecord = { ...request.header, version, ...times };
      this.files.set(key, { record, first: request.payload ?? new Uint8Array(0) });
      return;
    }
    if (file === undefined) refuse('not-found', 'No file has this name');
    if (name === 'delete') this.files.delete(key);
    else file.record = { ...file.record, metadata: request.header.metadata, version };
  }

  #checkRole(host: FakePeer, slot: number, term: number): void {
    const record = (host.map ?? this.map).slots[slot];
    if (record?.primary !== host.id) refuse('wrong-role', `${host.id} does not serve slot ${slot}`);
    if (record.term !== term) refuse('stale-term', `Slot ${slot} has term ${record.term}`);
  }

  #get(host: FakePeer, header: Incoming<'get'>['header']): Outgoing {
    if (header.consistency === 'linearizable') this.#checkRole(host, header.slot, header.term);
    const file = this.files.get(`${header.bucket}/${header.name}`);
    if (file === undefined) return refuse('not-found', `No file is called ${header.name}`);
    const { record, first } = file;
    const wanted = header.ifVersion;
    if (wanted && (wanted.epoch !== record.version.epoch || wanted.counter !== record.version.counter)) {
      refuse('gone', 'The file has another version');
    }
    const { offset, bytes } = blocksOf(first, header.start, header.end);
    return { header: { record, offset, sums: blockSums(bytes), acknowledged: true }, payload: bytes };
  }

  #getSegment(header: Incoming<'get-segment'>['header']): Outgoing {
    const bytes = this.segments.get(`${toHex(header.uploadId)} ${header.index}`);
    if (bytes === undefined) return refuse('not-found', `There is no segment ${header.index}`);
    const blocks = blocksOf(bytes, header.start, header.end);
    return {
      header: { size: bytes.length, offset: blocks.offset, sums: blockSums(blocks.bytes) },
      payload: blocks.bytes,
    };
  }

  #list(host: FakePeer, header: Incoming<'list'>['header']): Outgoing {
    const asked = Array.from({ length: slotCount }, (_, slot) => slot).filter(
      (slot) => ((header.slots[slot >> 3] ?? 0) >> (slot & 7)) & 1,
    );
    for (const slot of asked) if (this.map.slots[slot]?.primary !== host.id) refuse('wrong-role', `Not slot ${slot}`);
    const rows = [...this.files.values()]
      .map(({ record }) => record)
      .filter(({ bucket, name }) => bucket === header.bucket && name.startsWith(header.prefix))
      .filter(({ name }) => asked.includes(slotOf(name)) && compareUtf8(name, header.after) > 0)
      .sort((a, b) => compareUtf8(a.name, b.name));
    const page = rows.slice(0, header.limit);
    return { header: { more: rows.length > page.length }, payload: encodeListRows(page) };
  }

  #firstMap(replicas: number): ClusterMap {
    const ids = this.peers.map(({ id }) => id);
    const slots = Array.from({ length: slotCount }, (_, slot): SlotRecord => {
      const inSync = Array.from({ length: replicas }, (_, at) => ids[(slot + at) % ids.length] ?? '');
      return { slotEpoch: 5, term: 5, primary: inSync[0], inSync, joining: [] };
    });
    const peers = this.peers.map(({ id, address }) => ({
      id,
      address,
      storeId: id.padEnd(32, '0'),
      tokenAddress: address,
      tokenWeight: 1,
      zone: 'z',
      weight: 1,
      flagZone: 'z',
      flagWeight: 1,
      state: 'up' as const,
      mode: 'normal' as const,
      isOut: false,
      incarnation: 1,
    }));
    return {
      clusterId,
      epoch: 10,
      lineage: 'l',
      masterIncarnation: 1,
      repairGraceMs: 30_000,
      quarantineMs: 1000,
      repairBytesPerSecond: 0,
      movesPaused: false,
      pool: { name: 'default', replicas, minInSync: 1 },
      peers,
      slots,
    };
  }
}

function blocksOf(bytes: Uint8Array, start: number, end: number): { offset: number; bytes: Uint8Array } {
  const last = Math.min(end, bytes.length);
  if (start >= last) return { offset: 0, bytes: new Uint8Array(0) };
  const offset = start - (start % limits.blockBytes);
  return { offset, bytes: bytes.subarray(offset, Math.ceil(last / limits.blockBytes) * limits.blockBytes) };
}

/** Bytes that differ everywhere. */
export function noise(sizeBytes: number): Uint8Array {
  return systemRandom.bytes(sizeBytes);
}

/** A name that a given peer serves. */
export function nameServedBy(cluster: FakeCluster, peer: FakePeer, prefix = 'file'): string {
  for (let at = 0; ; at++) if (cluster.primaryOf(`${prefix}-${at}`) === peer) return `${prefix}-${at}`;
}
