/**
 * The slots this peer leads, and the links to their replicas.
 *
 * Takes every new map: steps down from slots of another term at once, goes on with those of the same term, starts those
 * it was given. Turns a dead replica into a question to the master, and a joining one into a copy. Serves S3, S7.
 */
import { type ClusterMap, peerOf, type SlotRecord } from '../cluster/map.js';
import { type Environment, sleep } from '../core/environment.js';
import { isRefusal } from '../core/errors.js';
import type { PeerId, SlotNumber, StoreId } from '../core/ids.js';
import type { Settled } from './comparison.js';
import type { BeaconSlot } from './grants.js';
import type { Identity } from './identity.js';
import { JoinQueue } from './join-queue.js';
import { isStillJoining, type JoiningParts, join } from './joining.js';
import { LedSlot, type LedSlotWorld } from './led-slot.js';
import { type LevellingParts, level } from './levelling.js';
import type { MapKeeper } from './map-keeper.js';
import type { MasterLink } from './master-link.js';
import type { OldIds } from './old-ids.js';
import { ReplicaLink } from './replica-link.js';

export interface LeadershipParts extends Omit<LevellingParts, 'askRemoval'> {
  readonly environment: Environment;
  readonly me: Identity;
  readonly master: MasterLink;
  readonly oldIds: OldIds;
  readonly maps: Pick<MapKeeper, 'makeDurable'>;
  currentMap(): ClusterMap | undefined;
  fetchMap(): void;
  onFailure(error: unknown): void;
}

/** After a refusal, before the same is tried again. */
const retryMs = 1000;

export class Leadership {
  readonly #parts: LeadershipParts;
  readonly #led = new Map<SlotNumber, LedSlot>();
  readonly #links = new Map<PeerId, ReplicaLink>();
  readonly #joins = new Map<PeerId, JoinQueue>();
  readonly #removing = new Set<PeerId>();
  #isStopped = false;

  constructor(parts: LeadershipParts) {
    this.#parts = parts;
  }

  led(slot: SlotNumber): LedSlot | undefined {
    return this.#led.get(slot);
  }

  /** The map gives the slot to this peer, which has yet to make that durable. */
  willLead(slot: SlotNumber): boolean {
    const map = this.#parts.currentMap();
    const record = map?.slots[slot];
    return map !== undefined && record !== undefined && this.#namesMe(map, record);
  }

  all(): readonly LedSlot[] {
    return [...this.#led.values()];
  }

  /** The part of a new map that cannot wait: whom it deposes, and whom same-term writes wait for. */
  onMap(map: ClusterMap): void {
    for (const led of this.#led.values()) {
      const record = map.slots[led.slot];
      if (record !== undefined && record.term === led.term && this.#namesMe(map, record)) led.adopt(record);
      else this.#stepDown(led);
    }
    this.#renewLinks(map);
    for (const led of this.#led.values()) this.#queueJoins(led);
    for (const link of this.#links.values()) link.nudge();
  }

  /** Starts what the map gives to this peer; called when the map and its promises are durable. */
  startLeading(map: ClusterMap): void {
    if (this.#isStopped) return;
    map.slots.forEach((record, slot) => {
      if (this.#led.has(slot) || !this.#namesMe(map, record)) return;
      const led = new LedSlot(this.#world(), slot, record);
      this.#led.set(slot, led);
      this.#lead(led).catch((error: unknown) => this.#parts.onFailure(error));
    });
  }

  /** After its start a peer is primary of nothing until a map names this incarnation (F9). */
  #namesMe(map: ClusterMap, record: SlotRecord): boolean {
    const { me } = this.#parts;
    if (me.peerId === undefined || record.primary !== me.peerId) return false;
    const peer = peerOf(map, me.peerId);
    return peer?.storeId === me.storeId && peer.incarnation === me.incarnation;
  }

  async #lead(led: LedSlot): Promise<void> {
    while (led.phase === 'levelling') {
      try {
        await level({ ...this.#parts, askRemoval: (of, peer) => this.#askRemovalOf(of, peer) }, led);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        const { log, clock } = this.#parts.environment;
        log.warn({ slot: led.slot, error: error.message }, 'levelling goes on in a moment');
        this.#parts.fetchMap();
        await sleep(clock, retryMs);
      }
    }
    this.#queueJoins(led);
  }

  /** A sealed slot serves on here: also whoever was named as joining while it was sealed is copied now (S7). */
  goOn(led: LedSlot): void {
    led.startServing();
    this.#queueJoins(led);
  }

  #stepDown(led: LedSlot): void {
    led.stepDown();
    this.#led.delete(led.slot);
  }

  /** For good: what a later map gives to this peer is not begun any more. */
  stepDownAll(): void {
    this.#isStopped = true;
    for (const led of [...this.#led.values()]) this.#stepDown(led);
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  // --- Links ---------------------------------------------------------------------------------------------------------

  #world(): LedSlotWorld {
    return {
      me: this.#parts.me.peerId ?? '',
      probe: this.#parts.environment.probe,
      nowMs: () => this.#parts.environment.clock.monotonicMs(),
      linkTo: (peer) => this.#linkTo(peer),
      onNewerRecordSomewhere: () => this.#parts.fetchMap(),
    };
  }

  #linkTo(peer: PeerId): ReplicaLink {
    const known = this.#links.get(peer);
    if (known !== undefined) return known;
    const record = this.#parts.currentMap()?.peers.find((each) => each.id === peer);
    const target = { peerId: peer, storeId: record?.storeId ?? '', address: record?.address ?? '' };
    const link = new ReplicaLink(this.#parts.environment, this.#parts.me, target, {
      beaconSlots: (to) => this.#beaconSlots(to),
      onBroken: (to) => this.#parts.master.suspect(to),
      onDead: (to, why) => this.#askRemoval(to, why),
      onUp: (to) => this.#joins.get(to)?.wake(),
      onRefusedSlots: () => this.#parts.fetchMap(),
    });
    this.#links.set(peer, link);
    return link;
  }

  /** Closes links that no slot needs, and those to a peer that now has another store or address. */
  #renewLinks(map: ClusterMap): void {
    const needed = new Set<PeerId>();
    for (const led of this.#led.values()) {
      for (const peer of [...led.required(), ...led.record.joining]) needed.add(peer);
    }
    for (const [peer, link] of this.#links) {
      const record = peerOf(map, peer);
      const same = record?.storeId === link.target.storeId && record.address === link.target.address;
      if (needed.has(peer) && same) continue;
      this.#links.delete(peer);
      link.close();
    }
    for (const peer of needed) this.#linkTo(peer);
  }

  #beaconSlots(peer: PeerId): readonly BeaconSlot[] {
    const rows: BeaconSlot[] = [];
    for (const led of this.#led.values()) {
      const asks = led.phase === 'serving' && led.isRequired(peer);
      if (asks) rows.push({ slot: led.slot, slotEpoch: led.record.slotEpoch, term: led.term });
    }
    return rows;
  }

  isReached(peer: PeerId): boolean {
    return this.#links.get(peer)?.isUp === true;
  }

  /** Has lapsed leases of a slot renewed by a round trip to everyone required. */
  async confirm(led: LedSlot): Promise<void> {
    await Promise.all(led.required().map((peer) => this.#linkTo(peer).confirm()));
  }

  /** Whether every required replica granted a beacon sent at or after `sinceMs`. */
  confirmedSince(led: LedSlot, sinceMs: number): boolean {
    return led.required().every((peer) => this.#linkTo(peer).grantedAtMs(led.slot, led.term) >= sinceMs);
  }

  #askRemoval(peer: PeerId, why: string): void {
    if (this.#removing.has(peer)) return;
    const waiting = [...this.#led.values()].filter((led) => !led.isOver && led.isRequired(peer));
    if (waiting.length === 0) return;
    this.#removing.add(peer);
    this.#parts.environment.log.warn({ peer, slots: waiting.length, why }, 'asking the master to remove a replica');
    this.#parts.master
      .change(waiting.map((led) => ({ ...led.fence(), op: 'remove', peer })))
      .catch((error: unknown) => this.#parts.onFailure(error))
      .finally(() => this.#removing.delete(peer));
  }

  // --- Joining -------------------------------------------------------------------------------------------------------

  #queueJoins(led: LedSlot): void {
    if (led.phase !== 'serving') return;
    for (const peer of led.record.joining) {
      // No map may follow that would open the link to the replica of a slot that is led only now.
      this.#linkTo(peer);
      let queue = this.#joins.get(peer);
      if (queue === undefined) {
        queue = new JoinQueue({
          canRun: () => this.#links.get(peer)?.isUp === true,
          run: (each) => this.#join(each, peer),
          isWanted: (each) => isStillJoining(each, peer),
          onDrained: (copied) => this.#parts.environment.log.info({ peer, ...copied }, 'a replica is in step again'),
        });
        this.#joins.set(peer, queue);
      }
      queue.add(led);
    }
  }

  #joiningParts(): JoiningParts {
    return {
      comparison: this.#parts.comparison,
      oldIds: this.#parts.oldIds,
      storeOf: (peer): StoreId | undefined => this.#links.get(peer)?.target.storeId,
      askToAdd: (to) => this.#askToAdd(to),
    };
  }

  /** While others are on their way, it waits a little for them; the last one takes all with it. */
  async #askToAdd(to: Parameters<JoiningParts['askToAdd']>[0]): Promise<void> {
    const { led, peer, storeId, copied } = to;
    // Of before any wait: what was compared is of this record, and of no later one.
    const fence = led.fence();
    this.#joins.get(peer)?.onInStep(led);
    const isBusy = [...this.#joins.values()].some((queue) => queue.isBusy);
    const isAwaited = led.record.inSync.length < (this.#parts.currentMap()?.pool.minInSync ?? 0);
    // Who may lead from then on must be named in what a restart remembers: a recovery asks nobody else (F14).
    await this.#parts.maps.makeDurable();
    await this.#parts.master.change([{ ...fence, op: 'add', peer, storeId, ...copied }], isAwaited || !isBusy);
  }

  #askRemovalOf(led: LedSlot, peer: PeerId): Promise<void> {
    return this.#parts.master.change([{ ...led.fence(), op: 'remove', peer }]);
  }

  async #join(led: LedSlot, peer: PeerId): Promise<Settled> {
    const { log, clock } = this.#parts.environment;
    const copied: Settled = { keys: 0, bytes: 0 };
    try {
      await join(this.#joiningParts(), led, peer, copied);
    } catch (error) {
      log.warn({ slot: led.slot, peer, error: String(error) }, 'joining failed');
      if (!isRefusal(error)) this.#parts.onFailure(error);
      // A full or failing joiner must not fail the writes of the slot, nor keep others from joining or its sweeps from
      // going on: give it up; the planner tries again, later each time.
      if (isStillJoining(led, peer)) await this.#askRemovalOf(led, peer).catch(unlessStopped);
      await sleep(clock, retryMs);
    }
    return copied;
  }
}

/** A peer that stops has nothing to ask any more. */
function unlessStopped(error: unknown): void {
  if (!isRefusal(error, 'cancelled')) throw error;
}
