/**
 * Copies of slots that the map gives to others: kept until it is certain that nobody needs them.
 *
 * The map alone never deletes (S10). The slot's serving primary must say, with present proof, that it has all copies it
 * wants without this one; then a quarantine passes; then it must say so again; and the deletion re-checks the promise
 * in its transaction (rule F15).
 */
import { type ClusterMap, peerOf, type SlotRecord } from '../cluster/map.js';
import type { Log } from '../core/environment.js';
import { DfsError } from '../core/errors.js';
import type { SlotNumber } from '../core/ids.js';
import type { Probe } from '../core/probe.js';
import type { IndexStore } from '../core/storage.js';
import type { Incoming, Outgoing } from '../protocol/session.js';
import type { Checkpoints } from './checkpoints.js';
import type { ClusterClock } from './cluster-clock.js';
import type { Damage } from './damage.js';
import type { EntryIndex } from './entry-index.js';
import type { Identity } from './identity.js';
import { decodeNumber, encodeNumber, seal, slotKey, unsealOrFail } from './index-layout.js';
import type { Leadership } from './leadership.js';
import type { PeerCalls } from './peer-calls.js';
import type { Serving } from './serving.js';

export interface SurplusParts {
  readonly probe: Probe | undefined;
  readonly log: Log;
  readonly me: Identity;
  readonly store: IndexStore;
  readonly index: EntryIndex;
  readonly leadership: Leadership;
  readonly serving: Serving;
  readonly calls: PeerCalls;
  readonly clock: ClusterClock;
  readonly damage: Damage;
  readonly checkpoints: Checkpoints;
  currentMap(): ClusterMap | undefined;
}

const askTimeoutMs = 5000;
const entriesAtOnce = 20; // in one transaction, behind which clients wait

export class Surplus {
  readonly #parts: SurplusParts;

  constructor(parts: SurplusParts) {
    this.#parts = parts;
  }

  /** One round over the slots held here. */
  async look(): Promise<void> {
    const map = this.#parts.currentMap();
    if (map === undefined || !this.#parts.clock.isTold || this.#isSetAside(map)) return;
    for (const slot of this.#parts.index.slotsHeld()) {
      const record = map.slots[slot];
      if (record === undefined) continue;
      if (this.#parts.checkpoints.isHolding) return;
      if (this.#isNamed(record)) await this.#forgetSince(slot);
      else await this.#lookAt(map, slot, record);
    }
  }

  /** The others went on without it after a recovery: it may have what they lack, and an operator decides. */
  #isSetAside(map: ClusterMap): boolean {
    const { storeId } = this.#parts.me;
    return map.peers.some((peer) => peer.storeId === storeId && peer.mode === 'set-aside');
  }

  #isNamed(record: SlotRecord): boolean {
    const me = this.#parts.me.peerId;
    return me === undefined || record.inSync.includes(me) || record.joining.includes(me);
  }

  async #lookAt(map: ClusterMap, slot: SlotNumber, record: SlotRecord): Promise<void> {
    const { clock, index, log } = this.#parts;
    const sinceMs = this.#since(slot);
    if (sinceMs !== undefined && clock.nowMs() < sinceMs + map.quarantineMs) return;
    if (!(await this.#isAllowed(map, slot, record))) return;
    this.#parts.probe?.at({ point: 'surplusAllowed', slot });
    if (sinceMs === undefined) {
      await this.#setSince(slot);
      if (map.quarantineMs > 0) return;
    }
    const fence = { slot, slotEpoch: record.slotEpoch };
    let count = 0;
    for (let forgotten = entriesAtOnce; forgotten === entriesAtOnce; count += forgotten) {
      const current = this.#parts.currentMap();
      const now = current?.slots[slot];
      if (current === undefined || now === undefined || this.#isNamed(now) || this.#isSetAside(current)) return;
      forgotten = await index.forget(fence, entriesAtOnce);
      this.#parts.probe?.at({ point: 'surplusForgotten', slot });
    }
    await this.#forgetSince(slot);
    log.info({ slot, entries: count }, 'dropped a surplus copy');
  }

  async #isAllowed(map: ClusterMap, slot: SlotNumber, record: SlotRecord): Promise<boolean> {
    const { me, calls, index, log } = this.#parts;
    const primary = record.primary === undefined ? undefined : peerOf(map, record.primary);
    if (primary === undefined || me.peerId === undefined || record.slotEpoch < index.promiseOf(slot)) return false;
    try {
      const header = { slot, slotEpoch: record.slotEpoch, peer: me.peerId, storeId: me.storeId };
      const answer = await calls.ask(primary, 'may-drop', header, { timeoutMs: askTimeoutMs });
      return answer.header.allowed && answer.header.slotEpoch >= record.slotEpoch;
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
      log.debug({ slot, error: error.message }, 'a surplus copy is kept: its primary did not answer');
      return false;
    }
  }

  /** As the slot's primary, about another peer's copy. */
  async onAsked(request: Incoming<'may-drop'>): Promise<Outgoing> {
    const { slot, slotEpoch, peer } = request.header;
    const led = this.#parts.leadership.led(slot);
    const wanted = this.#parts.currentMap()?.pool.replicas ?? Infinity;
    if (led === undefined) return { header: { allowed: false, slotEpoch: 0 } };
    await this.#parts.serving.ensureCurrent(led, request.deadlineMs);
    const { record } = led;
    // Of what is bad here the one who asks may have the last good bytes.
    const isGood = !this.#parts.damage.hasIn(slot);
    const allowed = isGood && record.slotEpoch >= slotEpoch && record.inSync.length >= wanted && !led.isHeldBy(peer);
    return { header: { allowed, slotEpoch: record.slotEpoch } };
  }

  #since(slot: SlotNumber): number | undefined {
    const value = this.#parts.store.get('surplus', slotKey(slot));
    return value === undefined ? undefined : decodeNumber(unsealOrFail('surplus', slotKey(slot), value));
  }

  async #setSince(slot: SlotNumber): Promise<void> {
    const value = seal(slotKey(slot), encodeNumber(this.#parts.clock.nowMs()));
    await this.#parts.store.transact((transaction) => transaction.put('surplus', slotKey(slot), value));
  }

  async #forgetSince(slot: SlotNumber): Promise<void> {
    if (this.#parts.store.get('surplus', slotKey(slot)) === undefined) return;
    await this.#parts.store.transact((transaction) => transaction.delete('surplus', slotKey(slot)));
  }
}
