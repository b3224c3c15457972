/**
 * Reads a file's record with the wanted part of segment 0, and parts of its other segments.
 *
 * The primary answers linearizable reads. When its bytes are damaged it still tells the record, and the bytes come from
 * another replica that holds exactly this version. With `any` the first replica that answers will do.
 */
import { hashOfName, hashOfSegment } from '../cluster/hashing.js';
import type { PeerRecord } from '../cluster/map.js';
import { sameBytes } from '../core/checksum.js';
import { isRefusal, refuse } from '../core/errors.js';
import { formatVersion, type Version } from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { WireFileRecord } from '../protocol/message-fields.js';
import type { RequestOf } from '../protocol/messages.js';
import type { Answer } from '../protocol/session.js';
import { wantedBytes } from './blocks.js';
import { segmentSizeOf } from './file-record.js';
import type { Hedging } from './hedging.js';
import type { HolderCaller } from './holder-caller.js';
import type { AskWatch, ReadTally } from './holder-round.js';
import type { Patience } from './patience.js';
import type { Consistency } from './results.js';
import { holdersOf, type Route } from './routing.js';
import type { SlotCaller } from './slot-caller.js';

/** How often a read whose version is replaced under it starts again, while nothing was handed out. */
const freshStarts = 3;
/** A primary that cannot read a record takes it from another replica before it answers again. */
const recordTries = 5;
const recordPauseMs = 100;

export interface ReadOptions {
  readonly bucket: string;
  readonly name: string;
  readonly consistency: Consistency;
  /** Only this version will do. */
  readonly ifVersion: Version | undefined;
  readonly patience: Patience;
  readonly tally: ReadTally;
}

/** In the file; `end` undefined: to its end. */
export interface WantedRange {
  readonly start: number;
  readonly end: number | undefined;
}

/** A record and the wanted bytes of its first segment, verified. */
export interface Head {
  readonly record: WireFileRecord;
  readonly bytes: Uint8Array;
  readonly acknowledged: boolean;
}

const noBytes: WantedRange = { start: 0, end: 0 };

export class FileReader {
  readonly #caller: SlotCaller;
  readonly #holders: HolderCaller;
  readonly #hedging: Hedging;

  constructor(caller: SlotCaller, holders: HolderCaller, hedging: Hedging) {
    this.#caller = caller;
    this.#holders = holders;
    this.#hedging = hedging;
  }

  async readHead(options: ReadOptions, range: WantedRange): Promise<Head> {
    if (options.consistency === 'any') return this.#anyHead(options, range);
    for (let start = 1; ; start++) {
      try {
        return await this.#fromPrimary(options, range);
      } catch (error) {
        if (!isRefusal(error, 'integrity') || isEmpty(range)) throw error;
      }
      try {
        return await this.#aroundDamage(options, range);
      } catch (error) {
        const wasReplaced = isRefusal(error, 'gone') && options.ifVersion === undefined;
        if (!wasReplaced || start >= freshStarts) throw error;
      }
    }
  }

  /** The record alone. */
  async readRecord(options: ReadOptions): Promise<Head> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#fromPrimary(options, noBytes);
      } catch (error) {
        if (!isRefusal(error, 'integrity') || tries >= recordTries) throw error;
        await options.patience.sleep(recordPauseMs);
      }
    }
  }

  /** Bytes `start` … `end` − 1 of a segment ≥ 1, from any holder. */
  readSegment(
    options: ReadOptions,
    record: WireFileRecord,
    part: { index: number; start: number; end: number },
  ): Promise<Uint8Array> {
    const { bucket, name, patience, tally } = options;
    const { uploadId } = record;
    const { index, start, end } = part;
    const about = `Reading segment ${index} of ${name}`;
    return this.#holders.call({
      hash: hashOfSegment(uploadId, index),
      patience,
      about,
      tally,
      copy: { bucket, name, uploadId, index },
      candidates: holdersOf,
      confirmStillThere: () => this.#confirmStillThere(options, record),
      ask: async (peer, { slot }, watch) => {
        const { header, payload, sums } = await this.#caller.once({
          name: 'get-segment',
          target: { address: peer.address, peerId: peer.id },
          lane: 'bulk',
          slot,
          term: undefined,
          patience,
          about,
          header: () => ({ slot, bucket, name, uploadId, index, start, end }),
          ...watch,
        });
        const blocks = { offset: header.offset, sums: header.sums, payload, arrivedSums: sums };
        return wantedBytes(blocks, { start, end, sizeBytes: segmentSizeOf(record, index), about });
      },
    });
  }

  async #fromPrimary(options: ReadOptions, range: WantedRange): Promise<Head> {
    const answer = await this.#askPrimary(options, range, { elsewhere: !isEmpty(range) });
    const { leftOut, record, acknowledged } = answer.header;
    const about = `Reading ${options.name}`;
    if (leftOut !== true) return toHead(answer, range, about);
    const bytes = await this.#bytesElsewhere(options, range, record);
    if (bytes !== undefined) return { record, acknowledged, bytes };
    return toHead(await this.#askPrimary(options, range, { elsewhere: false }), range, about);
  }

  /** Never hedged: which version is current only the primary can tell (S2). */
  async #askPrimary(
    options: ReadOptions,
    range: WantedRange,
    { elsewhere }: { elsewhere: boolean },
  ): Promise<Answer<'get'>> {
    const { name, patience, tally } = options;
    tally.requests += 1;
    const { answer } = await this.#caller.call({
      name: 'get',
      hash: hashOfName(name),
      lane: 'small',
      patience,
      about: `Reading ${name}`,
      header: (route) =>
        elsewhere ? { ...getHeader(options, route, range), elsewhere } : getHeader(options, route, range),
    });
    this.#hedging.onTold(answer.header.slow ?? []);
    return answer;
  }

  /**
   * A slow primary told the record alone: the bytes of exactly that version, which never has others (F27), from a
   * backup. Undefined when none gives them, as when the file has just been replaced.
   */
  async #bytesElsewhere(
    options: ReadOptions,
    range: WantedRange,
    record: WireFileRecord,
  ): Promise<Uint8Array | undefined> {
    const { bucket, name, patience, tally } = options;
    const pinned: ReadOptions = { ...options, consistency: 'any', ifVersion: record.version };
    const head = await this.#holders.once({
      hash: hashOfName(name),
      patience,
      about: `Reading ${name}`,
      tally,
      copy: { bucket, name, uploadId: record.uploadId, index: 0 },
      candidates: ({ backups }) => backups,
      ask: (peer, route, watch) => this.#askHolder(pinned, range, { peer, route, watch }),
    });
    return head?.bytes;
  }

  /** The primary's bytes are bad: its record, and the bytes of exactly that version from another replica. */
  async #aroundDamage(options: ReadOptions, range: WantedRange): Promise<Head> {
    const { bucket, name, patience, tally } = options;
    const { record, acknowledged } = await this.readRecord(options);
    const copy = { bucket, name, uploadId: record.uploadId, index: 0 };
    const hash = hashOfName(name);
    const route = this.#caller.view.table?.routeOf(hash);
    if (route?.primary !== undefined) this.#holders.report(route.primary, route.slot, copy, patience);
    const pinned: ReadOptions = { ...options, consistency: 'any', ifVersion: record.version };
    const head = await this.#holders.call({
      hash,
      patience,
      about: `Reading ${name}`,
      tally,
      copy,
      // The primary last: by then it may have repaired itself.
      candidates: ({ primary, backups }) => (primary === undefined ? backups : [...backups, primary]),
      confirmStillThere: () => this.#confirmStillThere(options, record),
      ask: (peer, at, watch) => this.#askHolder(pinned, range, { peer, route: at, watch }),
    });
    return { ...head, acknowledged };
  }

  #anyHead(options: ReadOptions, range: WantedRange): Promise<Head> {
    const { name, patience, tally } = options;
    return this.#holders.call({
      hash: hashOfName(name),
      patience,
      about: `Reading ${name}`,
      tally,
      candidates: holdersOf,
      isFinal: ({ code }) => code === 'not-found' || code === 'gone',
      ask: (peer, route, watch) => this.#askHolder(options, range, { peer, route, watch }),
    });
  }

  async #askHolder(
    options: ReadOptions,
    range: WantedRange,
    at: { peer: PeerRecord; route: Route; watch: AskWatch },
  ): Promise<Head> {
    const { peer, route, watch } = at;
    const about = `Reading ${options.name}`;
    const answer = await this.#caller.once({
      name: 'get',
      target: { address: peer.address, peerId: peer.id },
      lane: 'small',
      slot: route.slot,
      term: undefined,
      patience: options.patience,
      about,
      header: () => getHeader(options, route, range),
      ...watch,
    });
    this.#hedging.onTold(answer.header.slow ?? []);
    return toHead(answer, range, about);
  }

  /** Segments that nobody has are swept ones, unless the record still names them. */
  async #confirmStillThere(options: ReadOptions, record: WireFileRecord): Promise<void> {
    const about = `${options.name} at version ${formatVersion(record.version)} was replaced or deleted`;
    try {
      const now = await this.readRecord({ ...options, consistency: 'linearizable', ifVersion: undefined });
      if (sameBytes(now.record.uploadId, record.uploadId)) return;
    } catch (error) {
      if (!isRefusal(error, 'not-found')) throw error;
    }
    refuse('gone', `${about} while it was read, and its bytes are gone`, { advice: 'Read it again' });
  }
}

function isEmpty({ start, end }: WantedRange): boolean {
  return end !== undefined && end <= start;
}

function getHeader(options: ReadOptions, { slot, term }: Route, range: WantedRange): RequestOf<'get'> {
  const { bucket, name, consistency, ifVersion } = options;
  // Segment 0 never reaches beyond this, so a range behind it asks for the record alone.
  const end = Math.min(range.end ?? limits.segmentBytesMax, limits.segmentBytesMax);
  const wanted = range.start < end ? { start: range.start, end } : { start: 0, end: 0 };
  const header = { slot, term, bucket, name, consistency, ...wanted };
  return ifVersion === undefined ? header : { ...header, ifVersion };
}

/** Throws DfsError `integrity` unless the answer holds what was asked for, unharmed. */
function toHead(answer: Answer<'get'>, range: WantedRange, about: string): Head {
  const { record, offset, sums, acknowledged } = answer.header;
  const sizeBytes = segmentSizeOf(record, 0);
  const end = Math.min(range.end ?? sizeBytes, sizeBytes);
  const blocks = { offset, sums, payload: answer.payload, arrivedSums: answer.sums };
  return { record, acknowledged, bytes: wantedBytes(blocks, { start: range.start, end, sizeBytes, about }) };
}
