/**
 * Where a file is, or would go: its slot, who serves it, and how each copy of each segment is, told by the peers
 * themselves. A peer that cannot be asked makes a copy `unreachable`, never the whole answer.
 */
import { hashOfName, hashOfSegment } from '../cluster/hashing.js';
import type { PeerRecord } from '../cluster/map.js';
import { type ErrorCode, isRefusal } from '../core/errors.js';
import { compareVersions, formatVersion } from '../core/ids.js';
import type { WireFileRecord } from '../protocol/message-fields.js';
import { AttemptFailure } from './attempt.js';
import type { FileReader, ReadOptions } from './file-reader.js';
import { segmentSizeOf } from './file-record.js';
import type { Patience } from './patience.js';
import type { Location, PeerAddress, SegmentCopy, SegmentLocation } from './results.js';
import type { SlotCaller } from './slot-caller.js';

/** A peer that has not told about a copy by then counts as unreachable. */
const copyAnswerMs = 2000;
/** Segments asked about at once. */
const segmentsAtOnce = 32;

interface CopyQuestion {
  readonly record: WireFileRecord;
  readonly index: number;
  readonly slot: number;
  readonly peer: PeerRecord;
  readonly role: SegmentCopy['role'];
}

export class Locator {
  readonly #caller: SlotCaller;
  readonly #reader: FileReader;
  readonly #newPatience: (timeoutMs: number) => Patience;

  constructor(caller: SlotCaller, reader: FileReader, newPatience: (timeoutMs: number) => Patience) {
    this.#caller = caller;
    this.#reader = reader;
    this.#newPatience = newPatience;
  }

  async locate(options: ReadOptions): Promise<Location> {
    return (await this.survey(options)).location;
  }

  /** With the file's record, when there is one. */
  async survey(options: ReadOptions): Promise<{ location: Location; record: WireFileRecord | undefined }> {
    const { bucket, name, patience } = options;
    const hash = hashOfName(name);
    const record = await this.#recordOrNothing(options);
    const table = this.#caller.view.table ?? (await this.#caller.view.known(patience, `Locating ${name}`));
    const { slot, slotEpoch, primary, backups } = table.routeOf(hash);
    const place = {
      bucket,
      name,
      hash: hash.toString(16).padStart(16, '0'),
      slot,
      slotEpoch,
      primary: primary === undefined ? null : toPeerAddress(primary),
      backups: backups.map(toPeerAddress),
    };
    if (record === undefined) return { location: { ...place, exists: false, segments: [] }, record };
    const segments = await this.#segments(options, record);
    return { location: { ...place, exists: true, version: formatVersion(record.version), segments }, record };
  }

  async #recordOrNothing(options: ReadOptions): Promise<WireFileRecord | undefined> {
    try {
      return (await this.#reader.readRecord(options)).record;
    } catch (error) {
      if (isRefusal(error, 'not-found')) return undefined;
      throw error;
    }
  }

  async #segments(options: ReadOptions, record: WireFileRecord): Promise<SegmentLocation[]> {
    const located: SegmentLocation[] = [];
    for (let from = 0; from < record.segments; from += segmentsAtOnce) {
      options.patience.check(`Locating ${options.name}`);
      const count = Math.min(segmentsAtOnce, record.segments - from);
      const part = Array.from({ length: count }, (_, at) => this.#segment(options, record, from + at));
      located.push(...(await Promise.all(part)));
    }
    return located;
  }

  async #segment(options: ReadOptions, record: WireFileRecord, index: number): Promise<SegmentLocation> {
    const table = await this.#caller.view.known(options.patience, `Locating ${options.name}`);
    const hash = index === 0 ? hashOfName(options.name) : hashOfSegment(record.uploadId, index);
    const route = table.routeOf(hash);
    const asked: Promise<SegmentCopy>[] = [];
    const ask = (peer: PeerRecord, role: SegmentCopy['role']): void => {
      asked.push(this.#copy(options, { record, index, slot: route.slot, peer, role }));
    };
    if (route.primary !== undefined) ask(route.primary, 'primary');
    for (const peer of route.backups) ask(peer, 'backup');
    for (const peer of route.joining) ask(peer, 'joining');
    return { index, slot: route.slot, size: segmentSizeOf(record, index), copies: await Promise.all(asked) };
  }

  async #copy({ bucket, name }: ReadOptions, of: CopyQuestion): Promise<SegmentCopy> {
    const { record, index, slot, peer, role } = of;
    const copy = { ...toPeerAddress(peer), role };
    try {
      const { header } = await this.#caller.once({
        name: 'copy-state',
        target: { address: peer.address, peerId: peer.id },
        lane: 'small',
        slot,
        term: undefined,
        patience: this.#newPatience(copyAnswerMs),
        about: `Asking ${peer.id} about its copy of ${name}`,
        header: () => ({ slot, bucket, name, uploadId: record.uploadId, index }),
      });
      const isOlder =
        index === 0 && header.version !== undefined && compareVersions(header.version, record.version) < 0;
      return { ...copy, state: isOlder ? 'missing' : header.state };
    } catch (error) {
      if (!(error instanceof AttemptFailure)) throw error;
      return { ...copy, state: unanswered.has(error.error.code) ? 'unreachable' : 'unknown' };
    }
  }
}

const unanswered: ReadonlySet<ErrorCode> = new Set(['connection-lost', 'timed-out', 'wrong-identity', 'wrong-cluster']);

function toPeerAddress({ id, address }: PeerRecord): PeerAddress {
  return { id, address };
}
