/**
 * What clients read of this peer's parts of checkpoints: which slots, which files, their records and bytes.
 *
 * The part is what the index was; bytes are where they always were. A bad copy is refused with `integrity`, and the
 * reader goes to another peer's part: nothing of a checkpoint is repaired.
 */
import { hashOfName } from '../cluster/hashing.js';
import { slotOfHash } from '../cluster/map.js';
import { type Environment, sleep } from '../core/environment.js';
import { isRefusal, refuse, StorageFailure } from '../core/errors.js';
import { limits } from '../core/limits.js';
import type { WireFileRecord } from '../protocol/message-fields.js';
import { decodeListRows, encodeFileRows, encodeVouchRows, type FileRow } from '../protocol/rows.js';
import type { Incoming, Outgoing } from '../protocol/session.js';
import type { Checkpoints } from './checkpoints.js';
import type { Copies } from './copies.js';
import { bodyOf, decodeValue, keyOfName, keyOfSegment, placedSize, type StoredEntry } from './entry.js';
import { justAfter, unseal } from './index-layout.js';
import { isInBitmap, startsWith } from './listing.js';
import { mapIn } from './map-keeper.js';
import { within } from './read-path.js';
import { checkFileName } from './write-path.js';

export interface CheckpointReadsParts {
  readonly environment: Environment;
  readonly checkpoints: Checkpoints;
  readonly copies: Copies;
}

const hashBytes = 8;
const rowsScannedAtOnce = 1000;

export class CheckpointReads {
  readonly #parts: CheckpointReadsParts;

  constructor(parts: CheckpointReadsParts) {
    this.#parts = parts;
  }

  async slots({ header }: Incoming<'checkpoint-slots'>): Promise<Outgoing> {
    return readable(async () => ({
      payload: encodeVouchRows(this.#parts.checkpoints.vouchedSlots(header.checkpoint)),
    }));
  }

  async files(request: Incoming<'checkpoint-files'>): Promise<Outgoing> {
    const { checkpoint, bucket, prefix, after, limit, slots } = request.header;
    if (limit === 0) refuse('invalid', `A page has 1 to ${limits.listPageRowsMax} rows`);
    return readable(async () => {
      const index = this.#parts.checkpoints.indexOf(checkpoint);
      const slotCount = mapIn(index)?.slots.length ?? 1;
      const start: Uint8Array = bucket === undefined ? new Uint8Array(0) : Buffer.from(`${bucket}\0${prefix}`, 'utf8');
      const rows: FileRow[] = [];
      let from = after.length > 0 && Buffer.compare(after, start) >= 0 ? justAfter(after) : start;
      for (;;) {
        const page = index.range('names', { from, limit: rowsScannedAtOnce });
        for (const [key, value] of page) {
          if (!startsWith(key, start)) return { header: { more: false }, payload: encodeFileRows(rows) };
          const row = toFileRow(key, value);
          if (!isInBitmap(slots, slotOfHash(hashOfName(row.name), slotCount))) continue;
          rows.push(row);
          if (rows.length === limit) return { header: { more: true }, payload: encodeFileRows(rows) };
        }
        const last = page.at(-1);
        if (last === undefined || page.length < rowsScannedAtOnce) {
          return { header: { more: false }, payload: encodeFileRows(rows) };
        }
        from = justAfter(last[0]);
        // Names of other slots may fill many pages: let other requests in between.
        await sleep(this.#parts.environment.clock, 0);
        if (request.signal.aborted) refuse('cancelled', 'The caller no longer waits for the page');
      }
    });
  }

  async read(request: Incoming<'checkpoint-read'>): Promise<Outgoing> {
    const { header } = request;
    checkFileName(header);
    return readable(async () => {
      const entry = this.#entry(request);
      const size = placedSize(entry.placed);
      const range = within(header, size);
      if (range.start < range.end) await request.replyRoom(range.end - range.start);
      const { bytes, offset, sums } = await this.#parts.copies.readBlocks(entry, range);
      const record: WireFileRecord | undefined =
        entry.kind === 'record' ? { ...bodyOf(entry, 'record'), version: entry.version } : undefined;
      return {
        header: { ...(record === undefined ? {} : { record }), size, offset, sums },
        payload: bytes,
        sums,
        givesMemory: true,
      };
    });
  }

  #entry({ header }: Incoming<'checkpoint-read'>): StoredEntry {
    const { checkpoint, uploadId, index, name } = header;
    if (index > 0 && uploadId === undefined) refuse('invalid', 'A later segment is found by its upload');
    const key = index === 0 || uploadId === undefined ? keyOfName(header) : keyOfSegment(uploadId, index);
    const found = decodeValue(key, this.#parts.checkpoints.indexOf(checkpoint).get('entries', key));
    if (found.state === 'damaged') {
      return refuse('integrity', `The copied entry of ${JSON.stringify(name)} does not match its checksum`);
    }
    const isThere = found.state === 'present' && (found.entry.kind === 'record' || found.entry.kind === 'segment');
    if (isThere) return found.entry;
    const what = index === 0 ? JSON.stringify(name) : `Segment ${index} of ${JSON.stringify(name)}`;
    return refuse('not-found', `${what} is not in this part of checkpoint ${checkpoint}`);
  }
}

/** A damaged row is listed by its key alone, for another peer's part may have the file. */
function toFileRow(key: Uint8Array, value: Uint8Array): FileRow {
  const text = Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('utf8');
  const end = text.indexOf('\0');
  const content = unseal(key, value);
  const [row] = content === undefined ? [] : decodeListRows(content.subarray(hashBytes));
  return { bucket: text.slice(0, end), name: text.slice(end + 1), size: row?.size ?? 0 };
}

/** What makes a live index worth nothing makes a checkpoint's part unreadable, and no more. */
async function readable(read: () => Promise<Outgoing>): Promise<Outgoing> {
  try {
    return await read();
  } catch (error) {
    if (isRefusal(error) || !(error instanceof StorageFailure)) throw error;
    return refuse('integrity', `A part of a checkpoint cannot be read: ${error.message}`, { cause: error });
  }
}
