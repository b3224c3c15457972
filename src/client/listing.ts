/**
 * Lists a bucket: every primary is asked for the names of its slots, page by page, and their sorted answers are merged.
 *
 * Each source stands for some slots and where it has got to. When its primary cannot answer for them (it died, they
 * moved), the slots are divided anew among the primaries of a newer map, each going on from the same place; so no name
 * is left out and none comes twice. Entries are current one by one, not a picture of one moment. While the caller takes
 * one page, the next of each source is on its way.
 */
import type { PeerRecord } from '../cluster/map.js';
import type { DfsError } from '../core/errors.js';
import { limits } from '../core/limits.js';
import { compareUtf8 } from '../core/utf8-order.js';
import { decodeListRows, type ListRow } from '../protocol/rows.js';
import { AttemptFailure, isBroken } from './attempt.js';
import { givenUp, judge } from './judgement.js';
import type { Patience } from './patience.js';
import type { RoutingTable } from './routing.js';
import type { SlotCaller } from './slot-caller.js';

/** Rows of all sources together, in hand or asked for: bounds memory in a large cluster. */
const rowsAheadMax = 32_000;
const pagesOfSource = 2; // one in hand, one on its way
const pageRowsMin = 50;

export interface ListingOptions {
  readonly bucket: string;
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
  readonly patience: Patience;
}

interface Page {
  readonly rows: readonly ListRow[];
  readonly more: boolean;
}

/** The names of some slots: `rows` up to `after`, those before `next` taken. */
interface Source {
  readonly slots: readonly number[];
  after: string;
  rows: readonly ListRow[];
  next: number;
  isExhausted: boolean;
  /** The page behind `after`, asked for before it is needed; nothing when that failed: then it is asked for again. */
  ahead: Promise<Page | undefined> | undefined;
}

interface Share {
  readonly primary: PeerRecord;
  readonly slots: number[];
}

export class Listing {
  readonly #caller: SlotCaller;
  readonly #options: ListingOptions;
  #sources: Source[] = [];

  constructor(caller: SlotCaller, options: ListingOptions) {
    this.#caller = caller;
    this.#options = options;
  }

  /** All rows in order, as many at once as are at hand. */
  async *pages(): AsyncGenerator<readonly ListRow[]> {
    const { patience, after, limit } = this.#options;
    const table = this.#caller.view.table ?? (await this.#caller.view.known(patience, this.#about()));
    const all = Array.from(table.map.slots, (_, slot) => slot);
    this.#sources = [newSource(all, after)];
    for (let left = limit; left > 0; ) {
      await this.#fillAll(left);
      const rows = this.#takeFirst(left);
      if (rows.length === 0) return;
      left -= rows.length;
      yield rows;
    }
  }

  #about(): string {
    return `Listing bucket ${this.#options.bucket}`;
  }

  /** The next rows of all sources, until one of them has none in hand and may have more. */
  #takeFirst(rowsMax: number): readonly ListRow[] {
    const taken: ListRow[] = [];
    while (taken.length < rowsMax) {
      let first: Source | undefined;
      let firstRow: ListRow | undefined;
      for (const source of this.#sources) {
        const row = source.rows[source.next];
        if (row === undefined) continue;
        if (firstRow !== undefined && compareUtf8(firstRow.name, row.name) <= 0) continue;
        first = source;
        firstRow = row;
      }
      if (first === undefined || firstRow === undefined) break;
      taken.push(firstRow);
      first.next += 1;
      if (isEmpty(first)) break;
    }
    return taken;
  }

  /** Every source has a row in hand or has no more; sources are divided anew until it is so. */
  async #fillAll(wantedRows: number): Promise<void> {
    if (!this.#sources.some(isEmpty)) return;
    const { patience } = this.#options;
    if (patience.isCancelled) patience.check(this.#about());
    patience.progress();
    let last: DfsError | undefined;
    for (let attempts = 1; this.#sources.some(isEmpty); attempts++) {
      const { view } = this.#caller;
      const table = view.table ?? (await view.known(patience, this.#about()));
      const empty = this.#sources.filter(isEmpty);
      const full = this.#sources.filter((source) => !isEmpty(source));
      const divided = empty.flatMap((source) => divide(source, table));
      const rowsMax = pageRows(full.length + divided.length);
      const failures = await Promise.all(divided.map((part) => this.#fill(part, { wantedRows, rowsMax })));
      this.#sources = [...full, ...divided.map(({ source }) => source)].filter((source) => !isSpent(source));
      const failure = failures.find((error) => error !== undefined);
      if (failure === undefined) continue;
      last = this.#judged(failure, last);
      view.lookForNewer(table.map.epoch, view.likelyToKnow(divided[0]?.source.slots[0] ?? 0, attempts));
      await view.newerMap(table.map.epoch, patience, this.#caller.backOffMs(attempts));
    }
  }

  /** Gives the source its next page; returns what went wrong, leaving the source as it was. */
  async #fill(
    { source, primary }: DividedSource,
    { wantedRows, rowsMax }: { wantedRows: number; rowsMax: number },
  ): Promise<AttemptFailure | undefined> {
    if (primary === undefined) return this.#caller.noPrimary(source.slots[0] ?? 0);
    const { ahead } = source;
    source.ahead = undefined;
    try {
      const page = (await ahead) ?? (await this.#fetch(source, primary, Math.min(wantedRows, rowsMax)));
      source.rows = page.rows;
      source.next = 0;
      source.after = page.rows.at(-1)?.name ?? source.after;
      source.isExhausted = !page.more;
      this.#options.patience.progress();
      const nextRows = Math.min(wantedRows - page.rows.length, rowsMax);
      if (page.more && nextRows > 0) source.ahead = this.#fetch(source, primary, nextRows).catch(() => undefined);
      return undefined;
    } catch (error) {
      if (!(error instanceof AttemptFailure)) throw error;
      if (isBroken(error.error)) this.#caller.view.suspect(primary.id);
      return error;
    }
  }

  /** The page behind `after`. Throws AttemptFailure. */
  async #fetch({ slots, after }: Source, primary: PeerRecord, rowsMax: number): Promise<Page> {
    const { bucket, prefix, patience } = this.#options;
    const slot = slots[0] ?? 0;
    const { header, payload } = await this.#caller.once({
      name: 'list',
      target: { address: primary.address, peerId: primary.id },
      lane: 'small',
      slot,
      term: this.#caller.view.table?.routeOfSlot(slot).term,
      patience,
      about: this.#about(),
      header: () => ({ bucket, prefix, after, limit: rowsMax, slots: bitmapOf(slots) }),
    });
    return { rows: payload === undefined ? [] : decodeListRows(payload), more: header.more };
  }

  /** Throws when the listing is over; else the last thing that went wrong. */
  #judged({ error, wasSent, ending }: AttemptFailure, before: DfsError | undefined): DfsError | undefined {
    const { patience } = this.#options;
    const isMapConfirmed = this.#caller.view.isConfirmed;
    const { step } = judge({ error, isChange: false, wasSent, wasOpen: false, isMapConfirmed });
    if (step === 'fail' && ending === undefined && error.code !== 'integrity') throw error;
    const last = ending === undefined ? error : before;
    const over = ending ?? this.#caller.endingOf(patience);
    if (over !== undefined) {
      throw givenUp(this.#about(), { isOpen: false, last, why: patience.errorOf(over, this.#about()) });
    }
    return last;
  }
}

interface DividedSource {
  readonly source: Source;
  readonly primary: PeerRecord | undefined;
}

function newSource(slots: readonly number[], after: string): Source {
  return { slots, after, rows: [], next: 0, isExhausted: false, ahead: undefined };
}

/** It has no row in hand and may have more. */
function isEmpty({ isExhausted, next, rows }: Source): boolean {
  return !isExhausted && next >= rows.length;
}

function isSpent({ isExhausted, next, rows }: Source): boolean {
  return isExhausted && next >= rows.length;
}

/** One source for each primary that holds some of the slots now; the same one when nothing has changed. */
function divide(source: Source, table: RoutingTable): DividedSource[] {
  const shares = new Map<string, Share>();
  const orphans: number[] = [];
  for (const slot of source.slots) {
    const { primary } = table.routeOfSlot(slot);
    if (primary === undefined) {
      orphans.push(slot);
      continue;
    }
    const share = shares.get(primary.id);
    if (share === undefined) shares.set(primary.id, { primary, slots: [slot] });
    else share.slots.push(slot);
  }
  const only = shares.size === 1 && orphans.length === 0 ? [...shares.values()][0] : undefined;
  if (only !== undefined) return [{ source, primary: only.primary }];
  const divided: DividedSource[] = [];
  for (const { primary, slots } of shares.values()) divided.push({ source: newSource(slots, source.after), primary });
  if (orphans.length > 0) divided.push({ source: newSource(orphans, source.after), primary: undefined });
  return divided;
}

function pageRows(sources: number): number {
  const share = Math.floor(rowsAheadMax / pagesOfSource / Math.max(1, sources));
  return Math.min(Math.max(pageRowsMin, share), limits.listPageRowsMax);
}

/** Bit 0 of byte 0 is slot 0. */
function bitmapOf(slots: readonly number[]): Uint8Array {
  const bitmap = new Uint8Array(Math.floor((slots.at(-1) ?? 0) / 8) + 1);
  for (const slot of slots) {
    const at = slot >> 3;
    bitmap[at] = (bitmap[at] ?? 0) | (1 << (slot & 7));
  }
  return bitmap;
}
