/**
 * A network between simulated hosts: frames arrive late and in order, links are cut one way or both, connections are
 * reset, processes die with or without their host.
 *
 * As TCP has it: a cut loses nothing of an open connection, it only arrives after the healing, up to seconds later; a
 * dead process resets its connections, a dead host says nothing until it is up again.
 */
import { parseAddress } from '../../../src/core/address.js';
import type { Address } from '../../../src/core/ids.js';
import {
  ConnectFailure,
  type Connection,
  type ConnectionHandler,
  type Listener,
  type Network,
} from '../../../src/core/network.js';
import type { Seeded } from '../../contract/seeded.js';
import { Endpoint } from './endpoint.js';
import type { SimProcess, World } from './virtual-clock.js';

export type OnConnection = (connection: Connection) => ConnectionHandler;

interface Listening {
  readonly process: SimProcess;
  readonly onConnection: OnConnection;
}

export interface LinkDelay {
  readonly leastMs: number;
  readonly mostMs: number;
}

export interface NetworkOptions {
  readonly delay?: LinkDelay;
  /** Frames travel as bytes through the real codec; otherwise as copies. */
  readonly usesCodec?: boolean;
}

/** Of a host's link, unless it is slowed down. */
const usualBytesPerMs = 100_000;

export class SimNetwork {
  readonly world: World;
  readonly #usesCodec: boolean;
  /** Hosts that need not keep to the protocol: what goes to and from them are bytes. */
  readonly strangers = new Set<string>();
  readonly #listening = new Map<Address, Listening>();
  readonly #downHosts = new Set<string>();
  /** "from to" of links that carry nothing. */
  readonly #cuts = new Set<string>();
  readonly #endpoints = new Set<Endpoint>();
  readonly #delay: LinkDelay;
  readonly #portsUsed = new Map<string, number>();
  /** Hosts with a slow link, and until when what is on it keeps it busy. */
  readonly #slow = new Map<string, { bytesPerMs: number; busyUntilMs: number }>();

  constructor(world: World, options: NetworkOptions = {}) {
    const { delay = { leastMs: 0.05, mostMs: 1 }, usesCodec = false } = options;
    this.world = world;
    this.#usesCodec = usesCodec;
    this.#delay = delay;
  }

  /** The network as one process on a host sees it. */
  of(host: string, process: SimProcess): Network {
    process.onDeath(() => this.#onDeath(host, process));
    return {
      listen: async (address, onConnection) => this.#listen(host, process, { address, onConnection }),
      connect: (address, onConnection, { timeoutMs }) =>
        this.#connect({ host, process, onConnection }, address, timeoutMs),
    };
  }

  /** Of the next frame of one connection; `chance` is that connection's. */
  delayMs(chance: Seeded): number {
    const { leastMs, mostMs } = this.#delay;
    return chance.isLikely(0.02) ? mostMs * chance.between(1, 10) : chance.between(leastMs, mostMs);
  }

  /** When bytes that could leave from `fromMs` on have arrived. All connections of a slow host share its link. */
  transferEndMs(from: string, to: string, of: { sizeBytes: number; fromMs: number }): number {
    let endMs = of.fromMs + of.sizeBytes / usualBytesPerMs;
    if (this.#slow.size === 0) return endMs;
    for (const slow of [this.#slow.get(from), this.#slow.get(to)]) {
      if (slow === undefined) continue;
      slow.busyUntilMs = Math.max(of.fromMs, slow.busyUntilMs) + of.sizeBytes / slow.bytesPerMs;
      endMs = Math.max(endMs, slow.busyUntilMs);
    }
    return endMs;
  }

  /** From now on everything to and from the host takes its time; what was sent before keeps to its own. */
  slowDown(host: string, bytesPerMs: number): void {
    this.#slow.set(host, { bytesPerMs, busyUntilMs: this.world.nowMs });
  }

  restore(host: string): void {
    this.#slow.delete(host);
  }

  isSlow(host: string): boolean {
    return this.#slow.has(host);
  }

  carriesBytes({ host, remoteHost }: { readonly host: string; readonly remoteHost: string }): boolean {
    return this.#usesCodec || this.strangers.has(host) || this.strangers.has(remoteHost);
  }

  isOpen(from: string, to: string): boolean {
    if (this.#cuts.size === 0 && this.#downHosts.size === 0) return true;
    return !this.#cuts.has(`${from} ${to}`) && !this.#downHosts.has(to) && !this.#downHosts.has(from);
  }

  isDown(host: string): boolean {
    return this.#downHosts.has(host);
  }

  /** Nothing goes from one host to the other until it is healed. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from} ${to}`);
  }

  heal(from: string, to: string): void {
    this.#cuts.delete(`${from} ${to}`);
    this.#retryAll();
  }

  /** Cuts and slow links end. */
  healAll(): void {
    this.#cuts.clear();
    this.#slow.clear();
    this.#retryAll();
  }

  /** Breaks every connection between two hosts, for each side in its own time. */
  reset(one: string, other: string): void {
    for (const endpoint of [...this.#endpoints]) {
      if (endpoint.host === one && endpoint.remoteHost === other) endpoint.breakBoth('The connection was reset');
    }
  }

  /** What one host sends to another over the connections there are arrives so much later. */
  stall(from: string, to: string, forMs: number): void {
    for (const endpoint of this.#between(from, to)) endpoint.stall(forMs);
  }

  /** The same for those connections alone that `from` itself opened to the address. */
  stallTo(from: string, address: Address, forMs: number): void {
    for (const endpoint of this.#endpoints) {
      if (endpoint.host === from && endpoint.remoteAddress === address) endpoint.stall(forMs);
    }
  }

  isUnderWay(from: string, to: string): boolean {
    return this.#between(from, to).some(({ queuedBytes }) => queuedBytes > 0);
  }

  /** Breaks every connection to another host for one side alone; what is under way still arrives. */
  breakHere(from: string, to: string): void {
    for (const endpoint of this.#between(from, to)) endpoint.breakHere('The connection was reset');
  }

  #between(from: string, to: string): readonly Endpoint[] {
    return [...this.#endpoints].filter(({ host, remoteHost }) => host === from && remoteHost === to);
  }

  /** The host falls silent with all its connections: to be called before its processes die. */
  hostDown(host: string): void {
    this.#downHosts.add(host);
  }

  hostUp(host: string): void {
    this.#downHosts.delete(host);
    this.#retryAll();
  }

  /** Of the connection that has most waiting. */
  get queuedBytesMax(): number {
    let most = 0;
    for (const { queuedBytes } of this.#endpoints) most = Math.max(most, queuedBytes);
    return most;
  }

  onOpened(endpoint: Endpoint): void {
    this.#endpoints.add(endpoint);
  }

  onGone(endpoint: Endpoint): void {
    this.#endpoints.delete(endpoint);
  }

  #retryAll(): void {
    for (const endpoint of this.#endpoints) endpoint.retry();
  }

  #nextPort(host: string): number {
    const port = (this.#portsUsed.get(host) ?? 39_999) + 1;
    this.#portsUsed.set(host, port);
    return port;
  }

  #listen(host: string, process: SimProcess, at: { address: Address; onConnection: OnConnection }): Listener {
    const { port } = parseAddress(at.address);
    const address = `${host}:${port}`;
    if (!process.isDead) this.#listening.set(address, { process, onConnection: at.onConnection });
    return {
      address,
      close: async () => {
        this.#listening.delete(address);
        for (const endpoint of [...this.#endpoints]) {
          if (endpoint.process === process && endpoint.localAddress === address) endpoint.close('The listener closed');
        }
      },
    };
  }

  async #connect(
    caller: { host: string; process: SimProcess; onConnection: OnConnection },
    address: Address,
    timeoutMs: number,
  ): Promise<Connection> {
    const { host, process, onConnection } = caller;
    const target = parseAddress(address).host;
    const localAddress = `${host}:${this.#nextPort(host)}`;
    const chance = this.world.stream(`${localAddress} to ${address}`);
    const outcome = await new Promise<Listening | 'refused' | 'timed-out'>((resolve) => {
      const answer = (found: Listening | 'refused' | 'timed-out', delayMs: number): void =>
        void this.world.schedule(delayMs, () => resolve(found), { process });
      const canPass = this.isOpen(host, target) && this.isOpen(target, host);
      if (!canPass) return answer('timed-out', timeoutMs);
      answer(this.#listening.get(address) ?? 'refused', 2 * this.delayMs(chance));
    });
    if (outcome === 'timed-out') throw new ConnectFailure(`${address} did not answer within ${timeoutMs} ms`, false);
    const isStill = outcome !== 'refused' && !outcome.process.isDead && this.#listening.get(address) === outcome;
    if (!isStill) throw new ConnectFailure(`Nobody listens on ${address}`, true);
    const calling = new Endpoint(this, process, { localAddress, remoteAddress: address, chance });
    const called = new Endpoint(this, outcome.process, {
      localAddress: address,
      remoteAddress: localAddress,
      chance,
      isOfStranger: this.strangers.has(host),
    });
    calling.connectTo(called);
    called.connectTo(calling);
    // The kernel accepts for the program, which may be paused.
    this.world.schedule(0, () => called.setHandler(outcome.onConnection(called)), { process: outcome.process });
    calling.setHandler(onConnection(calling));
    return calling;
  }

  #onDeath(host: string, process: SimProcess): void {
    for (const [address, listening] of this.#listening) {
      if (listening.process === process) this.#listening.delete(address);
    }
    for (const endpoint of [...this.#endpoints]) {
      if (endpoint.process === process && endpoint.host === host) endpoint.onProcessDied();
    }
  }
}
