/**
 * A page of the names this peer serves: live files of the asked slots, in order of UTF-8 bytes.
 *
 * Every slot asked for must be served here with present proof, or the whole page is refused: a listing that silently
 * lacks a slot would be believed. Rows are kept ready in the index, so a page is a copy of bytes.
 */

import { slotOfHash } from '../cluster/map.js';
import { readU64 } from '../core/big-endian.js';
import type { Environment } from '../core/environment.js';
import { sleep } from '../core/environment.js';
import { refuse } from '../core/errors.js';
import { limits } from '../core/limits.js';
import { checkBucket } from '../core/names.js';
import type { IndexReader } from '../core/storage.js';
import type { Incoming, Outgoing } from '../protocol/session.js';
import { justAfter, unseal, unverifiedContent } from './index-layout.js';
import type { Leadership } from './leadership.js';
import type { Serving } from './serving.js';

export interface ListingParts {
  readonly environment: Environment;
  readonly reader: IndexReader;
  readonly slotCount: number;
  readonly leadership: Leadership;
  readonly serving: Serving;
}

const hashBytes = 8;
const rowsScannedAtOnce = 1000;
/** A few milliseconds' worth: of other slots may be any number of names. */
const rowsBetweenPauses = 2500;

export async function listNames(parts: ListingParts, request: Incoming<'list'>): Promise<Outgoing> {
  const { bucket, prefix, after, limit, slots } = request.header;
  checkBucket(bucket);
  await ensureAllCurrent(parts, request);
  const start = Buffer.from(`${bucket}\0${prefix}`, 'utf8');
  const afterKey = justAfter(Buffer.from(`${bucket}\0${after}`, 'utf8'));
  let from: Uint8Array = after !== '' && Buffer.compare(afterKey, start) > 0 ? afterKey : start;
  const rows: Uint8Array[] = [];
  let scanned = 0;
  for (;;) {
    const page = parts.reader.range('names', { from, limit: rowsScannedAtOnce });
    for (const [key, value] of page) {
      if (!startsWith(key, start)) return { header: { more: false }, payload: Buffer.concat(rows) };
      if (!isAsked(parts, slots, unverifiedContent(value))) continue;
      const content = unseal(key, value);
      if (content === undefined) continue;
      rows.push(content.subarray(hashBytes));
      if (rows.length === limit) return { header: { more: true }, payload: Buffer.concat(rows) };
    }
    const last = page.at(-1);
    if (last === undefined || page.length < rowsScannedAtOnce) {
      return { header: { more: false }, payload: Buffer.concat(rows) };
    }
    from = justAfter(last[0]);
    scanned += page.length;
    if (scanned < rowsBetweenPauses) continue;
    scanned = 0;
    // Lets other requests in between.
    await sleep(parts.environment.clock, 0);
    if (request.signal.aborted) refuse('cancelled', 'The caller no longer waits for the page');
  }
}

export function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  return key.length >= prefix.length && Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;
}

function isAsked(parts: ListingParts, slots: Uint8Array, content: Uint8Array): boolean {
  return content.length >= hashBytes && isInBitmap(slots, slotOfHash(readU64(content), parts.slotCount));
}

export function isInBitmap(slots: Uint8Array, slot: number): boolean {
  return (((slots[slot >> 3] ?? 0) >> (slot & 7)) & 1) === 1;
}

async function ensureAllCurrent(parts: ListingParts, request: Incoming<'list'>): Promise<void> {
  const { slots, limit } = request.header;
  if (limit === 0 || limit > limits.listPageRowsMax)
    refuse('invalid', `A page has 1 to ${limits.listPageRowsMax} rows`);
  for (let slot = 0; slot < parts.slotCount; slot++) {
    if (!isInBitmap(slots, slot)) continue;
    const led = parts.leadership.led(slot);
    if (led === undefined) {
      refuse('wrong-role', `Slot ${slot} is not served here`, { advice: 'Fetch a newer cluster map' });
    }
    await parts.serving.ensureCurrent(led, request.deadlineMs);
  }
}
