/**
 * Reads a file, whole or a range of it, as it was at one version.
 *
 * The first request brings the record and what is wanted of segment 0; further segments are read ahead in a bounded
 * window, each found by the upload id in that record, so a version replaced meanwhile is read on or ends with `gone`,
 * and never mixes with another. A whole file's checksum is compared before its last piece is handed out.
 */
import { runningXxh64, xxh64 } from '../core/checksum.js';
import { DfsError, refuse, toDfsError } from '../core/errors.js';
import { limits } from '../core/limits.js';
import { givePayloadMemory } from '../core/payload-memory.js';
import type { WireFileRecord } from '../protocol/message-fields.js';
import type { FileReader, Head, ReadOptions } from './file-reader.js';
import { checksumOf, segmentSizeOf, toStat } from './file-record.js';
import type { FileStat, ReceivedFile } from './results.js';

/** Large segments are read in parts, so that memory does not grow with them. */
const partBytes = limits.segmentBytesDefault;

export interface DownloadOptions extends ReadOptions {
  readonly start: number;
  /** Undefined: to the end of the file. */
  readonly end: number | undefined;
  readonly reuseMemory: boolean;
}

interface Piece {
  readonly index: number;
  /** Within the segment. */
  readonly start: number;
  readonly end: number;
}

type Settled = { readonly bytes: Uint8Array } | { readonly error: unknown };

/** Resolves with the first bytes in hand; the rest is read as the body is. */
export async function openFile(reader: FileReader, options: DownloadOptions): Promise<ReceivedFile> {
  const head = await reader.readHead(options, { start: options.start, end: options.end });
  const { record } = head;
  if (options.start > record.size) {
    refuse('invalid', `${options.name} has ${record.size} bytes; a range cannot start at ${options.start}`);
  }
  const range = { start: options.start, end: Math.min(options.end ?? record.size, record.size) };
  const isWhole = range.start === 0 && range.end === record.size;
  if (isWhole && record.size <= limits.blockBytes) checkSmall(head);
  const pieces = piecesOf(reader, options, { head, range });
  const whole = isWhole && record.size > limits.blockBytes ? verified(pieces, record) : pieces;
  const body = options.reuseMemory ? reusing(whole) : whole;
  return new OpenedFile(head, { range, body, tally: options.tally });
}

/** Its stat is only made when somebody looks at it: most small reads do not. */
class OpenedFile implements ReceivedFile {
  readonly range: ReceivedFile['range'];
  readonly body: AsyncIterable<Uint8Array>;
  readonly tally: ReceivedFile['tally'];
  readonly #head: Head;
  #stat: FileStat | undefined;

  constructor(head: Head, parts: Pick<ReceivedFile, 'range' | 'body' | 'tally'>) {
    this.#head = head;
    this.range = parts.range;
    this.body = parts.body;
    this.tally = parts.tally;
  }

  get stat(): FileStat {
    this.#stat ??= toStat(this.#head.record);
    return this.#stat;
  }

  get acknowledged(): boolean {
    return this.#head.acknowledged;
  }

  async bytes(): Promise<Uint8Array> {
    const sizeBytes = this.range.end - this.range.start;
    const { bytes } = this.#head;
    const isVerified = sizeBytes <= limits.blockBytes || sizeBytes < this.#head.record.size;
    return bytes.length === sizeBytes && isVerified ? bytes : collect(this.body, sizeBytes);
  }
}

/** The parts of segments ≥ 1 that hold the range, each of at most `partBytes`. */
function* piecesAfterFirst(record: WireFileRecord, range: { start: number; end: number }): Generator<Piece> {
  const { segmentBytes } = record;
  const firstIndex = Math.max(1, Math.floor(range.start / segmentBytes));
  for (let index = firstIndex; index < record.segments && index * segmentBytes < range.end; index++) {
    const base = index * segmentBytes;
    const end = Math.min(segmentSizeOf(record, index), range.end - base);
    let start = Math.max(0, range.start - base);
    while (start < end) {
      // Parts end where blocks end, so that no block is sent twice.
      const partEnd = Math.min(end, start - (start % limits.blockBytes) + partBytes);
      yield { index, start, end: partEnd };
      start = partEnd;
    }
  }
}

async function* piecesOf(
  reader: FileReader,
  options: DownloadOptions,
  from: { head: Head; range: { start: number; end: number } },
): AsyncGenerator<Uint8Array> {
  const { record, bytes } = from.head;
  if (bytes.length > 0) yield bytes;
  const pieces = piecesAfterFirst(record, from.range);
  const partsAhead = Math.floor(limits.clientReadAheadBytes / Math.min(partBytes, record.segmentBytes));
  const depth = Math.max(1, Math.min(limits.clientWindowSegments, partsAhead));
  const ahead: Promise<Settled>[] = [];
  let next = pieces.next();
  try {
    while (!next.done || ahead.length > 0) {
      for (; !next.done && ahead.length < depth; next = pieces.next()) {
        ahead.push(settled(reader.readSegment(options, record, next.value)));
      }
      const first = await ahead.shift();
      if (first === undefined) break;
      if ('error' in first) throw first.error;
      yield first.bytes;
    }
  } finally {
    if (ahead.length > 0) options.patience.abandon(); // nobody will read them
  }
}

/** So that a part read ahead which fails waits for its turn to be thrown. */
function settled(part: Promise<Uint8Array>): Promise<Settled> {
  return part.then(
    (bytes) => ({ bytes }),
    (error) => ({ error: toDfsError(error) }),
  );
}

/** Holds each piece until it is known not to be the last, and the last until the whole is verified. */
async function* verified(pieces: AsyncIterable<Uint8Array>, record: WireFileRecord): AsyncGenerator<Uint8Array> {
  const checksum = runningXxh64();
  let held: Uint8Array | undefined;
  let seenBytes = 0;
  for await (const piece of pieces) {
    if (held !== undefined) yield held;
    checksum.update(piece);
    seenBytes += piece.length;
    held = piece;
  }
  if (seenBytes !== record.size || checksum.digest() !== checksumOf(record)) throw wholeMismatch(record);
  if (held !== undefined) yield held;
}

/** When the next piece is asked for, nobody reads the one before any more. */
async function* reusing(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    yield piece;
    givePayloadMemory(piece);
  }
}

/** The sum of the only block is the checksum of the whole. */
function checkSmall({ record, bytes }: Head): void {
  if (bytes.length !== record.size || xxh64(bytes) !== checksumOf(record)) throw wholeMismatch(record);
}

function wholeMismatch({ name }: WireFileRecord): DfsError {
  return new DfsError('integrity', `The bytes of ${name} do not match the checksum of the whole file`, {
    advice: 'Report this: every part matched its own checksum',
  });
}

async function collect(body: AsyncIterable<Uint8Array>, sizeBytes: number): Promise<Uint8Array> {
  const whole = new Uint8Array(sizeBytes);
  let filledBytes = 0;
  for await (const piece of body) {
    if (piece.length === sizeBytes) return piece;
    whole.set(piece, filledBytes);
    filledBytes += piece.length;
  }
  return whole;
}
