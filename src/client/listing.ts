/**
 * Lists a bucket: every primary is asked for the names of its slots, page by page, and their sorted answers are merged.
 *
 * Each source stands for some slots and where it has got to. When its primary cannot answer for them (it died, they
 * moved), the slots are divided anew among the primaries of a newer map, each going on from the same place; so no name
 * is left out and none comes twice. Entries are current one by one, not a picture of one moment.
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

/** Rows of all sources together that are asked for at once: bounds memory in a large cluster. */
const rowsAheadMax = 16_000;
const pageRowsMin = 50;

export interface ListingOptions {
  readonly bucket: string;
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
  readonly patience: Patience;
}

/** The names of some slots, from `after` on. */
interface Source {
  readonly slots: readonly number[];
  after: string;
  rows: readonly ListRow[];
  next: number;
  isExhausted: boolean;
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

  async *rows(): AsyncGenerator<ListRow> {
    const { patience, after, limit } = this.#options;
    const table = this.#caller.view.table ?? (await this.#caller.view.known(patience, this.#about()));
    const all = Array.from(table.map.slots, (_, slot) => slot);
    this.#sources = [newSource(all, after)];
    for (let yielded = 0; yielded < limit; yielded++) {
      await this.#fillAll(limit - yielded);
      const row = this.#takeFirst();
      if (row === undefined) return;
      yield row;
    }
  }

  #about(): string {
    return `Listing bucket ${this.#options.bucket}`;
  }

  #takeFirst(): ListRow | undefined {
    let first: Source | undefined;
    let firstRow: ListRow | undefined;
    for (const source of this.#sources) {
      const row = source.rows[source.next];
      if (row === undefined) continue;
      if (firstRow !== undefined && compareUtf8(firstRow.name, row.name) <= 0) continue;
      first = source;
      firstRow = row;
    }
    if (first !== undefined) first.next += 1;
    return firstRow;
  }

  /** Every source has a row in hand or has no more; sources are divided anew until it is so. */
  async #fillAll(wantedRows: number): Promise<void> {
    const isEmpty = (source: Source): boolean => !source.isExhausted && source.next >= source.rows.length;
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
      const rowsMax = pageRows(wantedRows, divided.length);
      const failures = await Promise.all(divided.map((part) => this.#fill(part, rowsMax)));
      this.#sources = [...full, ...divided.map(({ source }) => source)].filter((source) => !isSpent(source));
      const failure = failures.find((error) => error !== undefined);
      if (failure === undefined) continue;
      last = this.#judged(failure, last);
      view.lookForNewer(table.map.epoch, view.likelyToKnow(divided[0]?.source.slots[0] ?? 0, attempts));
      await view.newerMap(table.map.epoch, patience, this.#caller.backOffMs(attempts));
    }
  }

  /** Fetches the source's next page; returns what went wrong, leaving the source as it was. */
  async #fill({ source, primary }: DividedSource, rowsMax: number): Promise<AttemptFailure | undefined> {
    const { bucket, prefix, patience } = this.#options;
    const slot = source.slots[0];
    if (primary === undefined || slot === undefined) return this.#caller.noPrimary(slot ?? 0);
    try {
      const { header, payload } = await this.#caller.once({
        name: 'list',
        target: { address: primary.address, peerId: primary.id },
        lane: 'small',
        slot,
        term: this.#caller.view.table?.routeOfSlot(slot).term,
        patience,
        about: this.#about(),
        header: () => ({ bucket, prefix, after: source.after, limit: rowsMax, slots: bitmapOf(source.slots) }),
      });
      source.rows = payload === undefined ? [] : decodeListRows(payload);
      source.next = 0;
      source.after = source.rows.at(-1)?.name ?? source.after;
      source.isExhausted = !header.more;
      patience.progress();
      return undefined;
    } catch (error) {
      if (!(error instanceof AttemptFailure)) throw error;
      if (isBroken(error.error)) this.#caller.view.suspect(primary.id);
      return error;
    }
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
  return { slots, after, rows: [], next: 0, isExhausted: false };
}

function isSpent(source: Source): boolean {
  return source.isExhausted && source.next >= source.rows.length;
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

function pageRows(wantedRows: number, sources: number): number {
  const share = Math.max(pageRowsMin, Math.floor(rowsAheadMax / Math.max(1, sources)));
  return Math.max(1, Math.min(wantedRows, share, limits.listPageRowsMax));
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
