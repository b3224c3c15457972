/**
 * The library's face: files of one bucket, stored and read through whichever peers serve them now.
 *
 * Everything it is made of works over an environment handed in; src/dfs.ts hands in the real one.
 */
import { explainSlot } from '../cluster/explanation.js';
import { hashOfName } from '../cluster/hashing.js';
import { wantedPlacement } from '../cluster/placement.js';
import { parseAddress } from '../core/address.js';
import { readU64 } from '../core/big-endian.js';
import { formatChecksum } from '../core/checksum.js';
import type { Environment } from '../core/environment.js';
import { isRefusal, refuse } from '../core/errors.js';
import { type Address, formatVersion } from '../core/ids.js';
import { toIsoTime } from '../core/iso-time.js';
import { checkBucket, checkName, checkPosition } from '../core/names.js';
import type { SmallFiles } from '../core/storage.js';
import { timing } from '../core/timing.js';
import type { RequestOf } from '../protocol/messages.js';
import type { ListRow } from '../protocol/rows.js';
import { checkContentType, checkMetadata, checkRange, checkSizeOption, versionOf } from './arguments.js';
import { Checkpoints } from './checkpoints.js';
import { ClusterView } from './cluster-view.js';
import { openFile } from './download.js';
import { FileReader, type ReadOptions } from './file-reader.js';
import { toStat } from './file-record.js';
import { Hedging } from './hedging.js';
import { HolderCaller } from './holder-caller.js';
import { Listing } from './listing.js';
import { Locator } from './location.js';
import { MapCache } from './map-cache.js';
import { MasterCaller } from './master-caller.js';
import { ClusterOperations } from './operations.js';
import { Patience } from './patience.js';
import { type Acknowledged, toChangeReceipt } from './receipt.js';
import { RequestIdentity } from './request-identity.js';
import type {
  CallOptions,
  ChangeOptions,
  ChangeReceipt,
  ClusterEvent,
  ClusterStatus,
  EventsOptions,
  Explanation,
  FileStat,
  GetOptions,
  ListEntry,
  ListOptions,
  Location,
  MetadataOptions,
  PutOptions,
  Receipt,
  ReceivedFile,
  Source,
  StatOptions,
  Verification,
} from './results.js';
import type { Route } from './routing.js';
import { SlotCaller } from './slot-caller.js';
import { segmentBytesFor, Upload } from './upload.js';
import { Verifier } from './verification.js';

export const defaultBucket = 'files';

const eventsMax = 1000;

export interface ClientOptions {
  /** "host:port" of one or more masters. */
  readonly masters: readonly Address[];
  readonly bucket?: string;
  /** Longest time without progress, for each call. */
  readonly timeoutMs?: number;
  /** Longest time for each whole call; none when absent. */
  readonly deadlineMs?: number;
}

/** What the clients of all buckets share. */
interface Parts {
  readonly environment: Environment;
  readonly view: ClusterView;
  readonly caller: SlotCaller;
  readonly reader: FileReader;
  readonly master: MasterCaller;
  readonly options: ClientOptions;
}

/**
 * Starts from the cached map when there is one, without a word on the network; else asks the masters. Throws `invalid`
 * for malformed options, `unavailable` (or why a master refused) when no master can be reached and nothing is cached.
 */
export async function connectClient(
  environment: Environment,
  options: ClientOptions & { readonly cacheFiles?: SmallFiles | undefined },
): Promise<FileClient> {
  const masters = options.masters.map((address) => checkMaster(address));
  if (masters.length === 0) refuse('invalid', 'At least one master is needed', { advice: 'Give "host:port"' });
  const bucket = checkBucket(options.bucket ?? defaultBucket);
  const cache = new MapCache(options.cacheFiles, masters, environment.log);
  const view = new ClusterView({ environment, masters, cache });
  await view.loadCache();
  const caller = new SlotCaller(environment, view);
  const hedging = new Hedging();
  const reader = new FileReader(caller, new HolderCaller(caller, hedging, environment), hedging);
  const master = new MasterCaller(view, environment.clock);
  const client = new FileClient({ environment, view, caller, reader, master, options }, bucket);
  if (view.table === undefined) await view.firstContact(client.newPatience({}));
  return client;
}

function checkMaster(address: Address): Address {
  if (parseAddress(address).port === 0) refuse('invalid', `A master cannot be at port 0, as "${address}" says`);
  return address;
}

export class FileClient {
  readonly bucketName: string;
  readonly #parts: Parts;

  /** Made by connectClient and `bucket` only. */
  constructor(parts: Parts, bucket: string) {
    this.#parts = parts;
    this.bucketName = bucket;
  }

  /** The same calls in another bucket, over the same connections. */
  bucket(name: string): FileClient {
    return new FileClient(this.#parts, checkBucket(name));
  }

  /**
   * Stores a file under the name, replacing what was there in one step; resolves when it is durable. The source must
   * not be changed meanwhile. Throws DfsError: `conflict`, `no-space`, `too-large`, `failed` (the source),
   * `unavailable`, `unknown-outcome`, …
   */
  async put(name: string, source: Source, options: PutOptions = {}): Promise<Receipt> {
    const { environment, caller } = this.#parts;
    const upload = new Upload(caller, environment, {
      bucket: this.bucketName,
      name: checkName(name),
      size: checkSizeOption(options.size),
      segmentBytes: segmentBytesFor(options.size, options.segmentBytes),
      contentType: options.contentType === undefined ? undefined : checkContentType(options.contentType),
      metadata: options.metadata === undefined ? {} : checkMetadata(options.metadata),
      ifAbsent: options.ifAbsent ?? false,
      ifVersion: versionOf(options),
      patience: this.newPatience(options),
      onProgress: options.onProgress,
      beforeLarge: () => this.#checkConditions(name, options),
    });
    return upload.run(source);
  }

  /** Opens a file, whole or a range of it. Throws DfsError: `not-found`, `gone`, `integrity`, `unavailable`, … */
  async get(name: string, options: GetOptions = {}): Promise<ReceivedFile> {
    const { start, end } = options.range ?? { start: 0 };
    checkRange(start, end);
    return openFile(this.#parts.reader, {
      ...this.#readOptions(name, options),
      start,
      end,
      reuseMemory: options.reuseMemory ?? false,
    });
  }

  async stat(name: string, options: StatOptions = {}): Promise<FileStat> {
    const head = await this.#parts.reader.readHead(this.#readOptions(name, options), { start: 0, end: 0 });
    return toStat(head.record);
  }

  /** Throws `not-found` when there is no such file, `conflict` when it has another version. */
  async delete(name: string, options: ChangeOptions = {}): Promise<ChangeReceipt> {
    const ifVersion = versionOf(options);
    return this.#change('delete', { name, options, about: `Deleting ${name}` }, (identity, { slot, term }) => ({
      slot,
      term,
      bucket: this.bucketName,
      name,
      requestId: identity.id,
      ...(ifVersion === undefined ? {} : { ifVersion }),
    }));
  }

  /** Replaces all user metadata; the bytes stay as they are. */
  async setMetadata(
    name: string,
    metadata: Readonly<Record<string, string>>,
    options: MetadataOptions = {},
  ): Promise<ChangeReceipt> {
    const ifVersion = versionOf(options);
    const { contentType } = options;
    checkMetadata(metadata);
    if (contentType !== undefined) checkContentType(contentType);
    const about = `Setting the metadata of ${name}`;
    return this.#change('set-metadata', { name, options, about }, (identity, { slot, term }) => ({
      slot,
      term,
      bucket: this.bucketName,
      name,
      requestId: identity.id,
      metadata,
      ...(contentType === undefined ? {} : { contentType }),
      ...(ifVersion === undefined ? {} : { ifVersion }),
    }));
  }

  /** Names in order of their UTF-8 bytes; each entry is current, the list as a whole is of no one moment. */
  async *list(options: ListOptions = {}): AsyncGenerator<ListEntry> {
    const { prefix = '', after = '', limit = Number.POSITIVE_INFINITY } = options;
    const listing = new Listing(this.#parts.caller, {
      bucket: this.bucketName,
      prefix: checkPosition(prefix),
      after: checkPosition(after),
      limit,
      patience: this.newPatience(options),
    });
    for await (const rows of listing.pages()) {
      for (const row of rows) yield toListEntry(this.bucketName, row);
    }
  }

  async locate(name: string, options: CallOptions = {}): Promise<Location> {
    return this.#locator.locate(this.#readOptions(name, options));
  }

  /** Why the file is where it is, or would go there. */
  async explain(name: string, options: CallOptions = {}): Promise<Explanation> {
    const location = await this.locate(name, options);
    const { map } = await this.#parts.view.known(this.newPatience(options), `Explaining ${name}`);
    const wanted = wantedPlacement(map.peers, map.slots.length, map.pool.replicas);
    const { tokenOwner = null, ...explained } = explainSlot(map, wanted, location.slot);
    return { location, tokenOwner, ...explained };
  }

  /** Reads every copy where it is and has bad ones repaired. Throws `not-found`. */
  async verify(name: string, options: CallOptions = {}): Promise<Verification> {
    const { caller, environment } = this.#parts;
    const parts = { caller, locator: this.#locator, clock: environment.clock, newPatience: this.#patienceFor };
    return new Verifier(parts).verify(this.#readOptions(name, options));
  }

  get #locator(): Locator {
    return new Locator(this.#parts.caller, this.#parts.reader, this.#patienceFor);
  }

  readonly #patienceFor = (timeoutMs: number): Patience => new Patience(this.#parts.environment.clock, { timeoutMs });

  /** What the master knows of the cluster's health. */
  async status(options: CallOptions = {}): Promise<ClusterStatus> {
    const patience = this.newPatience(options);
    const answer = await this.#parts.master.call('status', {}, { patience, about: 'Asking for the status' });
    return fromJson<ClusterStatus>(answer.payload);
  }

  /** Events in order of `seq`, oldest first; empty when none came within `waitMs`. */
  async events(options: EventsOptions = {}): Promise<readonly ClusterEvent[]> {
    const { after = 0, limit = eventsMax, waitMs = 0 } = options;
    const patience = this.newPatience(options);
    const header = { after, limit, waitMs };
    const answer = await this.#parts.master.call('events', header, {
      patience,
      about: 'Asking for events',
      heldMs: waitMs,
    });
    return fromJson<readonly ClusterEvent[]>(answer.payload);
  }

  /** What an operator asks of the cluster. */
  get operations(): ClusterOperations {
    const { master, caller, view } = this.#parts;
    return new ClusterOperations({ master, caller, view }, (options) => this.newPatience(options));
  }

  get checkpoints(): Checkpoints {
    const { master, caller, environment } = this.#parts;
    const { clock, random } = environment;
    return new Checkpoints({ master, caller, clock, random, newPatience: (options) => this.newPatience(options) });
  }

  /** Ends everything under way, for the clients of all buckets. */
  async close(): Promise<void> {
    await this.#parts.view.close();
  }

  /** The time a call has, by its own options or the client's. */
  newPatience(options: CallOptions): Patience {
    const { options: own, environment } = this.#parts;
    return new Patience(environment.clock, {
      timeoutMs: options.timeoutMs ?? own.timeoutMs ?? timing.clientTimeoutMs,
      deadlineMs: options.deadlineMs ?? own.deadlineMs,
      signal: options.signal,
    });
  }

  #readOptions(name: string, options: GetOptions): ReadOptions {
    return {
      bucket: this.bucketName,
      name: checkName(name),
      consistency: options.consistency ?? 'linearizable',
      ifVersion: versionOf(options),
      patience: this.newPatience(options),
      tally: { requests: 0, hedges: 0 },
    };
  }

  /** Spares a large transfer that would be refused at its end; the primary decides again then. */
  async #checkConditions(name: string, options: PutOptions): Promise<void> {
    const { ifAbsent, ifVersion } = options;
    if (!ifAbsent && ifVersion === undefined) return;
    const version = await this.#versionNow(name, options);
    if (ifAbsent && version !== undefined) refuse('conflict', `${name} exists already, with version ${version}`);
    if (ifVersion !== undefined && version !== ifVersion) {
      refuse('conflict', `${name} ${version === undefined ? 'does not exist' : `has version ${version}`}`);
    }
  }

  async #versionNow(name: string, { signal }: PutOptions): Promise<string | undefined> {
    try {
      return (await this.stat(name, signal === undefined ? {} : { signal })).version;
    } catch (error) {
      if (isRefusal(error, 'not-found')) return undefined;
      throw error;
    }
  }

  async #change<N extends 'delete' | 'set-metadata'>(
    message: N,
    change: { name: string; options: ChangeOptions; about: string },
    toHeader: (identity: RequestIdentity, route: Route) => RequestOf<N>,
  ): Promise<ChangeReceipt> {
    const { caller, environment, view } = this.#parts;
    const { name, options, about } = change;
    const startedMs = environment.clock.monotonicMs();
    const identity = new RequestIdentity(view.clock, environment.random);
    const { answer, route, attempts } = await caller.call<N>({
      name: message,
      hash: hashOfName(checkName(name)),
      lane: 'small',
      patience: this.newPatience(options),
      about,
      identity,
      header: (to) => toHeader(identity, to),
    });
    return toChangeReceipt({
      bucket: this.bucketName,
      name,
      slot: route.slot,
      acknowledged: answer.header as Acknowledged,
      others: [],
      attempts,
      durationMs: environment.clock.monotonicMs() - startedMs,
      addressOf: (id) => view.addressOf(id),
    });
  }
}

function toListEntry(bucket: string, row: ListRow): ListEntry {
  const { name, size, version, checksum, contentType, modifiedAtMs, segments } = row;
  return {
    bucket,
    name,
    size,
    version: formatVersion(version),
    checksum: formatChecksum(readU64(checksum)),
    ...(contentType === undefined ? {} : { contentType }),
    modifiedAt: toIsoTime(modifiedAtMs),
    segments,
  };
}

function fromJson<T>(payload: Uint8Array | undefined): T {
  if (payload === undefined) return refuse('failed', 'The master answered nothing');
  return JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8')) as T;
}
