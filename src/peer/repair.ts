/**
 * Brings back a copy that is unreadable, from another holder, without changing what the entry says.
 *
 * Inside the key's queue it asks for exactly the version it has. An index entry that cannot be read has an unknown
 * version and is never dropped (F10): at the primary the newest copy of the other holders takes its place, at a replica
 * what the primary settles. Serves S5.
 */
import { type ClusterMap, peerOf, type SlotRecord } from '../cluster/map.js';
import type { Log } from '../core/environment.js';
import { DfsError, refuse } from '../core/errors.js';
import { compareVersions, type PeerId, type Version } from '../core/ids.js';
import type { WireEntry } from '../protocol/message-fields.js';
import type { Copies } from './copies.js';
import type { EntryKey, StoredEntry } from './entry.js';
import { type EntryIndex, type Fence, markIn, type RequestMark } from './entry-index.js';
import type { LedSlot } from './led-slot.js';
import type { PeerCalls } from './peer-calls.js';

interface Fetched {
  readonly entry: WireEntry;
  readonly bytes: Uint8Array;
  readonly mark: RequestMark | undefined;
}

export interface RepairParts {
  readonly log: Log;
  readonly index: EntryIndex;
  readonly copies: Copies;
  readonly calls: PeerCalls;
  /** Has it written down, and told, that a copy here is bad. */
  onDamage(key: EntryKey): void;
  me(): PeerId | undefined;
  currentMap(): ClusterMap | undefined;
}

const fetchTimeoutMs = 10_000;

export class Repair {
  readonly #parts: RepairParts;

  constructor(parts: RepairParts) {
    this.#parts = parts;
  }

  /** As primary: repairs the key's copy here and returns it; refuses `integrity` when nobody has a good one. */
  entry(led: LedSlot, key: EntryKey): Promise<StoredEntry> {
    return this.#repair(led.fence(), key, led.record);
  }

  /** As replica: repairs bytes of a known version from the slot's other members. */
  async replica(key: EntryKey): Promise<StoredEntry> {
    const { index, currentMap } = this.#parts;
    const slot = index.slotOf(key);
    // It has become unreadable since: what it said was perhaps newer than what others can give.
    if (index.lookup(key).state === 'damaged') refuse('integrity', `An entry in slot ${slot} is unreadable`);
    const record = currentMap()?.slots[slot];
    return this.#repair({ slot, slotEpoch: index.promiseOf(slot) }, key, record);
  }

  /**
   * As replica, outside the key's queue: has an entry of unknown version settled by the slot's primary. What others
   * hold may be older than the write this replica has answered for, which the primary has yet to commit.
   */
  async bySettling(key: EntryKey): Promise<StoredEntry> {
    const { calls, index, onDamage } = this.#parts;
    onDamage(key);
    const slot = index.slotOf(key);
    const map = this.#parts.currentMap();
    const primary = map?.slots[slot]?.primary;
    const peer = map === undefined || primary === undefined ? undefined : peerOf(map, primary);
    if (peer !== undefined) await calls.ask(peer, 'settle-here', { slot, key }, { timeoutMs: fetchTimeoutMs });
    const found = index.lookup(key);
    if (found.state !== 'present') {
      refuse('integrity', `An entry in slot ${slot} is damaged and its primary could not settle it now`, {
        advice: 'Read it from the primary; it is settled when that answers',
      });
    }
    return found.entry;
  }

  async #repair(fence: Fence, key: EntryKey, record: SlotRecord | undefined): Promise<StoredEntry> {
    const { index, copies, log, onDamage } = this.#parts;
    onDamage(key);
    const found = index.lookup(key);
    const version = found.state === 'present' ? found.entry.version : undefined;
    const holders = holdersIn(record, version).filter((peer) => peer !== this.#parts.me());
    const fetched = await this.#fetch(fence, key, version, holders);
    if (fetched === undefined) {
      refuse('integrity', `A copy in slot ${fence.slot} is damaged and no other holder has a good one now`, {
        advice: 'Bring back the peers that are down; the copy is repaired at the next read',
      });
    }
    const { sums, ...entry } = fetched.entry;
    const placed = await copies.stage(entry, fetched.bytes, sums);
    const stored = { ...entry, placed };
    const replace = async (): Promise<boolean> => {
      // The bad copy stays where it is until a good one was read back here: it may be better than none (S7).
      if (placed.where === 'file') await copies.readBack(stored);
      return index.replaceBytes(fence, stored, fetched.mark);
    };
    const replaced = await copies.orDiscard(placed, replace());
    if (replaced) copies.release(placed);
    else await copies.discard(placed);
    log.warn({ slot: fence.slot, kind: entry.kind, bytes: fetched.bytes.length, replaced }, 'repaired a damaged copy');
    return stored;
  }

  /** The newest good copy among the holders; of exactly `version` when that is known. */
  async #fetch(
    fence: Fence,
    key: EntryKey,
    version: Version | undefined,
    holders: readonly PeerId[],
  ): Promise<Fetched | undefined> {
    const map = this.#parts.currentMap();
    let best: Fetched | undefined;
    for (const holder of holders) {
      const peer = map === undefined ? undefined : peerOf(map, holder);
      if (peer === undefined) continue;
      try {
        const header = { slot: fence.slot, key, ...(version === undefined ? {} : { version }) };
        const answer = await this.#parts.calls.ask(peer, 'fetch-entry', header, { timeoutMs: fetchTimeoutMs });
        const { entry } = answer.header;
        const mark = markIn(answer.header);
        if (entry === undefined) continue;
        if (best !== undefined && compareVersions(entry.version, best.entry.version) <= 0) continue;
        best = { entry, bytes: answer.payload ?? new Uint8Array(0), mark };
        if (version !== undefined) return best;
      } catch (error) {
        if (!(error instanceof DfsError)) throw error;
        this.#parts.log.warn({ holder, slot: fence.slot, error: error.message }, 'a holder could not give its copy');
      }
    }
    return best;
  }
}

/**
 * A version never names two contents: of exactly that one the copy of a joining replica, or of a peer that has left, is
 * as good as a member's.
 */
function holdersIn(record: SlotRecord | undefined, version: Version | undefined): readonly PeerId[] {
  if (record === undefined) return [];
  const { inSync, joining, removed = [] } = record;
  if (version === undefined) return inSync;
  return [...new Set([...inSync, ...joining, ...removed.map(({ peer }) => peer)])];
}
