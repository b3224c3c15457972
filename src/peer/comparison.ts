/**
 * Makes a replica equal to the primary, at a cost that follows the difference: digests, then the keys of the buckets
 * that differ, then each differing key inside its queue.
 *
 * Whatever differs, in either direction, is replaced by the primary's: what the replica has and the primary lacks was
 * never acknowledged, what it lacks may have been (F2). While writes run a difference is only a candidate; the key's
 * queue decides (F22). Serves S4, S7.
 */
import { sameBytes } from '../core/checksum.js';
import { isRefusal } from '../core/errors.js';
import { compareVersions, type PeerId, type TimedId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { CreditPool } from '../protocol/credit.js';
import { decodeIdRows, decodeKeyRows, encodeIdRows, type IdRow, type KeyRow } from '../protocol/rows.js';
import type { Copies } from './copies.js';
import { type EntryKey, keyText, placedSize, queueKeyOf, type StoredEntry } from './entry.js';
import type { EntryIndex } from './entry-index.js';
import type { LedSlot } from './led-slot.js';
import type { Repair } from './repair.js';

export interface Settled {
  keys: number;
  bytes: number;
}

const parallelKeys = 16;
/** Bytes read for copying and not yet taken by a replica, over all slots. */
const copiedBytesInFlightMax = 16 * 1024 * 1024;

export class Comparison {
  readonly #index: EntryIndex;
  readonly #copies: Copies;
  readonly #repair: Repair;
  /** Apart, so that a slow joiner never holds up a levelling or a roll-back. */
  readonly #roomForJoiners = new CreditPool(copiedBytesInFlightMax);
  readonly #roomForMembers = new CreditPool(copiedBytesInFlightMax);

  constructor(parts: { index: EntryIndex; copies: Copies; repair: Repair }) {
    this.#index = parts.index;
    this.#copies = parts.copies;
    this.#repair = parts.repair;
  }

  /** Settles every key that differs; resolves to how many did. Zero on a quiet slot means: equal. */
  async settleSlot(led: LedSlot, peer: PeerId): Promise<Settled> {
    const { header } = await led.ask(peer, 'digests', (fenced) => fenced);
    const mine = this.#index.digests(led.slot);
    const settled: Settled = { keys: 0, bytes: 0 };
    for (let bucket = 0; bucket < limits.digestBuckets; bucket++) {
      const range = [bucket * 8, bucket * 8 + 8] as const;
      if (!sameBytes(mine.subarray(...range), header.buckets.subarray(...range))) {
        await this.#settleBucket(led, peer, bucket, settled);
      }
    }
    return settled;
  }

  async #settleBucket(led: LedSlot, peer: PeerId, bucket: number, settled: Settled): Promise<void> {
    let after: EntryKey = new Uint8Array(0);
    for (;;) {
      const from = after;
      const answer = await led.ask(peer, 'list-bucket', (fenced) => ({ ...fenced, bucket, after: from }));
      const theirs = decodeKeyRows(answer.payload ?? new Uint8Array(0));
      const end = answer.header.more ? theirs.at(-1)?.key : undefined;
      const differing = differences(this.#listOwn(led, bucket, from, end), theirs);
      await inParallel(differing, parallelKeys, async (their) => {
        const bytes = await led.queue.run(queueKeyOf(their.key), () => this.settleKey(led, peer, their));
        settled.keys++;
        settled.bytes += bytes;
      });
      if (end === undefined) return;
      after = end;
    }
  }

  /** Own rows after `after` up to and including `end`. */
  #listOwn(led: LedSlot, bucket: number, after: EntryKey, end: EntryKey | undefined): readonly KeyRow[] {
    const rows: KeyRow[] = [];
    let from = after;
    for (;;) {
      const page = this.#index.listBucket(led.slot, bucket, from, limits.comparePageRowsMax);
      for (const row of page) {
        if (end !== undefined && Buffer.compare(row.key, end) > 0) return rows;
        rows.push(row);
      }
      const last = page.at(-1);
      if (last === undefined || page.length < limits.comparePageRowsMax) return rows;
      from = last.key;
    }
  }

  /**
   * Makes one key of the replica equal to the primary's committed state; the caller holds the key's queue. `their` is
   * what the replica was last seen to hold, when that is known. Resolves to the bytes of content sent.
   */
  async settleKey(led: LedSlot, peer: PeerId, their: Pick<KeyRow, 'key'> & Partial<KeyRow>): Promise<number> {
    const own = await this.#readable(led, their.key);
    let sent = 0;
    const sameVersion =
      own !== undefined && their.version !== undefined && compareVersions(own.version, their.version) === 0;
    if (!sameVersion) sent = await this.#sendEntry(led, peer, their.key, own);
    await this.#settleIds(led, peer, their.key);
    return sent;
  }

  async #readable(led: LedSlot, key: EntryKey): Promise<StoredEntry | undefined> {
    const found = this.#index.lookup(key);
    if (found.state === 'absent') return undefined;
    if (found.state === 'present') return found.entry;
    return this.#repair.entry(led, key);
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
      const mark = this.#markOf(own);
      await led.ask(peer, 'settle', (fenced) => ({ ...fenced, key, asOf, entry, ...lost, ...mark }), {
        payload: bytes.length === 0 ? undefined : bytes,
        sums: bytes.length === 0 ? undefined : sums,
      });
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
      return { bytes: new Uint8Array(0), sums: new Uint8Array(0), lostBytes: placedSize(own.placed) };
    }
  }

  /** The request that wrote the entry, while its id is remembered. */
  #markOf(own: StoredEntry): { requestId?: TimedId; contentHash?: Uint8Array } {
    const row = this.#index.listIds(own.key).find(({ version }) => compareVersions(version, own.version) === 0);
    return row === undefined ? {} : { requestId: row.id, contentHash: row.contentHash };
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

  async #settleIds(led: LedSlot, peer: PeerId, key: EntryKey): Promise<void> {
    const theirs = new Map((await this.#listIds(led, peer, key)).map((row) => [keyText(row.id), row]));
    const puts: IdRow[] = [];
    for (const row of this.#index.listIds(key)) {
      const their = theirs.get(keyText(row.id));
      if (their === undefined || compareVersions(their.version, row.version) !== 0) puts.push(row);
      theirs.delete(keyText(row.id));
    }
    await this.#changeIds(led, peer, { key, puts, drops: [] });
    await this.#changeIds(led, peer, { key, puts: [], drops: [...theirs.values()] });
  }

  async #listIds(led: LedSlot, peer: PeerId, key: EntryKey): Promise<readonly IdRow[]> {
    const rows: IdRow[] = [];
    for (;;) {
      const skip = rows.length;
      const answer = await led.ask(peer, 'list-ids', (fenced) => ({ ...fenced, key, skip }));
      rows.push(...decodeIdRows(answer.payload ?? new Uint8Array(0)));
      if (!answer.header.more) return rows;
    }
  }

  /** A page at a time; one of the two lists is empty. */
  async #changeIds(
    led: LedSlot,
    peer: PeerId,
    change: { key: EntryKey; puts: readonly IdRow[]; drops: readonly IdRow[] },
  ): Promise<void> {
    const { key, puts, drops } = change;
    const rows = [...puts, ...drops];
    const asOf = led.asOf();
    for (let at = 0; at < rows.length; at += limits.idPageRowsMax) {
      const page = rows.slice(at, at + limits.idPageRowsMax);
      const dropCount = drops.length === 0 ? 0 : page.length;
      await led.ask(peer, 'settle-ids', (fenced) => ({ ...fenced, key, asOf, drops: dropCount }), {
        payload: encodeIdRows(page),
      });
    }
  }
}

/** Rows of either side that the other lacks or has otherwise, as the replica has them. Both are in order of keys. */
export function differences(
  mine: readonly KeyRow[],
  theirs: readonly KeyRow[],
): readonly (Pick<KeyRow, 'key'> & Partial<KeyRow>)[] {
  const theirsByKey = new Map(theirs.map((row) => [keyText(row.key), row]));
  const differing: (Pick<KeyRow, 'key'> & Partial<KeyRow>)[] = [];
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
