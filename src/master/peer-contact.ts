/**
 * Keeps one connection to one peer: pings it, pushes the map, passes on wishes, and tells what it hears.
 *
 * It judges nothing. A connection that breaks is tried again at once: two refused connects a moment apart mean that the
 * process is gone, which membership.ts is told; everything else is silence. Only the very peer and store that the map
 * names are heard; whoever else answers at the address counts as silence, and is called ever more seldom.
 */
import type { PeerRecord } from '../cluster/map.js';
import type { Environment } from '../core/environment.js';
import { DfsError, isRefusal, refuse } from '../core/errors.js';
import type { Epoch, PeerId, SlotNumber } from '../core/ids.js';
import { ConnectFailure } from '../core/network.js';
import { timing } from '../core/timing.js';
import type { MessageName, ReplyOf, RequestOf } from '../protocol/messages.js';
import { type AmountRow, decodeAmountRows } from '../protocol/rows.js';
import { type Answer, openSession, type Session } from '../protocol/session.js';

export type Pong = ReplyOf<'ping'>;

/** What a contact needs to know and whom it tells. */
export interface ContactOwner {
  readonly clusterId: string;
  readonly incarnation: number;
  clusterMs(): number;
  /** Told to every peer, which tell their clients. */
  slowPeers(): readonly PeerId[];
  newestMap(): { readonly epoch: Epoch; readonly encoded: Uint8Array };
  nextGeneration(): number;
  onPong(peer: PeerId, pong: Pong, sentAtMs: number): void;
  onGone(peer: PeerId): void;
  /** The peer does not take this master's map: it knows another one. */
  onMapRefused(peer: PeerId, sentence: string): void;
}

export interface HandoverWish {
  readonly slot: SlotNumber;
  readonly slotEpoch: Epoch;
  readonly to: PeerId;
}

const pushesInFlightMax = 4;
const helloTimeoutMs = 500;
const wishesPerRequest = 500;

export class PeerContact {
  readonly #environment: Environment;
  readonly #owner: ContactOwner;
  #peer: PeerRecord;
  #session: Session | undefined;
  #pushes = 0;
  #pingedAtMs = Number.NEGATIVE_INFINITY;
  #isStopped = false;
  #closed: (() => void) | undefined;
  #rested: (() => void) | undefined;
  #othersInARow = 0;
  #lastComplaint = '';

  constructor(environment: Environment, owner: ContactOwner, peer: PeerRecord) {
    this.#environment = environment;
    this.#owner = owner;
    this.#peer = peer;
    this.#keepConnected().catch((error) => this.#complain(`The contact ended: ${String(error)}`));
  }

  /** The map's newest record of the peer; another address or store needs another connection. */
  update(peer: PeerRecord): void {
    const { address, storeId, incarnation } = this.#peer;
    this.#peer = peer;
    const isSame = peer.address === address && peer.storeId === storeId;
    if (!isSame) this.#session?.close('The map names another address or store');
    if (!isSame || peer.incarnation !== incarnation) this.callNow();
  }

  /** The peer has been heard of: no rest between two tries is waited for. */
  callNow(): void {
    this.#othersInARow = 0;
    this.#rested?.();
  }

  ping(): void {
    const session = this.#session;
    if (session === undefined) return;
    const sentAtMs = this.#environment.clock.monotonicMs();
    this.#pingedAtMs = sentAtMs;
    const slow = this.#owner.slowPeers();
    const header = {
      ...{ clusterMs: this.#owner.clusterMs(), mapEpoch: this.#owner.newestMap().epoch },
      ...(slow.length > 0 && { slow }),
    };
    session.request('ping', header, { timeoutMs: timing.downAfterMs }).then(
      (answer) => this.#onPong(session, answer.header, sentAtMs),
      (error) => {
        // A cut network heals sooner on a new connection than on one that backs off.
        if (isRefusal(error, 'timed-out')) session.close('The peer answers no ping');
        else this.#complain(`A ping failed: ${String(error)}`);
      },
    );
  }

  /** A ping at once, unless one was sent since `sinceMs`. */
  pingOnceSince(sinceMs: number): void {
    if (this.#pingedAtMs <= sinceMs) this.ping();
  }

  /** Sends the newest map; a pong that shows an older one brings it again. */
  push(): void {
    const session = this.#session;
    if (session === undefined || this.#pushes >= pushesInFlightMax) return;
    this.#pushes += 1;
    const { epoch, encoded } = this.#owner.newestMap();
    session
      .request('push-map', {}, { payload: encoded, timeoutMs: timing.downAfterMs })
      .then(
        () => undefined,
        (error) => {
          if (isRefusal(error, 'wrong-cluster', 'wrong-identity'))
            this.#owner.onMapRefused(this.#peer.id, error.message);
          else this.#complain(`Map ${epoch} was not taken: ${String(error)}`);
        },
      )
      .finally(() => {
        this.#pushes -= 1;
      });
  }

  wish(wishes: readonly HandoverWish[]): void {
    const session = this.#session;
    if (session === undefined) return;
    for (let first = 0; first < wishes.length; first += wishesPerRequest) {
      session
        .request(
          'wish-handover',
          { wishes: wishes.slice(first, first + wishesPerRequest) },
          { timeoutMs: timing.downAfterMs },
        )
        .catch((error) => this.#complain(`A wish was not taken: ${String(error)}`));
    }
  }

  /** What the peer holds of each slot; undefined when it does not answer. */
  async amounts(): Promise<readonly AmountRow[] | undefined> {
    try {
      const answer = await this.#session?.request('slot-amounts', {}, { timeoutMs: timing.downAfterMs });
      return answer && decodeAmountRows(answer.payload ?? new Uint8Array(0));
    } catch (error) {
      this.#complain(`It did not say what it holds: ${String(error)}`);
      return undefined;
    }
  }

  /** Asks once, over the connection there is. Throws DfsError, `connection-lost` when there is none. */
  ask<N extends MessageName>(
    name: N,
    header: RequestOf<N>,
    options: { payload?: Uint8Array; timeoutMs: number },
  ): Promise<Answer<N>> {
    const session = this.#session;
    if (session === undefined) {
      return Promise.reject(new DfsError('connection-lost', `${this.#peer.id} cannot be reached`));
    }
    return session.request(name, header, options);
  }

  stop(): void {
    this.#isStopped = true;
    this.#session?.close('The master stops or the peer left the cluster');
    this.#closed?.();
    this.#rested?.();
  }

  async #keepConnected(): Promise<void> {
    let refusedInARow = 0;
    while (!this.#isStopped) {
      const peer = this.#peer;
      try {
        await this.#connect(peer);
        refusedInARow = 0;
        this.#othersInARow = 0;
        const connectedMs = this.#environment.clock.monotonicMs();
        await this.#untilClosed();
        // At once, unless connections to it break as fast as they are made.
        if (this.#environment.clock.monotonicMs() - connectedMs > timing.pingIntervalMs) continue;
      } catch (error) {
        refusedInARow = error instanceof ConnectFailure && error.refused ? refusedInARow + 1 : 0;
        this.#othersInARow = isRefusal(error, 'wrong-identity', 'wrong-cluster') ? this.#othersInARow + 1 : 0;
        if (refusedInARow >= 2 && !this.#isStopped) this.#owner.onGone(peer.id);
        else this.#complain(`No connection: ${error instanceof Error ? error.message : String(error)}`);
      }
      const othersMs = Math.min(
        timing.pingIntervalMs * 2 ** Math.max(0, this.#othersInARow - 1),
        timing.strangerRetryMs,
      );
      await this.#rest(refusedInARow === 1 ? timing.refusedRetryMs : othersMs);
    }
  }

  #rest(delayMs: number): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#environment.clock.after(delayMs, resolve);
      this.#rested = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  async #connect(peer: PeerRecord): Promise<void> {
    const session = await openSession(this.#environment, peer.address, {
      hello: {
        role: 'master',
        generation: this.#owner.nextGeneration(),
        clusterId: this.#owner.clusterId,
        incarnation: this.#owner.incarnation,
        expectPeerId: peer.id,
        expectStoreId: peer.storeId,
      },
      timeoutMs: helloTimeoutMs,
      onClose: () => {
        this.#session = undefined;
        this.#closed?.();
      },
    });
    const { peerId, storeId, mapEpoch } = session.remote;
    const isCurrent = peer.address === this.#peer.address && peer.storeId === this.#peer.storeId;
    // A peer that joins for the first time has to hear first who it is.
    if (this.#isStopped || !isCurrent || session.closed || peerId === undefined) {
      session.close('Not the connection that the map wants');
      throw new ConnectFailure(`The connection to ${peer.address} came too early or too late`, false);
    }
    if (peerId !== peer.id || storeId !== peer.storeId) {
      session.close('Another peer or store answers than the map names');
      refuse('wrong-identity', `Peer ${peerId} with store ${storeId} answers at ${peer.address}`);
    }
    this.#session = session;
    this.#lastComplaint = '';
    this.ping();
    if ((mapEpoch ?? 0) < this.#owner.newestMap().epoch) this.push();
  }

  #untilClosed(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#session === undefined || this.#session.closed) return resolve();
      this.#closed = resolve;
    });
  }

  #onPong(session: Session, pong: Pong, sentAtMs: number): void {
    if (this.#isStopped || session !== this.#session) return;
    this.#owner.onPong(this.#peer.id, pong, sentAtMs);
    if (pong.mapEpoch < this.#owner.newestMap().epoch) this.push();
  }

  /** Once for each new sentence: a peer that is away for a day fills no log. */
  #complain(sentence: string): void {
    if (this.#isStopped || sentence === this.#lastComplaint) return;
    this.#lastComplaint = sentence;
    this.#environment.log.debug({ peer: this.#peer.id, address: this.#peer.address }, sentence);
  }
}
