/**
 * What clients and peers read: files, segments, the state of a copy.
 *
 * A linearizable answer comes from the slot's serving primary with present proof; segments are immutable, so any holder
 * may answer for them. Blocks go out with the checksums they were stored with: the reader compares (S5). A copy found
 * bad here is refused and repaired behind the answer. Serves S2, S5.
 */
import type { Log } from '../core/environment.js';
import { isRefusal, refuse } from '../core/errors.js';
import { compareVersions, formatVersion, type PeerId } from '../core/ids.js';
import type { WireFileRecord } from '../protocol/message-fields.js';
import type { Incoming, Outgoing } from '../protocol/session.js';
import { type Blocks, type Copies, type CopyState, noBlocks } from './copies.js';
import type { Damage } from './damage.js';
import { bodyOf, type EntryKey, keyOfName, keyOfSegment, type Lookup, placedSize, type StoredEntry } from './entry.js';
import { type EntryIndex, toWireMark } from './entry-index.js';
import type { Identity } from './identity.js';
import type { Leadership } from './leadership.js';
import type { LedSlot } from './led-slot.js';
import type { Serving } from './serving.js';
import { checkFileName } from './write-path.js';

export interface ReadPathParts {
  readonly log: Log;
  readonly me: Identity;
  readonly index: EntryIndex;
  readonly copies: Copies;
  readonly serving: Serving;
  readonly leadership: Leadership;
  readonly damage: Damage;
  holds(slot: number): boolean;
  /** Peers that are to be read last. */
  slowPeers(): ReadonlySet<PeerId>;
}

type AboutCopy = Incoming<'copy-state' | 'report-damage' | 'get-segment'>;

export class ReadPath {
  readonly #parts: ReadPathParts;

  constructor(parts: ReadPathParts) {
    this.#parts = parts;
  }

  async get(request: Incoming<'get'>): Promise<Outgoing> {
    const { header } = request;
    checkFileName(header);
    const key = keyOfName(header);
    const led = header.consistency === 'any' ? undefined : await this.#current(request);
    if (led === undefined) this.#checkHolds(header.slot);
    const found = this.#parts.index.lookup(key);
    const entry = await this.#readable(led, key, found);
    // A repair takes its time: what a member gave may be the next primary's, and not committed there (S2).
    if (led !== undefined && found.state === 'damaged')
      await this.#parts.serving.ensureCurrent(led, request.deadlineMs);
    led?.probe?.at({ point: 'readCurrent', slot: led.slot, term: led.term, key, found: this.#parts.index.lookup(key) });
    if (entry?.kind !== 'record') {
      return refuse('not-found', `There is no file named ${JSON.stringify(header.name)} in bucket ${header.bucket}`);
    }
    if (header.ifVersion !== undefined && compareVersions(entry.version, header.ifVersion) !== 0) {
      const name = JSON.stringify(header.name);
      refuse('gone', `${name} now has version ${formatVersion(entry.version)}`, { advice: 'Read it again' });
    }
    const leftOut = header.elsewhere === true && header.start < header.end && this.#isReadElsewhere(led, entry);
    const { blocks, entry: read } = leftOut ? { blocks: noBlocks, entry } : await this.#blocks(request, led, entry);
    const record: WireFileRecord = { ...bodyOf(read, 'record'), version: read.version };
    const acknowledged = led !== undefined;
    const slow = [...this.#parts.slowPeers()];
    return {
      header: {
        ...{ record, offset: blocks.offset, sums: blocks.sums, acknowledged },
        ...(leftOut && { leftOut }),
        ...(slow.length > 0 && { slow }),
      },
      payload: blocks.bytes,
      sums: blocks.sums,
      givesMemory: true,
    };
  }

  async #current(request: Incoming<'get'>): Promise<LedSlot> {
    const led = await this.#parts.serving.route(request.header, request.deadlineMs);
    await this.#parts.serving.ensureCurrent(led, request.deadlineMs);
    return led;
  }

  /** Its bytes cost a slow disk a read, and another member that is not slow has them too. */
  #isReadElsewhere(led: LedSlot | undefined, entry: StoredEntry): boolean {
    const slow = this.#parts.slowPeers();
    const { peerId } = this.#parts.me;
    if (led === undefined || peerId === undefined || !slow.has(peerId) || entry.placed.where !== 'file') return false;
    return led.record.inSync.some((id) => !slow.has(id));
  }

  #checkHolds(slot: number): void {
    if (!this.#parts.holds(slot)) refuse('wrong-role', `This peer holds no copy of slot ${slot}`);
  }

  /** What was found just now; of an unreadable entry the repaired one. */
  async #readable(led: LedSlot | undefined, key: EntryKey, found: Lookup): Promise<StoredEntry | undefined> {
    if (found.state === 'absent') return undefined;
    if (found.state === 'present') return found.entry;
    return this.#parts.damage.repaired(led, key);
  }

  /** The wanted blocks of segment 0; of the repaired copy when the stored one is found bad. */
  async #blocks(
    request: Incoming<'get'>,
    led: LedSlot | undefined,
    entry: StoredEntry,
  ): Promise<{ blocks: Blocks; entry: StoredEntry }> {
    const range = within(request.header, placedSize(entry.placed));
    if (range.start < range.end) await request.replyRoom(range.end - range.start);
    try {
      return { blocks: await this.#parts.copies.readBlocks(entry, range), entry };
    } catch (error) {
      if (!isRefusal(error, 'integrity')) throw error;
      const repaired = await this.#parts.damage.repaired(led, entry.key);
      if (compareVersions(repaired.version, entry.version) !== 0) {
        refuse('gone', `${JSON.stringify(request.header.name)} was replaced meanwhile`, { advice: 'Read it again' });
      }
      return { blocks: await this.#parts.copies.readBlocks(repaired, range), entry: repaired };
    }
  }

  async getSegment(request: Incoming<'get-segment'>): Promise<Outgoing> {
    const { header } = request;
    this.#checkHolds(header.slot);
    const key = keyOfSegment(header.uploadId, header.index);
    const entry = await this.#readable(this.#parts.leadership.led(header.slot), key, this.#parts.index.lookup(key));
    if (entry === undefined) {
      return refuse('gone', `Segment ${header.index} of ${JSON.stringify(header.name)} is not here`);
    }
    const size = placedSize(entry.placed);
    const range = within(header, size);
    await request.replyRoom(range.end - range.start);
    try {
      const { bytes, offset, sums } = await this.#parts.copies.readBlocks(entry, range);
      return { header: { size, offset, sums }, payload: bytes, sums, givesMemory: true };
    } catch (error) {
      if (isRefusal(error, 'integrity')) this.#parts.damage.found(key);
      throw error;
    }
  }

  /** Verifies this peer's own copy. */
  async copyState(request: Incoming<'copy-state'>): Promise<Outgoing> {
    const { entry, state } = await this.#ownCopy(request);
    const version = entry === undefined ? {} : { version: entry.version };
    return { header: { state, ...version, size: entry === undefined ? 0 : placedSize(entry.placed) } };
  }

  async reportDamage(request: Incoming<'report-damage'>): Promise<Outgoing> {
    const { key, state } = await this.#ownCopy(request);
    if (state !== 'ok' && this.#parts.index.lookup(key).state !== 'absent') this.#parts.damage.found(key);
    return { header: { state } };
  }

  async #ownCopy(request: AboutCopy): Promise<{ key: EntryKey; entry: StoredEntry | undefined; state: CopyState }> {
    const { header } = request;
    const key = header.index === 0 ? keyOfName(header) : keyOfSegment(header.uploadId, header.index);
    const found = this.#parts.index.lookup(key);
    if (found.state === 'damaged') return { key, entry: undefined, state: 'damaged' };
    if (found.state === 'absent' || found.entry.kind === 'tombstone')
      return { key, entry: undefined, state: 'missing' };
    return { key, entry: found.entry, state: await this.#parts.copies.stateOf(found.entry) };
  }

  /** A verified copy for another member that lost its own. Payload: all bytes. */
  async fetchEntry(request: Incoming<'fetch-entry'>): Promise<Outgoing> {
    const { key, version } = request.header;
    const found = this.#parts.index.lookup(key);
    if (found.state !== 'present') return { header: {} };
    const { placed, ...entry } = found.entry;
    if (version !== undefined && compareVersions(version, entry.version) !== 0) return { header: {} };
    await request.replyRoom(placedSize(placed));
    try {
      const { bytes, sums } = await this.#parts.copies.readVerified(found.entry);
      const mark = toWireMark(this.#parts.index.markOf(key, entry.version));
      return { header: { entry: { ...entry, sums }, ...mark }, payload: bytes, sums, givesMemory: true };
    } catch (error) {
      // Not tried at once: who asks has a bad copy, too, and two of that kind would ask each other without end.
      if (isRefusal(error, 'integrity')) this.#parts.damage.seen(key);
      throw error;
    }
  }
}

/** The part of a range that a segment of `size` bytes has. */
export function within(range: { start: number; end: number }, size: number): { start: number; end: number } {
  const end = Math.min(range.end, size);
  return { start: Math.min(range.start, end), end };
}
