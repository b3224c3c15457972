/**
 * The changes clients ask for: put, put-segment, delete, set-metadata.
 *
 * Inside the key's queue, in this order: request id, conditions, version (rule F5). Serves S1, S2, S6.
 */
import { u64Bytes } from '../core/big-endian.js';
import { sameBytes, xxh64 } from '../core/checksum.js';
import { refuse } from '../core/errors.js';
import { compareVersions, formatVersion, type TimedId, timeOfId, toHex, type Version } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { checkBucket, checkName } from '../core/names.js';
import { timing } from '../core/timing.js';
import type { Incoming } from '../protocol/session.js';
import type { Admission } from './admission.js';
import type { ClusterClock } from './cluster-clock.js';
import { type Acknowledged, type Commits, type Content, noContent } from './commit.js';
import type { Copies } from './copies.js';
import {
  bodyOf,
  type Entry,
  type EntryKey,
  type FileName,
  keyOfName,
  keyOfSegment,
  keyOfVoid,
  queueKeyOf,
  type RecordBody,
  type StoredEntry,
  toEntry,
} from './entry.js';
import type { EntryIndex, RequestMark } from './entry-index.js';
import type { LedSlot } from './led-slot.js';
import type { Repair } from './repair.js';
import type { Serving } from './serving.js';

export interface WritePathParts {
  readonly index: EntryIndex;
  readonly copies: Copies;
  readonly commits: Commits;
  readonly serving: Serving;
  readonly admission: Admission;
  readonly repair: Repair;
  readonly clock: ClusterClock;
  readonly sweepAfterMs: number;
  minInSync(): number;
}

interface Change {
  readonly led: LedSlot;
  readonly key: EntryKey;
  readonly deadlineMs: number;
  readonly mark: RequestMark;
  /** The live record, if there is one. */
  readonly before: StoredEntry | undefined;
}

export class WritePath {
  readonly #parts: WritePathParts;

  constructor(parts: WritePathParts) {
    this.#parts = parts;
  }

  async put(request: Incoming<'put'>): Promise<Acknowledged> {
    const { header } = request;
    const content = contentOf(request);
    checkSizes(header, content.bytes.length);
    this.#parts.admission.admitBytes(header.size, content.bytes.length);
    return this.#inOrder(request, [header.uploadId, header.checksum], (change) => {
      this.#checkConditions(change, header);
      if (header.segments > 1) this.#checkNotVoid(change, header, header.uploadId);
      const version = change.led.nextVersion();
      const nowMs = this.#parts.clock.nowMs();
      const before = change.before === undefined ? undefined : bodyOf(change.before, 'record');
      const body: RecordBody = {
        bucket: header.bucket,
        name: header.name,
        size: header.size,
        checksum: header.checksum,
        segmentBytes: header.segmentBytes,
        segments: header.segments,
        uploadId: header.uploadId,
        ...(header.contentType === undefined ? {} : { contentType: header.contentType }),
        metadata: header.metadata,
        createdAtMs: before?.createdAtMs ?? nowMs,
        modifiedAtMs: nowMs,
      };
      const record = toEntry(change.key, 'record', version, body);
      // The same upload under a new request id replaces nothing: its segments stay.
      const isReplaced = before !== undefined && !sameBytes(before.uploadId, header.uploadId);
      const voids = isReplaced ? this.#voidOf(before, version) : [];
      return this.#parts.commits.commit(change.led, [record, ...voids], content, change.mark);
    });
  }

  async setMetadata(request: Incoming<'set-metadata'>): Promise<Acknowledged> {
    const { header } = request;
    this.#parts.admission.admitBytes(0, 0);
    const asked = [Buffer.from(JSON.stringify([header.metadata, header.contentType ?? null]))];
    return this.#inOrder(request, asked, async (change) => {
      this.#checkConditions(change, header);
      const before = change.before ?? notFound(header);
      // Replicas take the same bytes again under the new record; here they stay where they are.
      const { bytes, sums } = await this.#readable(change.led, before);
      await this.#parts.serving.untilServing(change.led, change.deadlineMs);
      const body: RecordBody = {
        ...bodyOf(before, 'record'),
        metadata: header.metadata,
        ...(header.contentType === undefined ? {} : { contentType: header.contentType }),
        modifiedAtMs: this.#parts.clock.nowMs(),
      };
      const record = toEntry(change.key, 'record', change.led.nextVersion(), body);
      const { placed } = this.#presentOr(change.key, before);
      return this.#parts.commits.commit(change.led, [record], { bytes, sums, placed }, change.mark);
    });
  }

  async delete(request: Incoming<'delete'>): Promise<Acknowledged> {
    const { header } = request;
    return this.#inOrder(request, [Buffer.from('delete')], (change) => {
      const before = change.before ?? notFound(header);
      this.#checkConditions(change, header);
      const version = change.led.nextVersion();
      const tombstone = toEntry(change.key, 'tombstone', version, {
        bucket: header.bucket,
        name: header.name,
        deletedAtMs: this.#parts.clock.nowMs(),
      });
      const voids = this.#voidOf(bodyOf(before, 'record'), version);
      return this.#parts.commits.commit(change.led, [tombstone, ...voids], noContent, change.mark);
    });
  }

  /** Idempotent by (upload id, index): a segment never changes. */
  async putSegment(request: Incoming<'put-segment'>): Promise<Acknowledged> {
    const { header } = request;
    checkFileName(header);
    const content = contentOf(request);
    if (content.bytes.length === 0 || header.index === 0) refuse('invalid', 'A segment has an index from 1 and bytes');
    this.#parts.admission.admitBytes(content.bytes.length * (header.index + 1), content.bytes.length);
    this.#parts.admission.admitUpload(toHex(header.uploadId), this.#parts.clock.nowMs());
    const led = await this.#parts.serving.route(header, request.deadlineMs);
    const key = keyOfSegment(header.uploadId, header.index);
    this.#checkSlot(key, header.slot);
    return led.queue.run(queueKeyOf(key), async () => {
      await this.#parts.serving.untilServing(led, request.deadlineMs);
      this.#checkCopies(led);
      const found = this.#parts.index.lookup(key);
      if (found.state === 'present') {
        await this.#parts.serving.ensureCurrent(led, request.deadlineMs);
        return this.#parts.commits.acknowledgeAgain(led, found.entry);
      }
      const { bucket, name, uploadId, index } = header;
      const body = { bucket, name, uploadId, index, storedAtMs: this.#parts.clock.nowMs() };
      return this.#parts.commits.commit(led, [toEntry(key, 'segment', led.nextVersion(), body)], content);
    });
  }

  /** Routes, queues, answers a retry; then runs `decide` in a turn in which the slot serves. */
  async #inOrder(
    request: Incoming<'put'> | Incoming<'delete'> | Incoming<'set-metadata'>,
    asked: readonly Uint8Array[],
    decide: (change: Change) => Promise<Acknowledged>,
  ): Promise<Acknowledged> {
    const { header, deadlineMs } = request;
    checkFileName(header);
    const key = keyOfName(header);
    this.#checkSlot(key, header.slot);
    const mark = { id: header.requestId, contentHash: hashOf([Buffer.from(request.name), ...asked]) };
    const led = await this.#parts.serving.route(header, deadlineMs);
    return led.queue.run(queueKeyOf(key), async () => {
      // Not before: while it waited here, the id of its first attempt may have been dropped.
      this.#checkAge(header.requestId);
      // What a retry, a condition or an absent name is answered from must be current.
      const isPlain = request.name === 'put' && header.ifVersion === undefined && request.header.ifAbsent !== true;
      const known = this.#parts.index.findId(key, header.requestId);
      if (!isPlain || known !== undefined) await this.#parts.serving.ensureCurrent(led, deadlineMs);
      else await this.#parts.serving.untilServing(led, deadlineMs);
      this.#checkCopies(led);
      if (known !== undefined) return this.#answerRetry(led, { key, mark }, known);
      const found = this.#parts.index.lookup(key);
      const entry = found.state === 'damaged' ? await this.#parts.repair.entry(led, key) : presentIn(found);
      // What a member gave may be the next primary's, and not committed there (S2).
      if (found.state === 'damaged') await this.#parts.serving.ensureCurrent(led, deadlineMs);
      const before = entry?.kind === 'record' ? entry : undefined;
      return decide({ led, key, deadlineMs, mark, before });
    });
  }

  #answerRetry(
    led: LedSlot,
    { key, mark }: Pick<Change, 'key' | 'mark'>,
    known: { version: Version; contentHash: Uint8Array },
  ): Acknowledged {
    if (Buffer.compare(known.contentHash, mark.contentHash) !== 0) {
      refuse('invalid', `Request id ${toHex(mark.id)} was used before with other content`, {
        advice: 'Draw a new request id for every change',
      });
    }
    return this.#parts.commits.acknowledgeAgain(led, { key, version: known.version }, mark);
  }

  #checkAge(id: TimedId): void {
    const ageMs = this.#parts.clock.nowMs() - timeOfId(id);
    if (ageMs > timing.requestIdMaxAgeMs) {
      refuse('expired-id', `The request id is ${Math.round(ageMs / 1000)} s old; ids are remembered for 10 minutes`, {
        advice: 'Look at the file with dfs stat to learn whether the change took effect',
      });
    }
    if (ageMs < -timing.requestIdMaxAgeMs) {
      refuse('invalid', 'The request id lies more than 10 minutes in the future of the cluster’s clock', {
        advice: 'Take the time from the hello of a peer or master, not from the local clock',
      });
    }
  }

  #checkSlot(key: EntryKey, slot: number): void {
    const actual = this.#parts.index.slotOf(key);
    if (actual !== slot) refuse('invalid', `The name belongs to slot ${actual}, not ${slot}`);
  }

  #checkCopies(led: LedSlot): void {
    const count = led.record.inSync.length;
    if (count >= this.#parts.minInSync()) return;
    refuse('too-few-copies', `Slot ${led.slot} has ${count} copies in sync, fewer than min-in-sync`, {
      advice: 'Bring back the peers that are down',
    });
  }

  #checkConditions(change: Change, asked: { name: string; ifAbsent?: boolean; ifVersion?: Version }): void {
    const { before } = change;
    if (asked.ifAbsent === true && before !== undefined) {
      refuse('conflict', `${JSON.stringify(asked.name)} exists already, with version ${formatVersion(before.version)}`);
    }
    if (asked.ifVersion === undefined) return;
    const name = JSON.stringify(asked.name);
    if (before === undefined) refuse('conflict', `${name} does not exist, so it has no version to match`);
    if (compareVersions(before.version, asked.ifVersion) !== 0) {
      const wanted = formatVersion(asked.ifVersion);
      refuse('conflict', `${name} has version ${formatVersion(before.version)}, not ${wanted}`);
    }
  }

  #checkNotVoid(change: Change, file: FileName, uploadId: TimedId): void {
    // An idle upload is voided after `sweepAfterMs` at the earliest, and its void lasts longer than as much again.
    const mayBeForgotten =
      this.#parts.clock.nowMs() - timeOfId(uploadId) > 2 * this.#parts.sweepAfterMs + timing.idKeepMs;
    if (!mayBeForgotten && this.#parts.index.lookup(keyOfVoid(file, uploadId)).state === 'absent') return;
    refuse('void-upload', 'The upload was idle for so long that its segments may have been swept', {
      advice: `Send ${change.before === undefined ? 'the file' : 'the new version'} again`,
    });
  }

  /** The upload of a replaced record is void from now on: no late commit may name it (F13). */
  #voidOf(before: RecordBody, version: Version): readonly Entry[] {
    if (before.segments <= 1) return [];
    const { bucket, name, uploadId, segments } = before;
    const body = { bucket, name, uploadId, segments, sinceMs: this.#parts.clock.nowMs() };
    return [toEntry(keyOfVoid(before, uploadId), 'void', version, body)];
  }

  async #readable(led: LedSlot, entry: StoredEntry): Promise<Content> {
    try {
      return await this.#parts.copies.readVerified(entry);
    } catch {
      return this.#parts.copies.readVerified(await this.#parts.repair.entry(led, entry.key));
    }
  }

  #presentOr(key: EntryKey, entry: StoredEntry): StoredEntry {
    return presentIn(this.#parts.index.lookup(key)) ?? entry;
  }
}

function presentIn(found: ReturnType<EntryIndex['lookup']>): StoredEntry | undefined {
  return found.state === 'present' ? found.entry : undefined;
}

function notFound(file: FileName): never {
  return refuse('not-found', `There is no file named ${JSON.stringify(file.name)} in bucket ${file.bucket}`);
}

export function checkFileName(file: FileName): void {
  checkBucket(file.bucket);
  checkName(file.name);
}

function contentOf(request: Incoming<'put'> | Incoming<'put-segment'>): Content {
  return { bytes: request.payload ?? noContent.bytes, sums: request.sums ?? noContent.sums };
}

function checkSizes(header: Incoming<'put'>['header'], firstBytes: number): void {
  const { size, segmentBytes, segments } = header;
  if (segmentBytes < limits.segmentBytesMin) {
    refuse('invalid', `A segment size of ${segmentBytes} bytes is below ${limits.segmentBytesMin}`);
  }
  const expected = Math.max(1, Math.ceil(size / segmentBytes));
  if (segments !== expected) refuse('invalid', `${size} bytes make ${expected} segments, not ${segments}`);
  const expectedFirst = Math.min(size, segmentBytes);
  if (firstBytes !== expectedFirst) {
    refuse('invalid', `Segment 0 must have ${expectedFirst} bytes; ${firstBytes} came`);
  }
}

function hashOf(parts: readonly Uint8Array[]): Uint8Array {
  return u64Bytes(xxh64(Buffer.concat(parts)));
}
