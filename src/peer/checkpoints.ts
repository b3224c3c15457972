/**
 * This peer's parts of checkpoints: copies of its index as it was, and which stored files must stay because one of them
 * names them.
 *
 * While one is made the peer *holds*: it sweeps no segment and removes no file, so that what a copy made here or on
 * another peer names is still there when the part is finished. The copy holds records as of one moment; the segments
 * that came after it are added at the end, for a record copied later on another peer may name them. A part is
 * finished in one step, and a hold ends with the connection that asked for it. Nothing here removes what an entry of
 * the index names (S10): the sweeper removes what nobody names, and asks here first.
 * docs/decisions/0012-checkpoints-are-copies-of-the-indexes.md has the argument.
 */
import type { Log } from '../core/environment.js';
import { DfsError, isRefusal, refuse, StorageFailure } from '../core/errors.js';
import { fromHex, type PeerId, type StoreId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { Probe } from '../core/probe.js';
import type { FileId, IndexCopies, IndexReader, IndexStore } from '../core/storage.js';
import { encodeVouchRows, type VouchRow } from '../protocol/rows.js';
import type { Incoming, Outgoing, Session } from '../protocol/session.js';
import type { Admission } from './admission.js';
import { decodeValue, type EntryKey, keyText } from './entry.js';
import { decodeFileRow } from './entry-changes.js';
import type { Identity } from './identity.js';
import { seal, unseal } from './index-layout.js';
import { mapIn } from './map-keeper.js';

export interface CheckpointsParts {
  readonly log: Log;
  readonly me: Identity;
  readonly index: IndexReader;
  readonly copies: IndexCopies;
  readonly admission: Admission;
  readonly probe?: Probe | undefined;
  /** Resolves when the map, or a newer one, is durable here. */
  acceptMap(encoded: Uint8Array): Promise<void>;
}

/** Whose part it is, written into the copy when it is finished. */
interface Mark {
  readonly checkpoint: string;
  readonly atMs: number;
  readonly peerId: PeerId;
  readonly storeId: StoreId;
}

interface Part {
  readonly mark: Mark;
  readonly bytes: number;
  readonly index: IndexStore;
}

/** A part in the making. */
interface Hold {
  readonly checkpoint: string;
  readonly session: Session;
  /** Segments stored here since it began. */
  readonly arrived: Map<string, EntryKey>;
  copy: IndexStore | undefined;
  isBusy: boolean;
}

const namePattern = /^[a-z0-9-]{1,64}$/;
const markKey = Buffer.from('checkpoint');
const rowsAtOnce = 500;

export class Checkpoints {
  readonly #parts: CheckpointsParts;
  readonly #held = new Map<string, Part>();
  /** Parts that cannot be read: nobody knows what they name, so nothing is removed while they are there. */
  readonly #unreadable = new Set<string>();
  #hold: Hold | undefined;

  constructor(parts: CheckpointsParts) {
    this.#parts = parts;
  }

  /** To be called before anything is swept. */
  async load(): Promise<void> {
    for (const name of await this.#parts.copies.list()) await this.#open(name);
  }

  async close(): Promise<void> {
    await this.#giveUp(this.#hold);
    for (const { index } of this.#held.values()) await index.close();
    this.#held.clear();
  }

  // --- What must stay ------------------------------------------------------------------------------------------------

  /** No segment is swept, no file removed and no slot dropped now. */
  get isHolding(): boolean {
    const hold = this.#hold;
    return hold !== undefined && (hold.isBusy || !hold.session.closed);
  }

  /** A checkpoint needs the file: its bytes are removed only after it. */
  needs(file: FileId): boolean {
    if (this.#unreadable.size > 0) return true;
    const key = fromHex(file);
    return [...this.#held.values()].some(({ mark, index }) => this.#names(mark.checkpoint, index, key));
  }

  #names(checkpoint: string, index: IndexReader, key: Uint8Array): boolean {
    try {
      const value = index.get('files', key);
      // What cannot be read may name it.
      return value !== undefined && decodeFileRow(key, value)?.state !== 'trash';
    } catch (error) {
      if (!(error instanceof StorageFailure)) throw error;
      this.#parts.log.warn({ checkpoint, error: error.message }, 'a part of a checkpoint cannot be read');
      this.#unreadable.add(checkpoint);
      return true;
    }
  }

  onSegmentStored(key: EntryKey): void {
    this.#hold?.arrived.set(keyText(key), key);
  }

  /** Of the copies themselves. */
  get indexBytes(): number {
    let sum = 0;
    for (const { bytes } of this.#held.values()) sum += bytes;
    return sum;
  }

  // --- Making --------------------------------------------------------------------------------------------------------

  async onStep(request: Incoming<'checkpoint-step'>): Promise<Outgoing> {
    const { checkpoint, step, atMs } = request.header;
    if (!namePattern.test(checkpoint)) refuse('invalid', `"${checkpoint}" is no name of a checkpoint`);
    switch (step) {
      case 'hold':
        return this.#begin(request);
      case 'copy':
        return this.#during(request, (hold) => this.#copy(hold));
      case 'finish':
        return this.#during(request, (hold) => this.#finish(hold, atMs));
    }
  }

  async #begin({ header, payload, session }: Incoming<'checkpoint-step'>): Promise<Outgoing> {
    const { checkpoint } = header;
    if (payload === undefined) refuse('invalid', 'A checkpoint begins with a map');
    if (this.#hold?.isBusy === true) refuse('busy', 'Another checkpoint is being made here');
    const before = this.#hold;
    const hold: Hold = { checkpoint, session, arrived: new Map(), copy: undefined, isBusy: true };
    this.#hold = hold;
    return this.#step(hold, async () => {
      await before?.copy?.close();
      if (before !== undefined) await this.#parts.copies.remove(before.checkpoint);
      await this.remove(checkpoint);
      if (this.#held.size >= limits.checkpointsMax) {
        refuse('no-space', `This peer has parts of ${this.#held.size} checkpoints, as many as it keeps`, {
          advice: 'Remove one: dfs checkpoint rm ID',
        });
      }
      // Whom this map has in sync, and no newer one has removed, holds every write acknowledged by now.
      await this.#parts.acceptMap(payload);
      return {};
    });
  }

  async #during(request: Incoming<'checkpoint-step'>, work: (hold: Hold) => Promise<Outgoing>): Promise<Outgoing> {
    const { checkpoint } = request.header;
    const hold = this.#hold;
    if (hold?.checkpoint !== checkpoint || hold.session !== request.session || hold.isBusy) {
      return refuse('conflict', `Checkpoint ${checkpoint} is not being made here over this connection`);
    }
    return this.#step(hold, () => work(hold));
  }

  /** What fails is the checkpoint, and not this peer. */
  async #step(hold: Hold, work: () => Promise<Outgoing>): Promise<Outgoing> {
    hold.isBusy = true;
    try {
      return await work();
    } catch (error) {
      await this.#giveUp(hold);
      if (isRefusal(error)) throw error;
      if (!(error instanceof StorageFailure)) throw error;
      throw new DfsError('failed', `This peer's part of checkpoint ${hold.checkpoint} failed: ${error.message}`);
    } finally {
      hold.isBusy = false;
    }
  }

  async #copy(hold: Hold): Promise<Outgoing> {
    const { copies, admission, probe } = this.#parts;
    const wantedBytes = await copies.sizeOfNext();
    if (admission.space.freeBytes - wantedBytes < admission.reserveBytes) {
      refuse('no-space', `A copy of the index takes up to ${wantedBytes} bytes, which would use up the reserve`, {
        advice: 'Delete files or checkpoints, or add a peer',
      });
    }
    hold.copy = await copies.make(hold.checkpoint);
    probe?.at({ point: 'checkpointCopied' });
    return {};
  }

  async #finish(hold: Hold, atMs: number): Promise<Outgoing> {
    const { copies, me, log, probe } = this.#parts;
    const { copy, checkpoint } = hold;
    if (copy === undefined || me.peerId === undefined) return refuse('conflict', 'The index was not copied yet');
    await this.#addArrived(hold, copy);
    const mark: Mark = { checkpoint, atMs, peerId: me.peerId, storeId: me.storeId };
    const row = seal(markKey, Buffer.from(JSON.stringify(mark)));
    await copy.transact((transaction) => transaction.put('meta', markKey, row));
    const vouched = vouchedSlots(mark, copy);
    hold.copy = undefined;
    await copy.close();
    await copies.finish(checkpoint);
    // Before the hold ends: from then on only a part that is known keeps its files.
    await this.#open(checkpoint);
    this.#hold = undefined;
    probe?.at({ point: 'checkpointFinished' });
    log.info({ checkpoint, slots: vouched.length }, 'finished a part of a checkpoint');
    return { payload: encodeVouchRows(vouched) };
  }

  /** Segments that records copied on other peers may name although this copy was made before they came. */
  async #addArrived(hold: Hold, copy: IndexStore): Promise<void> {
    const keys = [...hold.arrived.values()];
    for (let at = 0; at < keys.length; at += rowsAtOnce) {
      await copy.transact((transaction) => {
        for (const key of keys.slice(at, at + rowsAtOnce)) {
          const value = this.#parts.index.get('entries', key);
          const found = decodeValue(key, value);
          if (value === undefined || found.state !== 'present' || found.entry.kind !== 'segment') continue;
          transaction.put('entries', key, value);
          const { placed } = found.entry;
          if (placed.where !== 'file') continue;
          const fileKey = fromHex(placed.fileId);
          const fileRow = this.#parts.index.get('files', fileKey);
          if (fileRow !== undefined) transaction.put('files', fileKey, fileRow);
        }
      });
    }
  }

  /** Removes what is left of a part whose maker has gone. */
  async look(): Promise<void> {
    const hold = this.#hold;
    if (hold !== undefined && !hold.isBusy && hold.session.closed) await this.#giveUp(hold);
  }

  async #giveUp(hold: Hold | undefined): Promise<void> {
    if (hold === undefined || this.#hold !== hold) return;
    this.#hold = undefined;
    await hold.copy?.close();
    await this.#parts.copies.remove(hold.checkpoint);
  }

  // --- What is here --------------------------------------------------------------------------------------------------

  /** Resolves when the part is gone for good; the sweeper finds what it alone has named. */
  async remove(checkpoint: string): Promise<void> {
    const part = this.#held.get(checkpoint);
    this.#held.delete(checkpoint);
    await part?.index.close();
    await this.#parts.copies.remove(checkpoint);
    this.#unreadable.delete(checkpoint);
  }

  async onRemove(request: Incoming<'checkpoint-remove'>): Promise<Outgoing> {
    const { checkpoint } = request.header;
    if (!namePattern.test(checkpoint)) refuse('invalid', `"${checkpoint}" is no name of a checkpoint`);
    if (this.#hold?.checkpoint === checkpoint) {
      if (this.#hold.isBusy) refuse('busy', `Checkpoint ${checkpoint} is being made here`);
      await this.#giveUp(this.#hold);
    }
    await this.remove(checkpoint);
    return {};
  }

  onParts(): Outgoing {
    const readable = [...this.#held.values()].map(({ mark: { checkpoint, atMs }, bytes }) => ({
      ...{ checkpoint, atMs, bytes },
    }));
    const unreadable = [...this.#unreadable].map((checkpoint) => ({ checkpoint, atMs: 0, bytes: 0 }));
    const parts = [...readable.filter(({ checkpoint }) => !this.#unreadable.has(checkpoint)), ...unreadable];
    return { header: { parts: parts.slice(0, limits.checkpointsMax) } };
  }

  /** The copied index. Refuses `not-found`, or `integrity` when it cannot be read. */
  indexOf(checkpoint: string): IndexReader {
    if (this.#unreadable.has(checkpoint)) refuse('integrity', `The part of checkpoint ${checkpoint} here is damaged`);
    const part = this.#held.get(checkpoint);
    return part?.index ?? refuse('not-found', `This peer has no part of checkpoint ${checkpoint}`);
  }

  /** The slots that the part holds whole. */
  vouchedSlots(checkpoint: string): readonly VouchRow[] {
    const index = this.indexOf(checkpoint);
    const mark = this.#held.get(checkpoint)?.mark;
    return mark === undefined ? [] : vouchedSlots(mark, index);
  }

  async #open(name: string): Promise<void> {
    const { copies, log } = this.#parts;
    const index = await copies.open(name);
    const mark = index === undefined ? undefined : readMark(index);
    if (index === undefined || mark === undefined) {
      log.warn({ checkpoint: name }, 'a part of a checkpoint cannot be read: no file is removed until it is');
      await index?.close();
      this.#unreadable.add(name);
      return;
    }
    this.#held.set(name, { mark, index, bytes: await copies.sizeOf(name) });
  }
}

/**
 * Those for which the map in the copy has its peer in sync: it then holds every write acknowledged before that map. Not
 * those that nobody may lead since the map was recovered: somebody who is awaited may hold more.
 */
function vouchedSlots({ peerId, storeId }: Mark, copy: IndexReader): readonly VouchRow[] {
  const map = mapIn(copy);
  if (map?.peers.find(({ id }) => id === peerId)?.storeId !== storeId) return [];
  return map.slots.flatMap(({ slotEpoch, primary, inSync }, slot) =>
    primary !== undefined && inSync.includes(peerId) ? [{ slot, slotEpoch, isPrimary: primary === peerId }] : [],
  );
}

function readMark(index: IndexReader): Mark | undefined {
  const value = index.get('meta', markKey);
  const content = value === undefined ? undefined : unseal(markKey, value);
  return content === undefined ? undefined : (JSON.parse(Buffer.from(content).toString('utf8')) as Mark);
}
