/**
 * Makes a replica equal to the primary, at a cost that follows the difference: digests, then the keys of the buckets
 * that differ, then each differing key inside its queue, with those of its request ids that differ.
 *
 * Whatever differs, in either direction, is replaced by the primary's: what the replica has and the primary lacks was
 * never acknowledged, what it lacks may have been (F2). While writes run a difference is only a candidate; the key's
 * queue decides (F22). Serves S4, S7.
 */
import { sameBytes } from '../core/checksum.js';
import { isRefusal, refuse } from '../core/errors.js';
import { compareVersions, noVersion, type PeerId, type SlotNumber, type TimedId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { givePayloadMemory } from '../core/payload-memory.js';
import { CreditPool } from '../protocol/credit.js';
import {
  decodeIdDigestRows,
  decodeIdRows,
  decodeKeyRows,
  encodeIdRows,
  type IdRow,
  type KeyRow,
} from '../protocol/rows.js';
import type { Incoming, Outgoing } from '../protocol/session.js';
import type { Copies } from './copies.js';
import { type EntryKey, isEntryKey, keyText, placedSize, queueKeyOf, type StoredEntry } from './entry.js';
import { type EntryIndex, toWireMark } from './entry-index.js';
import type { GiveWay } from './give-way.js';
import type { LedSlot } from './led-slot.js';
import type { Pace } from './pace.js';
import type { Repair } from './repair.js';
import { differingTables, idsAbove, pagesOf } from './request-ids.js';

export interface Settled {
  keys: number;
  bytes: number;
}

/** What a replica was last seen to hold under a key, as far as that is known. */
type KnownRow = Pick<KeyRow, 'key'> & Partial<KeyRow>;

interface Compared {
  readonly id: PeerId;
  /** It may have bytes on its disk that its index does not know. */
  readonly hasSalvage: boolean;
}

const parallelKeys = 16;
/** What a comparison costs both sides, as if so many bytes were copied. */
const comparisonBytes = 32 * 1024;
/** Bytes read for copying and not yet taken by a replica, over all slots. */
const copiedBytesInFlightMax = 16 * 1024 * 1024;

export interface ComparisonParts {
  readonly index: EntryIndex;
  readonly copies: Copies;
  readonly repair: Repair;
  readonly pace: Pace;
  readonly giveWay: GiveWay;
  minInSync(): number;
  /** Resolves when it is written down that a copy here is bad. */
  noteDamage(key: EntryKey): Promise<void>;
}

export class Comparison {
  readonly #index: EntryIndex;
  readonly #copies: Copies;
  readonly #repair: Repair;
  readonly #noteDamage: (key: EntryKey) => Promise<void>;
  /** Apart, so that a slow joiner never holds up a levelling or a roll-back. */
  readonly #roomForJoiners = new CreditPool(copiedBytesInFlightMax);
  readonly #roomForMembers = new CreditPool(copiedBytesInFlightMax);
  /** Of copies for joiners; both outside the queues of keys, so that nobody's write waits for them. */
  readonly #pace: Pace;
  readonly #giveWay: GiveWay;
  readonly #minInSync: () => number;

  constructor(parts: ComparisonParts) {
    this.#pace = parts.pace;
    this.#giveWay = parts.giveWay;
    this.#minInSync = () => parts.minInSync();
    this.#noteDamage = parts.noteDamage;
    this.#index = parts.index;
    this.#copies = parts.copies;
    this.#repair = parts.repair;
  }

  /** Settles every key that differs; resolves to how many did. Zero on a quiet slot means: equal. */
  async settleSlot(led: LedSlot, peer: PeerId): Promise<Settled> {
    const { header } = await this.#inTurn(led, peer, comparisonBytes, () =>
      led.ask(peer, 'digests', (fenced) => fenced),
    );
    const mine = this.#index.digests(led.slot);
    const settled: Settled = { keys: 0, bytes: 0 };
    for (let bucket = 0; bucket < limits.digestBuckets; bucket++) {
      const range = [bucket * 8, bucket * 8 + 8] as const;
      if (!sameBytes(mine.subarray(...range), header.buckets.subarray(...range))) {
        await this.#settleBucket(led, { id: peer, hasSalvage: header.hasSalvage }, bucket, settled);
      }
    }
    return settled;
  }

  async #settleBucket(led: LedSlot, replica: Compared, bucket: number, settled: Settled): Promise<void> {
    const peer = replica.id;
    let after: EntryKey = new Uint8Array(0);
    for (;;) {
      const from = after;
      const answer = await this.#inTurn(led, peer, comparisonBytes, () =>
        led.ask(peer, 'list-bucket', (fenced) => ({ ...fenced, bucket, after: from })),
      );
      const theirs = decodeKeyRows(answer.payload ?? new Uint8Array(0));
      const end = answer.header.more ? theirs.at(-1)?.key : undefined;
      const differing = differences(this.#listOwn(led, bucket, from, end), theirs);
      await inParallel(differing, parallelKeys, async (their) => {
        const sizeBytes = this.#sizeOf(their.key);
        if (!led.isRequired(peer)) await this.#pace.take(sizeBytes, () => led.isHeldBy(peer));
        const settle = (): Promise<number> => this.settleKey(led, peer, their, replica);
        const bytes = await this.#inTurn(led, peer, sizeBytes, () => led.queue.run(queueKeyOf(their.key), settle));
        settled.keys++;
        settled.bytes += bytes;
      });
      if (end === undefined) return;
      after = end;
    }
  }

  /**
   * Writes wait for who is required, and for copies where there are too few to write at all: neither waits for clients.
   * At a speed that was set nobody gives way.
   */
  #inTurn<T>(led: LedSlot, peer: PeerId, bytes: number, task: () => Promise<T>): Promise<T> {
    const areWritesRefused = led.record.inSync.length < this.#minInSync();
    if (led.isRequired(peer) || areWritesRefused || this.#pace.isSet) return task();
    return this.#giveWay.run(peer, bytes, task, led.record.inSync.length === 1);
  }

  /** Own rows after `after` up to and including `end`. */
  #listOwn(led: LedSlot, bucket: number, after: EntryKey, end: EntryKey | undefined): readonly KeyRow[] {
    const listed: KeyRow[] = [];
    for (let from = after; ; ) {
      const { rows, more } = this.#index.listBucket({ slot: led.slot, bucket }, from, limits.comparePageRowsMax);
      for (const row of rows) {
        if (end !== undefined && Buffer.compare(row.key, end) > 0) return listed;
        listed.push(row);
      }
      const last = rows.at(-1);
      if (last === undefined || !more) return listed;
      from = last.key;
    }
  }

  /**
   * Makes one key of the replica equal to the primary's committed state; the caller holds the key's queue. `their` is
   * what the replica was last seen to hold, when that is known. Resolves to the bytes of content sent.
   */
  async settleKey(
    led: LedSlot,
    peer: PeerId,
    their: KnownRow,
    { hasSalvage }: Pick<Compared, 'hasSalvage'> = { hasSalvage: false },
  ): Promise<number> {
    const own = await this.#readable(led, their.key);
    let sent = 0;
    const sameVersion =
      own !== undefined && their.version !== undefined && compareVersions(own.version, their.version) === 0;
    const isAdopted = hasSalvage && !sameVersion && own !== undefined && (await this.#offer(led, peer, own));
    if (!sameVersion && !isAdopted) sent = await this.#sendEntry(led, peer, their.key, own);
    if (own !== undefined) await this.#sendNewerIds(led, peer, their, own);
    await this.#settleIds(led, peer, their.key);
    return sent;
  }

  /** Of the own content; what is unreadable counts for nothing. */
  #sizeOf(key: EntryKey): number {
    const found = this.#index.lookup(key);
    return found.state === 'present' ? placedSize(found.entry.placed) : 0;
  }

  async #readable(led: LedSlot, key: EntryKey): Promise<StoredEntry | undefined> {
    const found = this.#index.lookup(key);
    if (found.state === 'absent') return undefined;
    if (found.state === 'present') return found.entry;
    return this.#repair.entry(led, key);
  }

  /**
   * Has the replica take the entry with bytes that lie on its disk already, in a file of an index that it lost; false
   * when they do not. What they must be, the header here says: no byte is read for it.
   */
  async #offer(led: LedSlot, peer: PeerId, own: StoredEntry): Promise<boolean> {
    const header = await this.#copies.headerOf(own);
    if (header === undefined) return false;
    const { key, kind, version, body } = own;
    const entry = { key, kind, version, body, sums: header.sums };
    const asOf = led.asOf();
    const mark = toWireMark(this.#index.markOf(key, version));
    const answer = await led.ask(peer, 'settle', (fenced) => ({ ...fenced, key, asOf, entry, isOffer: true, ...mark }));
    return answer.header.wantsBytes !== true;
  }

  async #sendEntry(led: LedSlot, peer: PeerId, key: EntryKey, own: StoredEntry | undefined): Promise<number> {
    const asOf = led.asOf();
    if (own === undefined) {
      await led.ask(peer, 'settle', (fenced) => ({ ...fenced, key, asOf }));
      return 0;
    }
    const room = led.record.inSync.includes(peer) ? this.#roomForMembers : this.#roomForJoiners;
    const release = await room.acquire(placedSize(own.placed));
    try {
      const { bytes, sums, ...lost } = await this.#verifiedOrLost(led, own);
      const entry = { key, kind: own.kind, version: own.version, body: own.body, sums };
      const mark = toWireMark(this.#index.markOf(own.key, own.version));
      await led.ask(peer, 'settle', (fenced) => ({ ...fenced, key, asOf, entry, ...lost, ...mark }), {
        payload: bytes.length === 0 ? undefined : bytes,
        sums: bytes.length === 0 ? undefined : sums,
      });
      givePayloadMemory(bytes);
      return bytes.length;
    } finally {
      release();
    }
  }

  /**
   * Bytes that no holder can read stop neither the slot nor the copying of everything else: the replica gets the entry
   * marked as lost, so that nobody ever takes the file for absent or for its older version.
   */
  async #verifiedOrLost(
    led: LedSlot,
    own: StoredEntry,
  ): Promise<{ bytes: Uint8Array; sums: Uint8Array; lostBytes?: number }> {
    try {
      return await this.#verified(led, own);
    } catch (error) {
      if (!isRefusal(error, 'integrity')) throw error;
      await this.#noteDamage(own.key);
      return { bytes: new Uint8Array(0), sums: new Uint8Array(0), lostBytes: placedSize(own.placed) };
    }
  }

  /**
   * The bytes of an own entry, verified; repaired from another holder first when they are bad, so that damage never
   * spreads.
   */
  async #verified(led: LedSlot, own: StoredEntry): Promise<{ bytes: Uint8Array; sums: Uint8Array }> {
    try {
      return await this.#copies.readVerified(own);
    } catch (error) {
      if (!isRefusal(error, 'integrity')) throw error;
      const repaired = await this.#repair.entry(led, own.key);
      return this.#copies.readVerified(repaired);
    }
  }

  /** The ids of what was written since the replica was last seen: nearly always all that differs. */
  async #sendNewerIds(led: LedSlot, peer: PeerId, their: KnownRow, own: StoredEntry): Promise<void> {
    const { key, version: seen = noVersion } = their;
    if (compareVersions(seen, noVersion) === 0 || compareVersions(own.version, seen) <= 0) return;
    const newer = idsAbove(this.#index.newestIds(key), seen);
    for (const puts of pagesOf(newer, limits.idPageRowsMax)) {
      await this.#changeIds(led, peer, { key, puts, drops: [] });
    }
  }

  async #settleIds(led: LedSlot, peer: PeerId, key: EntryKey): Promise<void> {
    const { payload } = await led.ask(peer, 'id-digests', (fenced) => ({ ...fenced, key }));
    const theirs = decodeIdDigestRows(payload ?? new Uint8Array(0));
    for (const table of differingTables(this.#index.idDigests(key), theirs)) {
      await this.#settleIdTable(led, peer, key, table);
    }
  }

  /** Goes through the lists of both, a page of the replica's at a time. */
  async #settleIdTable(led: LedSlot, peer: PeerId, key: EntryKey, table: number): Promise<void> {
    for (let after: { after?: TimedId } = {}; ; ) {
      const place = { table, ...after };
      const answer = await led.ask(peer, 'list-ids', (fenced) => ({ ...fenced, key, ...place }));
      const rows = decodeIdRows(answer.payload ?? new Uint8Array(0));
      const end = answer.header.more ? rows.at(-1)?.id : undefined;
      const theirs = new Map(rows.map((row) => [keyText(row.id), row]));
      for (const mine of pagesOf(idsUpTo(this.#index.idsInTable(key, place), end), limits.idPageRowsMax)) {
        const puts = mine.filter((row) => !isSameRow(row, theirs.get(keyText(row.id))));
        await this.#changeIds(led, peer, { key, puts, drops: [] });
        for (const row of mine) theirs.delete(keyText(row.id));
      }
      await this.#changeIds(led, peer, { key, puts: [], drops: [...theirs.values()] });
      if (end === undefined) return;
      after = { after: end };
    }
  }

  /** A page; one of the two lists is empty. */
  async #changeIds(
    led: LedSlot,
    peer: PeerId,
    change: { key: EntryKey; puts: readonly IdRow[]; drops: readonly IdRow[] },
  ): Promise<void> {
    const { key, puts, drops } = change;
    if (puts.length + drops.length === 0) return;
    const asOf = led.asOf();
    await led.ask(peer, 'settle-ids', (fenced) => ({ ...fenced, key, asOf, drops: drops.length }), {
      payload: encodeIdRows([...puts, ...drops]),
    });
  }
}

function isSameRow(row: IdRow, their: IdRow | undefined): boolean {
  return their !== undefined && compareVersions(their.version, row.version) === 0;
}

function* idsUpTo(rows: Iterable<IdRow>, end: TimedId | undefined): Generator<IdRow> {
  for (const row of rows) {
    if (end !== undefined && Buffer.compare(row.id, end) > 0) return;
    yield row;
  }
}

export interface SettlingParts {
  readonly leadership: { led(slot: SlotNumber): LedSlot | undefined };
  readonly comparison: Comparison;
}

/** As primary: one key of the asking member is made equal, after what is under way for that key. */
export async function onSettleAsked(parts: SettlingParts, request: Incoming<'settle-here'>): Promise<Outgoing> {
  const { slot, key } = request.header;
  const { peerId } = request.session.remote;
  const led = parts.leadership.led(slot);
  if (!isEntryKey(key)) refuse('invalid', 'The key is not one of an entry');
  if (led?.phase !== 'serving' || peerId === undefined || !led.isRequired(peerId)) {
    return refuse('wrong-role', `Slot ${slot} is not served here for the asking peer`);
  }
  await led.queue.run(queueKeyOf(key), () => led.during(() => parts.comparison.settleKey(led, peerId, { key })));
  return {};
}

/** Rows of either side that the other lacks or has otherwise, as the replica has them. Both are in order of keys. */
export function differences(mine: readonly KeyRow[], theirs: readonly KeyRow[]): readonly KnownRow[] {
  const theirsByKey = new Map(theirs.map((row) => [keyText(row.key), row]));
  const differing: KnownRow[] = [];
  for (const row of mine) {
    const their = theirsByKey.get(keyText(row.key));
    theirsByKey.delete(keyText(row.key));
    if (their === undefined) differing.push({ key: row.key });
    else if (compareVersions(their.version, row.version) !== 0 || !sameBytes(their.idsHash, row.idsHash)) {
      differing.push(their);
    }
  }
  return [...differing, ...theirsByKey.values()];
}

/** Runs `task` over all items, at most `width` at once; the first error ends it. */
export async function inParallel<T>(
  items: readonly T[],
  width: number,
  task: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await task(item);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
}
