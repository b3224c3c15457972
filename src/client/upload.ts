/**
 * Stores one file: segments 1 … n in a bounded window as the source yields them, then the record with segment 0, which
 * makes the file visible in one step.
 *
 * Whatever fails before that last request leaves the old version as it was; the peers sweep the segments of an upload
 * that was never committed. Checksums are made here, once, and travel with the bytes from then on.
 */

import { hashOfName, hashOfSegment } from '../cluster/hashing.js';
import { assertDefined } from '../core/assert.js';
import { readU64, u64Bytes } from '../core/big-endian.js';
import { blockSums, runningXxh64 } from '../core/checksum.js';
import type { Environment } from '../core/environment.js';
import { refuse, toDfsError } from '../core/errors.js';
import { type TimedId, toTimedId, type Version } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { givePayloadMemory } from '../core/payload-memory.js';
import type { Patience } from './patience.js';
import { type Acknowledged, toReceipt } from './receipt.js';
import { RequestIdentity } from './request-identity.js';
import type { Copies, Receipt, Source } from './results.js';
import { checkSize, cutIntoSegments, toBytes } from './segment-source.js';
import type { Served, SlotCaller } from './slot-caller.js';
import { TransferWindow } from './transfer-window.js';

export interface UploadOptions {
  readonly bucket: string;
  readonly name: string;
  readonly size: number | undefined;
  readonly segmentBytes: number;
  readonly contentType: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly ifAbsent: boolean;
  readonly ifVersion: Version | undefined;
  readonly patience: Patience;
  readonly onProgress: ((storedBytes: number) => void) | undefined;
  /** Called before the first byte of a file of several segments is sent; throws to refuse it. */
  beforeLarge(): Promise<void>;
}

/** The content as the record will describe it. */
interface Content {
  readonly size: number;
  readonly segments: number;
  readonly checksum: bigint;
}

/** 1 MiB to 16 MiB in whole blocks; larger by itself when a file of this size would have too many segments. */
export function segmentBytesFor(size: number | undefined, wanted: number | undefined): number {
  if (wanted !== undefined) {
    const isWhole = Number.isSafeInteger(wanted) && wanted % limits.blockBytes === 0;
    if (!isWhole || wanted < limits.segmentBytesMin || wanted > limits.segmentBytesMax) {
      refuse('invalid', `Segments have ${limits.segmentBytesMin} to ${limits.segmentBytesMax} bytes in whole blocks`, {
        advice: `Give a multiple of ${limits.blockBytes}; got ${wanted}`,
      });
    }
    return wanted;
  }
  let segmentBytes: number = limits.segmentBytesDefault;
  while (size !== undefined && size > segmentBytes * limits.segmentsMax && segmentBytes < limits.segmentBytesMax) {
    segmentBytes *= 2;
  }
  return segmentBytes;
}

export class Upload {
  readonly #caller: SlotCaller;
  readonly #environment: Environment;
  readonly #options: UploadOptions;
  readonly #window = new TransferWindow();
  readonly #underWay = new Set<Promise<void>>();
  readonly #startedMs: number;
  #uploadId: TimedId | undefined;
  #isAllowed: Promise<void> | undefined;
  #copies: Copies[] = [];
  #attempts = 1;
  #storedBytes = 0;
  /** The segments are memory of our own, not the caller's. */
  #isOwnMemory = false;
  #failure: { readonly error: unknown } | undefined;
  #onFailure: (() => void) | undefined;

  constructor(caller: SlotCaller, environment: Environment, options: UploadOptions) {
    this.#caller = caller;
    this.#environment = environment;
    this.#options = options;
    this.#startedMs = environment.clock.monotonicMs();
  }

  async run(source: Source): Promise<Receipt> {
    const { segmentBytes, size } = this.#options;
    const bytes = toBytes(source);
    if (bytes !== undefined && bytes.length <= segmentBytes) {
      checkSize(bytes, size);
      return this.#storeWhole(bytes);
    }
    const { patience, name } = this.#options;
    const onBytes = (): void => patience.progress();
    const segments = cutIntoSegments(source, { segmentBytes, size, onBytes });
    this.#isOwnMemory = bytes === undefined;
    const watch = patience.watch((ending) => this.#fail(patience.errorOf(ending, `Storing ${name}`)));
    try {
      return await this.#storeSegments(segments);
    } catch (error) {
      patience.abandon(); // takes back what is still under way
      this.#leave(source, segments);
      throw toDfsError(error);
    } finally {
      watch.stop();
    }
  }

  /** One request: the common case is kept free of everything a large file needs. */
  async #storeWhole(bytes: Uint8Array): Promise<Receipt> {
    const sums = blockSums(bytes);
    const content = { size: bytes.length, segments: 1, checksum: checksumOfWhole(bytes, sums) };
    return this.#commit({ bytes, sums }, content);
  }

  async #storeSegments(segments: AsyncGenerator<Uint8Array>): Promise<Receipt> {
    const { segmentBytes } = this.#options;
    const checksum = runningXxh64();
    let first: Uint8Array | undefined;
    let count = 0;
    let totalBytes = 0;
    for (;;) {
      // Room is taken before the segment is read, so that the memory it is read into counts too.
      if (first !== undefined) await this.#roomFor(segmentBytes);
      const next = await this.#orFailure(segments.next());
      if (next.done) break;
      const segment = next.value;
      checksum.update(segment);
      totalBytes += segment.length;
      if (count >= limits.segmentsMax) this.#tooLarge();
      if (first === undefined) first = segment;
      else this.#start(count, segment);
      count += 1;
    }
    while (this.#underWay.size > 0) await this.#orFailure(Promise.race(this.#underWay));
    this.#environment.probe?.at({ point: 'segmentsSent' });
    const bytes = first ?? new Uint8Array(0);
    const content = { size: totalBytes, segments: count, checksum: checksum.digest() };
    return this.#commit({ bytes, sums: blockSums(bytes) }, content);
  }

  async #roomFor(sizeBytes: number): Promise<void> {
    while (!this.#window.hasRoom(sizeBytes)) await this.#orFailure(this.#window.changed());
  }

  #start(index: number, bytes: Uint8Array): void {
    const { segmentBytes } = this.#options;
    this.#window.take(segmentBytes);
    const task = this.#storeSegment(index, bytes)
      .catch((error) => this.#fail(error))
      .finally(() => {
        this.#underWay.delete(task);
        this.#window.release(segmentBytes);
      });
    this.#underWay.add(task);
  }

  async #storeSegment(index: number, bytes: Uint8Array): Promise<void> {
    const { bucket, name, patience } = this.#options;
    this.#isAllowed ??= this.#options.beforeLarge();
    await this.#isAllowed;
    const uploadId = this.#uploadId ?? (await this.#makeUploadId());
    const sums = blockSums(bytes);
    const served = await this.#caller.call({
      name: 'put-segment',
      hash: hashOfSegment(uploadId, index),
      lane: 'bulk',
      patience,
      about: `Storing segment ${index} of ${name}`,
      payload: bytes,
      sums,
      header: ({ slot, term }) => ({ slot, term, bucket, name, uploadId, index, sums }),
    });
    this.#copies = [leastOf(this.#copies, served.answer.header.copies)];
    this.#attempts = Math.max(this.#attempts, served.attempts);
    this.#stored(bytes.length);
    // An abandoned attempt may still be sending these bytes; after a single one that was answered nobody is.
    if (served.attempts === 1 && this.#isOwnMemory) givePayloadMemory(bytes);
  }

  /** The upload's id decides where its segments go, so the cluster's clock must be known before the first one. */
  async #makeUploadId(): Promise<TimedId> {
    await this.#caller.syncClock(hashOfName(this.#options.name), this.#options.patience);
    this.#uploadId ??= this.#newUploadId();
    return this.#uploadId;
  }

  #newUploadId(): TimedId {
    return toTimedId({ atMs: this.#caller.view.clock.nowMs(), random: this.#environment.random.bytes(10) });
  }

  async #commit(first: { bytes: Uint8Array; sums: Uint8Array }, content: Content): Promise<Receipt> {
    const { bucket, name, patience } = this.#options;
    const identity = new RequestIdentity(this.#caller.view.clock, this.#environment.random);
    const served = await this.#caller.call({
      name: 'put',
      hash: hashOfName(name),
      lane: first.bytes.length > limits.uncreditedBytesMax ? 'bulk' : 'small',
      patience,
      about: `Storing ${name}`,
      identity,
      payload: first.bytes,
      sums: first.sums,
      header: ({ slot, term }) => ({ slot, term, ...this.#recordHeader(identity, content), sums: first.sums }),
    });
    this.#stored(first.bytes.length);
    return this.#receipt(served, content, { bucket, name });
  }

  #recordHeader(identity: RequestIdentity, content: Content) {
    const { bucket, name, segmentBytes, metadata, contentType, ifAbsent, ifVersion } = this.#options;
    // A file of one segment needs no segments found by it: its request id names the upload too.
    this.#uploadId ??= identity.id;
    return {
      bucket,
      name,
      requestId: identity.id,
      uploadId: this.#uploadId,
      size: content.size,
      checksum: u64Bytes(content.checksum),
      segmentBytes,
      segments: content.segments,
      metadata,
      ...(contentType === undefined ? {} : { contentType }),
      ...(ifAbsent ? { ifAbsent } : {}),
      ...(ifVersion === undefined ? {} : { ifVersion }),
    };
  }

  #receipt(served: Served<'put'>, content: Content, file: { bucket: string; name: string }): Receipt {
    const acknowledged: Acknowledged = served.answer.header;
    return toReceipt(
      {
        ...file,
        slot: served.route.slot,
        acknowledged,
        others: this.#copies,
        attempts: Math.max(this.#attempts, served.attempts),
        durationMs: this.#environment.clock.monotonicMs() - this.#startedMs,
        addressOf: (id) => this.#caller.view.addressOf(id),
      },
      content,
    );
  }

  #stored(sizeBytes: number): void {
    this.#storedBytes += sizeBytes;
    this.#options.onProgress?.(this.#storedBytes);
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#onFailure?.();
  }

  /** Waits for `waited`, but not longer than until something has failed; then throws that. */
  async #orFailure<T>(waited: Promise<T>): Promise<T> {
    const failed = new Promise<undefined>((resolve) => {
      this.#onFailure = () => resolve(undefined);
      if (this.#failure !== undefined) resolve(undefined);
    });
    const result = await Promise.race([waited.then((value) => ({ value })), failed]);
    if (this.#failure !== undefined) throw this.#failure.error;
    return assertDefined(result, 'Only a failure ends the wait without a value').value;
  }

  /** Tells the source that nobody will read on. A stream that is being waited for is not waited for any longer. */
  #leave(source: Source, segments: AsyncGenerator<Uint8Array>): void {
    const stream = source as { destroy?: () => void };
    if (typeof stream.destroy === 'function') stream.destroy();
    segments.return(undefined).catch((error) => {
      this.#environment.log.debug({ err: error, name: this.#options.name }, 'The source failed when it was left');
    });
  }

  #tooLarge(): never {
    const most = this.#options.segmentBytes * limits.segmentsMax;
    return refuse('too-large', `A file in segments of ${this.#options.segmentBytes} bytes has at most ${most} bytes`, {
      advice: 'Give the size beforehand, or larger segments',
    });
  }
}

function checksumOfWhole(bytes: Uint8Array, sums: Uint8Array): bigint {
  // The sum of the only block is the checksum of the whole.
  if (sums.length === 8) return readU64(sums);
  const checksum = runningXxh64();
  checksum.update(bytes);
  return checksum.digest();
}

function leastOf(known: readonly Copies[], copies: Copies): Copies {
  const before = known[0] ?? copies;
  return { durable: Math.min(before.durable, copies.durable), wanted: Math.max(before.wanted, copies.wanted) };
}
