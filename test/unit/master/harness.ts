/**
 * A master in a test's hands: a clock that only moves when told, files in memory, and peers that answer as told.
 */
import type { ClusterMap } from '../../../src/cluster/map.js';
import type { Clock, Environment, Log, Timer } from '../../../src/core/environment.js';
import { type ErrorCode, isRefusal, refuse } from '../../../src/core/errors.js';
import type { SmallFiles } from '../../../src/core/storage.js';
import { timing } from '../../../src/core/timing.js';
import { embeddedMapStore } from '../../../src/master/map-store.js';
import { Master, type MasterOptions } from '../../../src/master/master.js';
import { CreditPool } from '../../../src/protocol/credit.js';
import { decodeMap } from '../../../src/protocol/map-codec.js';
import type { MessageName, RequestOf } from '../../../src/protocol/messages.js';
import {
  type Answer,
  type AnyIncoming,
  acceptSession,
  type Outgoing,
  openSession,
  type Session,
} from '../../../src/protocol/session.js';
import { MemoryNetwork } from '../memory-network.js';

export const masterAddress = '127.0.0.1:7420';

/** Lets everything that is ready run, frames in flight included. */
export async function settle(turns = 12): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
}

export class HandClock implements Clock {
  #nowMs = 1000;
  #wallOffsetMs = 1_700_000_000_000;
  #timers: { dueMs: number; onDue: () => void }[] = [];

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs;
  }

  /** The machine's wall clock is set to another time. */
  shiftWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  after(delayMs: number, onDue: () => void): Timer {
    const timer = { dueMs: this.#nowMs + delayMs, onDue };
    this.#timers.push(timer);
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
      },
    };
  }

  /** Time goes by, timer after timer. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = this.#timers.reduce<{ dueMs: number; onDue: () => void } | undefined>(
        (first, timer) => (first === undefined || timer.dueMs < first.dueMs ? timer : first),
        undefined,
      );
      if (next === undefined || next.dueMs > endMs) break;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      this.#timers = this.#timers.filter((timer) => timer !== next);
      next.onDue();
      await settle();
    }
    this.#nowMs = endMs;
  }

  /** The process stands still for so long, then goes on: what was due comes late. */
  async pause(ms: number): Promise<void> {
    this.#nowMs += ms;
    await this.advance(0);
  }
}

export class MemoryFiles implements SmallFiles {
  readonly contents = new Map<string, Uint8Array>();
  readonly replaced: string[] = [];
  /** Thrown by the next replacements. */
  failure: Error | undefined;
  /** Held back until resolved. */
  gate: Promise<void> | undefined;

  async read(name: string): Promise<Uint8Array | undefined> {
    return this.contents.get(name);
  }

  async replace(name: string, content: Uint8Array): Promise<void> {
    this.replaced.push(name);
    await this.gate;
    if (this.failure !== undefined) throw this.failure;
    this.contents.set(name, content.slice());
  }

  copy(): MemoryFiles {
    const copy = new MemoryFiles();
    for (const [name, content] of this.contents) copy.contents.set(name, content);
    return copy;
  }
}

export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export class World {
  readonly clock = new HandClock();
  readonly network = new MemoryNetwork();
  readonly log = silentLog;
  #random = 0;
  readonly random = {
    bytes: (count: number) => new Uint8Array(count).fill(++this.#random),
    fraction: () => 0.5,
  };
  readonly fatal: unknown[] = [];
  readonly handedOut: object[] = [];

  get environment(): Environment {
    return this;
  }

  startMaster(files: MemoryFiles, options: Partial<MasterOptions> = {}): Promise<Master> {
    return Master.start(
      this,
      { maps: embeddedMapStore(files), files },
      {
        listen: masterAddress,
        ...{ replicas: 2, minInSync: 1, slotCount: 16, repairGraceMs: 30_000, quarantineMs: 86_400_000 },
        nodeVersion: '20.19.0',
        checkpoints: { everyMs: 0, keep: 1 },
        onFatal: (error) => this.fatal.push(error),
        onEvent: (event) => this.handedOut.push(event),
        ...options,
      },
    );
  }
}

let generations = 0;
let lastDecoded: { readonly encoded: Buffer; readonly map: ClusterMap } | undefined;

/** Many peers in one process are sent the same map, and share one object. */
function decodedOnce(payload: Uint8Array): ClusterMap {
  if (lastDecoded?.encoded.equals(payload) !== true) {
    lastDecoded = { encoded: Buffer.from(payload), map: decodeMap(payload) };
  }
  return lastDecoded.map;
}

/** A peer that does what a test tells it and otherwise answers well. */
export class FakePeer {
  readonly #environment: Environment;
  readonly #master: string;
  readonly storeId: string;
  address: string;
  incarnation = 1;
  clusterId: string | undefined;
  peerId: string | undefined;
  map: ClusterMap | undefined;
  /** Of a map that no master of this test made. */
  lineage: string | undefined;
  knownEpoch = 0;
  isFrozen = false;
  hellos = 0;
  /** What it tells whoever calls. */
  refusal: ErrorCode | undefined;
  pings = 0;
  /** Bad copies that it knows of. */
  damaged = 0;
  readonly wishes: RequestOf<'wish-handover'>['wishes'][number][] = [];
  #listener: { close(): Promise<void> } | undefined;
  #session: Session | undefined;

  constructor(environment: Environment, options: { address: string; storeId: string; master?: string }) {
    this.#environment = environment;
    this.address = options.address;
    this.storeId = options.storeId;
    this.#master = options.master ?? masterAddress;
  }

  async listen(): Promise<this> {
    const credit = new CreditPool(1024 * 1024);
    this.#listener = await this.#environment.network.listen(this.address, (connection) =>
      acceptSession(this.#environment, connection, {
        onHello: () => {
          this.hellos += 1;
          if (this.refusal !== undefined) refuse(this.refusal, 'Somebody else is here');
          const mapEpoch = this.map?.epoch ?? this.knownEpoch;
          return { role: 'peer', ...this.#named(), clusterMs: 0, mapEpoch, yourAddress: '127.0.0.1' };
        },
        serve: (request) => this.#serve(request),
        creditPoolFor: () => credit,
      }),
    );
    return this;
  }

  /** Says hello and joins, once. */
  async join(fields: Partial<RequestOf<'join'>> = {}): Promise<Answer<'join'>> {
    this.#session?.close('joins again');
    const session = await openSession(this.#environment, this.#master, {
      hello: { role: 'peer', generation: ++generations, ...this.#named() },
      timeoutMs: 2000,
    });
    this.#session = session;
    const mapEpoch = this.map?.epoch ?? this.knownEpoch;
    const place = { address: this.address, zone: this.address, weight: 1, mapEpoch };
    const lineage = this.lineage ?? this.map?.lineage;
    const header = { ...this.#named(), ...place, ...(lineage === undefined ? {} : { lineage }), ...fields };
    const answer = await session.request('join', header, { timeoutMs: 10_000 });
    this.clusterId = answer.header.clusterId;
    this.peerId = answer.header.peerId;
    this.#take(answer.payload);
    return answer;
  }

  async request<N extends MessageName>(name: N, header: RequestOf<N>): Promise<Answer<N>> {
    if (this.#session === undefined) throw new Error(`${this.address} has not joined`);
    const answer = await this.#session.request(name, header, { timeoutMs: 10_000 });
    if (name !== 'suspect' && name !== 'events' && name !== 'status') this.#take(answer.payload);
    return answer;
  }

  /** As primary asks the master to add whoever is joining its slots. */
  async addJoiners(): Promise<void> {
    const map = this.map;
    if (map === undefined) return;
    const changes = map.slots.flatMap((record, slot) =>
      record.primary !== this.peerId
        ? []
        : record.joining.map((peer) => {
            const storeId = map.peers.find((other) => other.id === peer)?.storeId ?? '';
            return { slot, slotEpoch: record.slotEpoch, op: 'add' as const, peer, storeId };
          }),
    );
    if (changes.length > 0) await this.request('change', { changes });
  }

  /** SIGKILL: connections break, nobody listens. */
  async kill(): Promise<void> {
    this.#session?.close('killed');
    this.#session = undefined;
    await this.#listener?.close();
    await settle();
  }

  async restart(): Promise<void> {
    this.incarnation += 1;
    await this.listen();
  }

  #named() {
    return {
      storeId: this.storeId,
      incarnation: this.incarnation,
      ...(this.clusterId === undefined ? {} : { clusterId: this.clusterId }),
      ...(this.peerId === undefined ? {} : { peerId: this.peerId }),
    };
  }

  #take(payload: Uint8Array | undefined): void {
    if (payload === undefined) return;
    const map = decodedOnce(payload);
    if (map.epoch > (this.map?.epoch ?? 0)) this.map = map;
  }

  async #serve(request: AnyIncoming): Promise<Outgoing> {
    if (this.isFrozen) return new Promise(() => undefined);
    if (request.name === 'push-map') {
      this.#take(request.payload);
      return { header: { epoch: this.map?.epoch ?? 0 } };
    }
    if (request.name === 'wish-handover') {
      this.wishes.push(...request.header.wishes);
      return {};
    }
    this.pings += 1;
    const header = {
      mapEpoch: this.map?.epoch ?? this.knownEpoch,
      incarnation: this.incarnation,
      ...{ lagMs: 0, freeBytes: 1e9, totalBytes: 2e9, files: 3, logicalBytes: 300, storedBytes: 600 },
      ...{ damaged: this.damaged, verifiedSinceMs: 0 },
    };
    return { header: this.lineage === undefined ? header : { ...header, lineage: this.lineage } };
  }
}

/** Two peers, both in sync for every slot; p1 leads those that placement gives it, p2 the others. */
export async function startPair(
  world: World,
  files: MemoryFiles,
): Promise<{ master: Master; peers: readonly [FakePeer, FakePeer] }> {
  const master = await world.startMaster(files);
  const first = await new FakePeer(world, { address: '127.0.0.1:7421', storeId: 'a1' }).listen();
  const second = await new FakePeer(world, { address: '127.0.0.1:7422', storeId: 'b2' }).listen();
  const joined = first.join();
  await world.clock.advance(1200);
  await joined;
  await second.join();
  await world.clock.advance(600);
  const added = first.addJoiners();
  await world.clock.advance(timing.patientChangeMs);
  await added;
  await world.clock.advance(400);
  return { master, peers: [first, second] };
}

/** The refusal a promise ends with. */
export async function refusalOf(promise: Promise<unknown>): Promise<{ code: string; message: string }> {
  try {
    await promise;
  } catch (error) {
    if (isRefusal(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('It was not refused');
}
