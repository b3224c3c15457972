/**
 * The connection from a primary to one replica: requests that outlive a broken connection, beacons, and the verdict
 * that the replica is dead.
 *
 * One link serves all slots of the pair. A request is sent again over the next connection until it is answered or no
 * longer wanted, so a hiccup loses nothing. A replica silent for 400 ms, or one whose port refuses twice, is *dead*:
 * a question put to the master, not a fact acted on here. Leases count from before the beacon was sent. Serves S1, S3.
 */
import type { Environment, Timer } from '../core/environment.js';
import { sleep } from '../core/environment.js';
import { DfsError, isRefusal, refuse } from '../core/errors.js';
import type { Address, Epoch, PeerId, SlotNumber, StoreId } from '../core/ids.js';
import { ConnectFailure } from '../core/network.js';
import { timing } from '../core/timing.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import { type Answer, openSession, type Session } from '../protocol/session.js';
import { type BeaconSlot, encodeBeaconList, hashOfBeaconList } from './grants.js';
import type { Identity } from './identity.js';

export interface ReplicaTarget {
  readonly peerId: PeerId;
  readonly storeId: StoreId;
  readonly address: Address;
}

export interface LinkEvents {
  /** The slots for which this primary wants leases from the replica, now. */
  beaconSlots(peer: PeerId): readonly BeaconSlot[];
  /** The connection broke just now. */
  onBroken(peer: PeerId): void;
  /** Again and again while the replica is dead. */
  onDead(peer: PeerId, why: string): void;
  /** A connection stands again. */
  onUp(peer: PeerId): void;
  onRefusedSlots(peer: PeerId, slots: readonly SlotNumber[]): void;
}

interface Granted {
  readonly sentAtMs: number;
  readonly terms: ReadonlyMap<SlotNumber, Epoch>;
  readonly refused: ReadonlySet<SlotNumber>;
}

export interface LinkRequest {
  readonly payload?: Uint8Array | undefined;
  readonly sums?: Uint8Array | undefined;
  /** Asked before every sending; when false the request ends with `cancelled`. */
  wanted(): boolean;
}

export class ReplicaLink {
  readonly target: ReplicaTarget;
  readonly #environment: Environment;
  readonly #me: Identity;
  readonly #events: LinkEvents;
  #control: Session | undefined;
  #bulk: Session | undefined;
  #waiting: (() => void)[] = [];
  #granted: Granted | undefined;
  #listedHash: { session: Session; hash: Uint8Array; terms: ReadonlyMap<SlotNumber, Epoch> } | undefined;
  #heardAtMs: number;
  #refusedConnects = 0;
  #deadWhy: string | undefined;
  #closed = false;
  #timer: Timer | undefined;
  #tickDueMs = 0;

  constructor(environment: Environment, me: Identity, target: ReplicaTarget, events: LinkEvents) {
    this.#environment = environment;
    this.#me = me;
    this.target = target;
    this.#events = events;
    this.#heardAtMs = environment.clock.monotonicMs();
    this.#keepConnected().catch((error: unknown) => this.#onBug(error));
    this.#scheduleTick();
  }

  get isUp(): boolean {
    return this.#bulk !== undefined && this.#control !== undefined;
  }

  get isDead(): boolean {
    return this.#deadWhy !== undefined;
  }

  /** When the newest beacon granted for this term of the slot was sent; −Infinity when none was. */
  grantedAtMs(slot: SlotNumber, term: Epoch): number {
    const granted = this.#granted;
    if (granted === undefined || granted.terms.get(slot) !== term || granted.refused.has(slot)) return -Infinity;
    return granted.sentAtMs;
  }

  /** Has requests that are no longer wanted noticed. */
  nudge(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  async request<N extends MessageName>(name: N, header: () => RequestOf<N>, options: LinkRequest): Promise<Answer<N>> {
    for (;;) {
      if (this.#closed || !options.wanted()) refuse('cancelled', `Peer ${this.target.peerId} is no longer asked`);
      const session = this.#bulk;
      if (session === undefined || !this.isUp) {
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
        continue;
      }
      try {
        return await session.request(name, header(), {
          ...(options.payload === undefined ? {} : { payload: options.payload }),
          ...(options.sums === undefined ? {} : { sums: options.sums }),
        });
      } catch (error) {
        if (!isRefusal(error, 'connection-lost')) throw error;
        if (this.#bulk === session) this.#onSessionClosed('the connection broke');
      }
    }
  }

  /** Sends a beacon now; resolves when it was answered or failed. Never throws. */
  async confirm(): Promise<void> {
    const session = this.#control;
    if (session === undefined) {
      await sleep(this.#environment.clock, timing.reconnectMs);
      return;
    }
    await this.#sendBeacon(session);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#dropSessions('no slot needs this link');
    this.nudge();
  }

  async #keepConnected(): Promise<void> {
    while (!this.#closed) {
      if (this.isUp) {
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
        continue;
      }
      try {
        await this.#connect();
        this.#onConnected();
      } catch (error) {
        this.#onConnectFailed(error);
        await sleep(this.#environment.clock, timing.reconnectMs);
      }
    }
  }

  async #connect(): Promise<void> {
    this.#dropSessions('replaced by a newer connection');
    const open = async (lane: 'control' | 'bulk'): Promise<Session> =>
      openSession(this.#environment, this.target.address, {
        hello: {
          role: 'peer',
          generation: this.#me.nextGeneration(),
          lane,
          ...this.#me.named(),
          expectPeerId: this.target.peerId,
          expectStoreId: this.target.storeId,
        },
        timeoutMs: timing.connectTimeoutMs,
        onClose: (reason) => this.#onSessionClosed(reason),
      });
    const [control, bulk] = await Promise.allSettled([open('control'), open('bulk')]);
    if (control.status === 'fulfilled' && bulk.status === 'fulfilled') {
      this.#control = control.value;
      this.#bulk = bulk.value;
      if (control.value.closed || bulk.value.closed || this.#closed) this.#dropSessions('closed while connecting');
      return;
    }
    for (const opened of [control, bulk]) if (opened.status === 'fulfilled') opened.value.close('its twin failed');
    throw control.status === 'rejected' ? control.reason : bulk.status === 'rejected' ? bulk.reason : undefined;
  }

  #onConnected(): void {
    if (!this.isUp) return;
    this.#heardAtMs = this.#environment.clock.monotonicMs();
    this.#refusedConnects = 0;
    this.#deadWhy = undefined;
    this.nudge();
    this.#events.onUp(this.target.peerId);
  }

  #onConnectFailed(error: unknown): void {
    if (error instanceof ConnectFailure && error.refused) {
      this.#refusedConnects++;
      if (this.#refusedConnects >= 2) this.#declareDead('nobody listens at its address');
    } else {
      this.#refusedConnects = 0;
      this.#environment.log.debug({ peer: this.target.peerId, error: String(error) }, 'replica not reached');
    }
    this.nudge();
  }

  #onSessionClosed(reason: string): void {
    if (this.#control === undefined && this.#bulk === undefined) return;
    this.#dropSessions(reason);
    this.nudge();
    if (!this.#closed) this.#events.onBroken(this.target.peerId);
  }

  #dropSessions(reason: string): void {
    const sessions = [this.#control, this.#bulk];
    this.#control = undefined;
    this.#bulk = undefined;
    this.#listedHash = undefined;
    for (const session of sessions) session?.close(reason);
  }

  // --- Beacons and silence -------------------------------------------------------------------------------------------

  #scheduleTick(): void {
    if (this.#closed) return;
    this.#tickDueMs = this.#environment.clock.monotonicMs() + timing.beaconIntervalMs;
    this.#timer = this.#environment.clock.after(timing.beaconIntervalMs, () => {
      this.#onTick();
      this.#scheduleTick();
    });
  }

  #onTick(): void {
    const nowMs = this.#environment.clock.monotonicMs();
    const session = this.#control;
    if (session !== undefined) this.#sendBeacon(session).catch((error: unknown) => this.#onBug(error));
    for (const each of [this.#control, this.#bulk]) {
      if (each !== undefined) this.#heardAtMs = Math.max(this.#heardAtMs, each.lastHeardMs);
    }
    // A primary that was itself late cannot tell a silent replica from its own pause.
    if (nowMs - this.#tickDueMs > timing.primaryLateMs) this.#heardAtMs = nowMs;
    if (nowMs - this.#heardAtMs > timing.silentReplicaMs) {
      this.#declareDead(`silent for ${Math.round(nowMs - this.#heardAtMs)} ms`);
    }
    if (this.#deadWhy !== undefined) this.#events.onDead(this.target.peerId, this.#deadWhy);
  }

  #declareDead(why: string): void {
    if (this.#deadWhy !== undefined) return;
    this.#deadWhy = why;
    this.#environment.log.warn({ peer: this.target.peerId, why }, 'replica is dead');
    this.#dropSessions(why);
    this.nudge();
    this.#events.onDead(this.target.peerId, why);
  }

  async #sendBeacon(session: Session): Promise<void> {
    const slots = this.#events.beaconSlots(this.target.peerId);
    const encoded = encodeBeaconList(slots);
    const hash = hashOfBeaconList(encoded);
    const terms = new Map(slots.map((row) => [row.slot, row.term]));
    const sentAtMs = this.#environment.clock.monotonicMs();
    try {
      const listed = this.#listedHash?.session === session && Buffer.compare(this.#listedHash.hash, hash) === 0;
      if (listed) {
        const { header } = await session.request('beacon', { hash }, { timeoutMs: timing.silentReplicaMs });
        if (header.known) return this.#onGranted(sentAtMs, terms, header.refused);
      }
      const { header } = await session.request(
        'beacon-list',
        {},
        { payload: encoded, timeoutMs: timing.silentReplicaMs },
      );
      this.#listedHash = { session, hash, terms };
      this.#onGranted(sentAtMs, terms, header.refused);
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
      this.#environment.log.debug({ peer: this.target.peerId, error: error.message }, 'beacon not answered');
    }
  }

  #onGranted(sentAtMs: number, terms: ReadonlyMap<SlotNumber, Epoch>, refused: readonly SlotNumber[]): void {
    if (this.#granted === undefined || sentAtMs >= this.#granted.sentAtMs) {
      this.#granted = { sentAtMs, terms, refused: new Set(refused) };
    }
    if (refused.length > 0) this.#events.onRefusedSlots(this.target.peerId, refused);
  }

  #onBug(error: unknown): void {
    this.#environment.log.error({ peer: this.target.peerId, error: String(error) }, 'replica link failed');
    throw error;
  }
}
