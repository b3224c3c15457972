/**
 * Is an upload part of a file? Answered by the primary of the name; and what follows when it is not.
 *
 * The answer "no" is made true before it is given: the upload is voided, durably and on every replica, so that a commit
 * that comes later is refused (rule F13). Only then may the segments go. No answer: they are kept. Serves S1.
 */

import { hashOfName, hashOfSegment } from '../cluster/hashing.js';
import { type ClusterMap, peerOf, slotOfHash } from '../cluster/map.js';
import { sameBytes } from '../core/checksum.js';
import type { Log } from '../core/environment.js';
import { DfsError } from '../core/errors.js';
import { type PeerId, type SlotNumber, type TimedId, toHex } from '../core/ids.js';
import type { Incoming, Outgoing } from '../protocol/session.js';
import type { Admission } from './admission.js';
import type { Checkpoints } from './checkpoints.js';
import type { ClusterClock } from './cluster-clock.js';
import { type Commits, noContent } from './commit.js';
import {
  bodyOf,
  type FileName,
  keyOfName,
  keyOfSegment,
  keyOfVoid,
  queueKeyOf,
  type StoredEntry,
  toEntry,
  type VoidBody,
} from './entry.js';
import type { EntryIndex } from './entry-index.js';
import type { Leadership } from './leadership.js';
import type { PeerCalls } from './peer-calls.js';
import type { Repair } from './repair.js';
import type { Serving } from './serving.js';

export interface UploadsParts {
  readonly log: Log;
  readonly index: EntryIndex;
  readonly commits: Commits;
  readonly serving: Serving;
  readonly leadership: Leadership;
  readonly calls: PeerCalls;
  readonly repair: Repair;
  readonly clock: ClusterClock;
  readonly admission: Admission;
  readonly checkpoints: Checkpoints;
  readonly replacedGraceMs: number;
  readonly sweepAfterMs: number;
  currentMap(): ClusterMap | undefined;
}

const askTimeoutMs = 10_000;
const hintsAtOnce = 1000;

export class Uploads {
  readonly #parts: UploadsParts;

  constructor(parts: UploadsParts) {
    this.#parts = parts;
  }

  /** As primary of the name. */
  async onAsked(request: Incoming<'upload-state'>): Promise<Outgoing> {
    const { header, deadlineMs } = request;
    const led = await this.#parts.serving.route(header, deadlineMs);
    const nameKey = keyOfName(header);
    const voidKey = keyOfVoid(header, header.uploadId);
    return led.queue.run(queueKeyOf(nameKey), async () => {
      await this.#parts.serving.ensureCurrent(led, deadlineMs);
      const found = this.#parts.index.lookup(nameKey);
      const record = found.state === 'damaged' ? await this.#parts.repair.entry(led, nameKey) : undefined;
      const entry = found.state === 'present' ? found.entry : record;
      // Before any void is looked at: one may be left of a change that was taken back, record first.
      if (entry?.kind === 'record' && sameBytes(bodyOf(entry, 'record').uploadId, header.uploadId)) {
        return { header: { state: 'live', sinceMs: 0 } };
      }
      const voided = this.#parts.index.lookup(voidKey);
      if (voided.state === 'present') {
        return { header: { state: 'void', sinceMs: bodyOf(voided.entry, 'void').sinceMs } };
      }
      await this.#parts.serving.untilServing(led, deadlineMs);
      const sinceMs = this.#parts.clock.nowMs();
      const { bucket, name, uploadId } = header;
      const body: VoidBody = { bucket, name, uploadId, segments: 0, sinceMs };
      await this.#parts.commits.commit(led, [toEntry(voidKey, 'void', led.nextVersion(), body)], noContent);
      led.probe?.at({ point: 'voided', slot: led.slot, term: led.term });
      return { header: { state: 'void', sinceMs } };
    });
  }

  /** As primary of a segment: when to look again, or undefined when the segment went or stays for good. */
  async sweepSegment(entry: StoredEntry): Promise<number | undefined> {
    const body = bodyOf(entry, 'segment');
    const idleSinceMs = Math.max(body.storedAtMs, this.#parts.admission.lastSegmentMs(toHex(body.uploadId)) ?? 0);
    const nowMs = this.#parts.clock.nowMs();
    if (nowMs < idleSinceMs + this.#parts.sweepAfterMs) return idleSinceMs + this.#parts.sweepAfterMs;
    return this.#sweepIfVoid(entry, body.bucket, body.name);
  }

  async #sweepIfVoid(entry: StoredEntry, bucket: string, name: string): Promise<number | undefined> {
    const { uploadId } = bodyOf(entry, 'segment');
    const nowMs = this.#parts.clock.nowMs();
    const state = await this.#ask({ bucket, name }, uploadId);
    if (state === undefined) return nowMs + askTimeoutMs;
    if (state.state === 'live') return undefined;
    // After the answer: what was void before a hold began is named by no record that is copied in it.
    if (this.#parts.checkpoints.isHolding) return nowMs + askTimeoutMs;
    const dueMs = state.sinceMs + this.#parts.replacedGraceMs;
    if (nowMs < dueMs) return dueMs;
    const led = this.#parts.leadership.led(this.#parts.index.slotOf(entry.key));
    // Its term ended meanwhile: the next primary may have looked already, and thought the upload was live.
    if (led === undefined) return nowMs + askTimeoutMs;
    const removed = await this.#parts.commits.removeEverywhere(led, entry);
    return removed ? undefined : nowMs + askTimeoutMs;
  }

  /** The answer of the name's primary; undefined when there was none: keep. */
  async #ask(file: FileName, uploadId: TimedId): Promise<{ state: 'live' | 'void'; sinceMs: number } | undefined> {
    const map = this.#parts.currentMap();
    const slot = map === undefined ? 0 : slotOfHash(hashOfName(file.name), map.slots.length);
    const record = map?.slots[slot];
    const peer = map === undefined || record?.primary === undefined ? undefined : peerOf(map, record.primary);
    if (record === undefined || peer === undefined) return undefined;
    try {
      const header = { slot, term: record.term, ...file, uploadId };
      return (await this.#parts.calls.ask(peer, 'upload-state', header, { timeoutMs: askTimeoutMs })).header;
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
      this.#parts.log.debug({ slot, error: error.message }, 'the state of an upload is not known now');
      return undefined;
    }
  }

  /** As primary of the name, after the grace: tells the primaries of the segments. True when all were told. */
  async hint(entry: StoredEntry): Promise<boolean> {
    const { bucket, name, uploadId, segments } = bodyOf(entry, 'void');
    const map = this.#parts.currentMap();
    if (map === undefined) return false;
    const bySlot = new Map<SlotNumber, number[]>();
    for (let index = 1; index < segments; index++) {
      const slot = slotOfHash(hashOfSegment(uploadId, index), map.slots.length);
      const indexes = bySlot.get(slot) ?? [];
      indexes.push(index);
      bySlot.set(slot, indexes);
    }
    for (const [slot, indexes] of bySlot) {
      const primary: PeerId | undefined = map.slots[slot]?.primary;
      const peer = primary === undefined ? undefined : peerOf(map, primary);
      if (peer === undefined) return false;
      for (let at = 0; at < indexes.length; at += hintsAtOnce) {
        const header = { slot, bucket, name, uploadId, indexes: indexes.slice(at, at + hintsAtOnce) };
        if (
          !(await this.#sendHint(() => this.#parts.calls.ask(peer, 'sweep-hint', header, { timeoutMs: askTimeoutMs })))
        ) {
          return false;
        }
      }
    }
    return true;
  }

  async #sendHint(send: () => Promise<unknown>): Promise<boolean> {
    try {
      await send();
      return true;
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
      this.#parts.log.debug({ error: error.message }, 'a hint to sweep was not taken');
      return false;
    }
  }

  /**
   * As serving primary of the segments: what others lack may be elsewhere. Refused until all of them are gone, so that
   * the hint comes again.
   */
  async onHint(request: Incoming<'sweep-hint'>): Promise<Outgoing> {
    const { slot, bucket, name, uploadId, indexes } = request.header;
    for (const index of indexes) {
      if (this.#parts.leadership.led(slot)?.phase !== 'serving') {
        throw new DfsError('not-ready', `Slot ${slot} is not served here`);
      }
      const found = this.#parts.index.lookup(keyOfSegment(uploadId, index));
      if (found.state === 'absent') continue;
      const isStill = found.state === 'damaged' || (await this.#sweepIfVoid(found.entry, bucket, name)) !== undefined;
      if (isStill) throw new DfsError('not-ready', `Segment ${index} of ${JSON.stringify(name)} cannot be swept yet`);
    }
    return {};
  }
}
