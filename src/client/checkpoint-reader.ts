/**
 * Reads a checkpoint from the peers that have parts of it: which files, and each file's record and bytes.
 *
 * Every peer of the map is asked once what its part vouches for. A slot's records are taken from the part of the peer
 * that led it, by the newest record of the slot, else of another that was in sync; where a part is damaged or its peer
 * away, from the next one. A segment may stand in any part. Every block is compared with the checksum its writer made,
 * and every whole file with its own (S5).
 */
import { hashOfName, hashOfSegment } from '../cluster/hashing.js';
import { type PeerRecord, slotOfHash } from '../cluster/map.js';
import { runningXxh64 } from '../core/checksum.js';
import { DfsError, isRefusal, refuse } from '../core/errors.js';
import type { SlotNumber, TimedId } from '../core/ids.js';
import { limits } from '../core/limits.js';
import type { WireFileRecord } from '../protocol/message-fields.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import { decodeFileRows, decodeVouchRows, type VouchRow } from '../protocol/rows.js';
import type { Answer } from '../protocol/session.js';
import { AttemptFailure } from './attempt.js';
import { wantedBytes } from './blocks.js';
import { checksumOf, segmentSizeOf, toStat } from './file-record.js';
import type { Patience } from './patience.js';
import type { CheckpointEntry, FileStat } from './results.js';
import type { SlotCaller } from './slot-caller.js';

/** An opened file of a checkpoint. */
export interface CheckpointFile {
  readonly stat: FileStat;
  /** Can be read once; the last piece is handed out when the whole is verified. */
  readonly body: AsyncIterable<Uint8Array>;
}

interface FileName {
  readonly bucket: string;
  readonly name: string;
}

interface Part {
  readonly peer: PeerRecord;
  readonly vouched: readonly VouchRow[];
}

/** Some slots, and how far their files were listed. */
interface Share {
  readonly slots: readonly SlotNumber[];
  readonly after: Uint8Array;
}

const partBytes = limits.segmentBytesDefault;
const nothing = new Uint8Array(0);

export class CheckpointReader {
  readonly #caller: SlotCaller;
  readonly #checkpoint: string;
  readonly #newPatience: () => Patience;
  readonly #parts: readonly PeerRecord[];
  /** For each slot the peers whose parts hold all of it, the best first. */
  readonly #sources: readonly (readonly PeerRecord[])[];

  private constructor(
    caller: SlotCaller,
    of: { checkpoint: string; newPatience: () => Patience },
    parts: readonly Part[],
    slotCount: number,
  ) {
    this.#caller = caller;
    this.#checkpoint = of.checkpoint;
    this.#newPatience = of.newPatience;
    this.#parts = parts.map(({ peer }) => peer);
    this.#sources = sourcesOf(parts, slotCount);
  }

  /** Throws `not-found` when no peer that answers has a part of it, `unavailable` when none answers. */
  static async open(
    caller: SlotCaller,
    of: { checkpoint: string; newPatience: () => Patience },
  ): Promise<CheckpointReader> {
    const { checkpoint, newPatience } = of;
    const { map } = await caller.view.known(newPatience(), `Looking for checkpoint ${checkpoint}`);
    const failures: DfsError[] = [];
    const asked = map.peers
      .filter(({ state }) => state !== 'removed')
      .map(async (peer): Promise<Part | undefined> => {
        try {
          const patience = newPatience();
          const answer = await ask(caller, { peer, name: 'checkpoint-slots', header: { checkpoint }, patience });
          return { peer, vouched: decodeVouchRows(answer.payload ?? nothing) };
        } catch (error) {
          if (!(error instanceof DfsError)) throw error;
          failures.push(error);
          return undefined;
        }
      });
    const parts = (await Promise.all(asked)).filter((part) => part !== undefined);
    if (parts.length === 0) {
      const silent = failures.find(({ code }) => code !== 'not-found');
      if (silent !== undefined) throw silent;
      refuse('not-found', `No peer has a part of checkpoint ${checkpoint}`, { advice: 'See dfs checkpoint ls' });
    }
    return new CheckpointReader(caller, of, parts, map.slots.length);
  }

  /** Slots of which no peer that answers holds all. */
  get missingSlots(): readonly SlotNumber[] {
    return this.#sources.flatMap((peers, slot) => (peers.length === 0 ? [slot] : []));
  }

  /**
   * All files that begin with the prefix, of one bucket or of all, in no order. Throws when a slot's files cannot be
   * listed by anybody; slots that are missing from the start are left out.
   */
  async *files(options: { readonly bucket?: string; readonly prefix?: string } = {}): AsyncGenerator<CheckpointEntry> {
    const isMissing = new Set(this.missingSlots);
    const all = this.#sources.map((_, slot) => slot).filter((slot) => !isMissing.has(slot));
    const waiting: Share[] = [{ slots: all, after: nothing }];
    const failed = new Map<string, DfsError>();
    for (let share = waiting.pop(); share !== undefined; share = waiting.pop()) {
      for (const [peer, slots] of this.#divided(share.slots, failed)) {
        let { after } = share;
        try {
          for (let more = true; more; ) {
            const page = await this.#page(peer, { slots, after }, options);
            yield* page.rows;
            const last = page.rows.at(-1);
            if (last !== undefined) after = Buffer.from(`${last.bucket}\0${last.name}`, 'utf8');
            more = page.more && last !== undefined;
          }
        } catch (error) {
          if (!(error instanceof DfsError) || error.code === 'cancelled') throw error;
          failed.set(peer.id, error);
          waiting.push({ slots, after });
        }
      }
    }
  }

  /** Throws `not-found`, `integrity` when no part has good bytes, `unavailable`. */
  async open(file: FileName): Promise<CheckpointFile> {
    const slot = slotOfHash(hashOfName(file.name), this.#sources.length);
    const sources = this.#sources[slot] ?? [];
    if (sources.length === 0) refuse('unavailable', `No peer that answers has slot ${slot} of the checkpoint`);
    // Not in the best part that answers: not in the checkpoint.
    const isFinal = ({ code }: DfsError): boolean => code === 'not-found';
    const { record, bytes } = await firstGood(sources, isFinal, async (peer) => {
      const answer = await this.#read(peer, file, { index: 0, start: 0, end: limits.segmentBytesMax });
      const { record } = answer.header;
      if (record === undefined) return refuse('integrity', `${peer.id} answered without a record`);
      return { record, bytes: this.#verified(answer, { record, index: 0, start: 0, end: segmentSizeOf(record, 0) }) };
    });
    return { stat: toStat(record), body: this.#body(file, record, bytes) };
  }

  async *#body(file: FileName, record: WireFileRecord, first: Uint8Array): AsyncGenerator<Uint8Array> {
    const checksum = runningXxh64();
    checksum.update(first);
    let held = first;
    for (let index = 1; index < record.segments; index++) {
      const size = segmentSizeOf(record, index);
      for (let start = 0; start < size; start += partBytes) {
        if (held.length > 0) yield held;
        held = await this.#segment(file, record, { index, start, end: Math.min(size, start + partBytes) });
        checksum.update(held);
      }
    }
    if (checksum.digest() !== checksumOf(record)) {
      refuse('integrity', `The bytes of ${record.name} in the checkpoint do not match the checksum of the whole file`);
    }
    if (held.length > 0) yield held;
  }

  async #segment(
    file: FileName,
    record: WireFileRecord,
    part: { index: number; start: number; end: number },
  ): Promise<Uint8Array> {
    const { uploadId } = record;
    const slot = slotOfHash(hashOfSegment(uploadId, part.index), this.#sources.length);
    const sources = this.#sources[slot] ?? [];
    // One that came while the checkpoint was made may stand in the part of a peer that vouches for nothing here.
    const others = this.#parts.filter((peer) => !sources.includes(peer));
    const peers = [...sources, ...others];
    const isNeverFinal = (): boolean => false;
    try {
      return await firstGood(peers, isNeverFinal, async (peer) => {
        const answer = await this.#read(peer, file, { uploadId, ...part });
        return this.#verified(answer, { record, ...part });
      });
    } catch (error) {
      // The file is there; that a part of it is not is no "not found".
      if (!isRefusal(error, 'not-found')) throw error;
      return refuse('integrity', `No peer that answers has segment ${part.index} of ${record.name}`, { cause: error });
    }
  }

  #verified(
    { header, payload, sums }: Answer<'checkpoint-read'>,
    of: { record: WireFileRecord; index: number; start: number; end: number },
  ): Uint8Array {
    const { record, index, start, end } = of;
    const blocks = { offset: header.offset, sums: header.sums, payload, arrivedSums: sums };
    const about = `Reading segment ${index} of ${record.name} from the checkpoint`;
    return wantedBytes(blocks, { start, end, sizeBytes: segmentSizeOf(record, index), about });
  }

  #read(
    peer: PeerRecord,
    { bucket, name }: FileName,
    part: { uploadId?: TimedId; index: number; start: number; end: number },
  ): Promise<Answer<'checkpoint-read'>> {
    const header = { checkpoint: this.#checkpoint, bucket, name, ...part };
    return ask(this.#caller, { peer, name: 'checkpoint-read', header, patience: this.#newPatience(), lane: 'bulk' });
  }

  async #page(
    peer: PeerRecord,
    { slots, after }: Share,
    options: { readonly bucket?: string; readonly prefix?: string },
  ): Promise<{ rows: readonly CheckpointEntry[]; more: boolean }> {
    const { bucket, prefix = '' } = options;
    const page = { prefix, after, limit: limits.listPageRowsMax, slots: bitmapOf(slots) };
    const header = { checkpoint: this.#checkpoint, ...page, ...(bucket === undefined ? {} : { bucket }) };
    const asked = { peer, name: 'checkpoint-files', header, patience: this.#newPatience() } as const;
    const answer = await ask(this.#caller, asked);
    return { rows: decodeFileRows(answer.payload ?? nothing), more: answer.header.more };
  }

  /** Which peer is asked for which slots. Throws what went wrong when nobody is left for one. */
  #divided(
    slots: readonly SlotNumber[],
    failed: ReadonlyMap<string, DfsError>,
  ): ReadonlyMap<PeerRecord, readonly SlotNumber[]> {
    const shares = new Map<PeerRecord, SlotNumber[]>();
    for (const slot of slots) {
      const sources = this.#sources[slot] ?? [];
      const peer = sources.find(({ id }) => !failed.has(id));
      if (peer === undefined) throw failed.get(sources.at(-1)?.id ?? '') ?? new DfsError('unavailable', 'No part');
      shares.set(peer, [...(shares.get(peer) ?? []), slot]);
    }
    return shares;
  }
}

/** The first good answer, in this order. */
async function firstGood<T>(
  peers: readonly PeerRecord[],
  isFinal: (error: DfsError) => boolean,
  read: (peer: PeerRecord) => Promise<T>,
): Promise<T> {
  const failures: DfsError[] = [];
  for (const peer of peers) {
    try {
      return await read(peer);
    } catch (error) {
      if (!(error instanceof DfsError) || error.code === 'cancelled' || isFinal(error)) throw error;
      failures.push(error);
    }
  }
  // What is bad somewhere is told before what is merely not there.
  throw failures.find(({ code }) => code !== 'not-found') ?? failures[0] ?? new DfsError('unavailable', 'No part');
}

/** Who led the slot first, by its newest record: what no client was told of may stand in a backup's copy alone. */
function sourcesOf(parts: readonly Part[], slotCount: number): readonly (readonly PeerRecord[])[] {
  const found: { readonly peer: PeerRecord; readonly row: VouchRow }[][] = Array.from({ length: slotCount }, () => []);
  for (const { peer, vouched } of parts) for (const row of vouched) found[row.slot]?.push({ peer, row });
  return found.map((each) =>
    each
      .sort((a, b) => Number(b.row.isPrimary) - Number(a.row.isPrimary) || b.row.slotEpoch - a.row.slotEpoch)
      .map(({ peer }) => peer),
  );
}

async function ask<N extends MessageName>(
  caller: SlotCaller,
  asked: { peer: PeerRecord; name: N; header: RequestOf<N>; patience: Patience; lane?: 'small' | 'bulk' },
): Promise<Answer<N>> {
  const { peer, name, header, patience, lane = 'small' } = asked;
  const about = `Asking ${peer.id} for its part of the checkpoint`;
  const target = { address: peer.address, peerId: peer.id };
  const once = (): Promise<Answer<N>> =>
    caller.once({ name, target, lane, slot: 0, term: undefined, patience, about, header: () => header });
  // A connection that is kept open may be one to a process that is gone; asking again is harmless.
  return once().catch(once).catch(thrown);
}

function thrown(error: unknown): never {
  throw error instanceof AttemptFailure ? error.error : error;
}

/** Bit 0 of byte 0 is slot 0. */
function bitmapOf(slots: readonly SlotNumber[]): Uint8Array {
  const bitmap = new Uint8Array(Math.floor(Math.max(0, ...slots) / 8) + 1);
  for (const slot of slots) bitmap[slot >> 3] = (bitmap[slot >> 3] ?? 0) | (1 << (slot & 7));
  return bitmap;
}
