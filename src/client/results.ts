/**
 * What the calls of the library take and return: the plain values of docs and `--json`.
 *
 * Versions are text ("epoch.counter") that can be passed back as `ifVersion`; times are ISO 8601 in UTC; checksums are
 * "xxh64:" and 16 hex digits, comparable to `xxhsum -H64`.
 */
import type { Address, PeerId } from '../core/ids.js';
import type { ReplyOf } from '../protocol/messages.js';

export interface PeerAddress {
  readonly id: PeerId;
  readonly address: Address;
}

export interface Copies {
  /** Members of the committed in-sync set that answered durable: the least over the record and all segments. */
  readonly durable: number;
  readonly wanted: number;
}

/** The acknowledgement of a change: where it is kept and how many copies were on stable storage by then. */
export interface ChangeReceipt {
  readonly bucket: string;
  readonly name: string;
  readonly version: string;
  readonly slot: number;
  readonly slotEpoch: number;
  readonly primary: PeerAddress;
  readonly backups: readonly PeerAddress[];
  readonly copies: Copies;
  readonly degraded: boolean;
  /** The most attempts that one of its requests took. */
  readonly attempts: number;
  readonly durationMs: number;
}

/** The acknowledgement of a stored file. */
export interface Receipt extends ChangeReceipt {
  readonly size: number;
  readonly segments: number;
  readonly checksum: string;
}

export interface FileStat {
  readonly bucket: string;
  readonly name: string;
  readonly version: string;
  readonly size: number;
  readonly checksum: string;
  readonly segments: number;
  readonly segmentBytes: number;
  readonly contentType?: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly createdAt: string;
  readonly modifiedAt: string;
}

export interface ListEntry {
  readonly bucket: string;
  readonly name: string;
  readonly size: number;
  readonly version: string;
  readonly checksum: string;
  readonly contentType?: string;
  readonly modifiedAt: string;
  readonly segments: number;
}

/**
 * Anything that yields bytes: a Readable is one. Strings are stored as UTF-8. The memory of a piece may be used again
 * when the next is asked for.
 */
export type Source = Uint8Array | string | AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Longest time without progress, instead of the client's. */
  readonly timeoutMs?: number;
  /** Longest time for the whole call, instead of the client's. */
  readonly deadlineMs?: number;
}

export interface ChangeOptions extends CallOptions {
  /** Refused `conflict` unless the file has exactly this version. */
  readonly ifVersion?: string;
}

export interface PutOptions extends ChangeOptions {
  /** When given, the source must have exactly so many bytes, or the call fails and the old version stays. */
  readonly size?: number;
  readonly contentType?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Refused `conflict` when the name exists. */
  readonly ifAbsent?: boolean;
  /** 1–16 MiB, a whole number of blocks of 64 KiB. */
  readonly segmentBytes?: number;
  /** Called with the bytes of the source that are stored so far. */
  readonly onProgress?: (storedBytes: number) => void;
}

export interface MetadataOptions extends ChangeOptions {
  /** Replaces the content type too. */
  readonly contentType?: string;
}

export type Consistency = 'linearizable' | 'any';

export interface StatOptions extends CallOptions {
  readonly consistency?: Consistency;
}

export interface GetOptions extends StatOptions {
  /** Bytes `start` to `end` − 1; to the end of the file without `end`. An `end` beyond the file is cut to it. */
  readonly range?: { readonly start: number; readonly end?: number };
  /** Refused `gone` when the file has another version. */
  readonly ifVersion?: string;
  /**
   * Each piece of the body is valid only until the next one is asked for; its memory is then used again. For readers
   * that are done with a piece by then, such as one that writes to a file: a large transfer takes far less memory.
   */
  readonly reuseMemory?: boolean;
}

/** An opened file. Its body keeps the version it began with, or ends with the refusal `gone`. */
export interface ReceivedFile {
  readonly stat: FileStat;
  /** The bytes that the body holds, `end` exclusive. */
  readonly range: { readonly start: number; readonly end: number };
  /** False when `consistency: 'any'` read what may yet be rolled back. */
  readonly acknowledged: boolean;
  /** Can be read once. Every piece is verified before it is yielded. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Of what was read so far: requests, and how many of them asked a second holder because the first was late. */
  readonly tally: { readonly requests: number; readonly hedges: number };
  /** The whole body in memory. */
  bytes(): Promise<Uint8Array>;
}

export interface ListOptions extends CallOptions {
  readonly prefix?: string;
  /** Only names after this one, in order of UTF-8 bytes. */
  readonly after?: string;
  readonly limit?: number;
}

export type CopyState = 'ok' | 'missing' | 'damaged' | 'unreachable' | 'unknown';

export interface SegmentCopy extends PeerAddress {
  readonly role: 'primary' | 'backup' | 'joining';
  readonly state: CopyState;
}

export interface SegmentLocation {
  readonly index: number;
  readonly slot: number;
  readonly size: number;
  readonly copies: readonly SegmentCopy[];
}

export interface Location {
  readonly bucket: string;
  readonly name: string;
  readonly hash: string;
  readonly slot: number;
  readonly slotEpoch: number;
  readonly primary: PeerAddress | null;
  readonly backups: readonly PeerAddress[];
  readonly exists: boolean;
  readonly version?: string;
  readonly segments: readonly SegmentLocation[];
}

/** Why a file is where it is. */
export interface Explanation {
  readonly location: Location;
  readonly placementCase: 'token' | 'last' | 'bound' | 'nobody';
  /** Whose token is next on the ring; null when nobody has any. */
  readonly tokenOwner: PeerId | null;
  readonly wanted: readonly PeerId[];
  readonly reasons: readonly string[];
}

export interface BadCopy extends PeerAddress {
  /** Of the segment; 0 is the record and the first bytes. */
  readonly index: number;
  readonly state: Exclude<CopyState, 'ok'>;
}

/** What reading every copy of a file found. */
export interface Verification {
  readonly bucket: string;
  readonly name: string;
  readonly version: string;
  readonly copies: number;
  readonly bad: readonly BadCopy[];
  /** Those that could not be repaired by now; unreachable and unknown ones are not among them. */
  readonly left: readonly BadCopy[];
}

export interface PeerStatus {
  readonly id: PeerId;
  readonly address: Address;
  readonly zone: string;
  readonly weight: number;
  /** Of a peer that runs, what is wanted of it: `draining` or `maintenance`. */
  readonly state: 'up' | 'suspect' | 'down' | 'draining' | 'maintenance' | 'set-aside' | 'removed' | 'awaited';
  readonly mode: 'normal' | 'draining' | 'maintenance' | 'set-aside';
  /** Down for so long that its copies are being made anew on others. */
  readonly isOut: boolean;
  readonly storeId: string;
  readonly incarnation: number;
  readonly primarySlots: number;
  readonly backupSlots: number;
  readonly joiningSlots: number;
  /** These are null until the running master has heard of the peer. */
  readonly files: number | null;
  readonly bytes: number | null;
  /** For checkpoints alone: their indexes, and bytes that only they name. */
  readonly keptBytes: number | null;
  readonly freeBytes: number | null;
  readonly totalBytes: number | null;
  /** `soft-full`: nothing moves there, missing copies are made. `full`: no copies; below its reserve no writes. */
  readonly fullness: 'roomy' | 'soft-full' | 'full' | null;
  /** Far slower than the others: it is read last. */
  readonly isSlow: boolean;
  /** In milliseconds, over the last half minute; null while too little was done to tell. */
  readonly latency: {
    readonly readMedianMs: number | null;
    readonly readP99Ms: number | null;
    readonly syncMedianMs: number | null;
    readonly syncP99Ms: number | null;
    readonly pingP99Ms: number | null;
  };
  /** Copies on it known to be bad. */
  readonly damaged: number | null;
  /** Every copy on it was read and verified since then, ISO 8601; null before the first whole pass. */
  readonly verifiedSince: string | null;
  readonly lastHeardMs: number | null;
}

export interface ClusterStatus {
  /** Null before the first peer has joined. */
  readonly clusterId: string | null;
  readonly epoch: number;
  readonly health: 'healthy' | 'degraded' | 'unavailable';
  readonly reasons: readonly string[];
  readonly replicas: number;
  readonly minInSync: number;
  readonly uptimeSeconds: number;
  readonly files: number;
  readonly bytes: { readonly logical: number; readonly stored: number };
  readonly master: { readonly address: Address };
  readonly peers: readonly PeerStatus[];
  readonly slots: {
    readonly total: number;
    readonly whole: number;
    readonly degraded: number;
    readonly unavailable: number;
  };
  readonly repair: {
    readonly slotsLeft: number;
    readonly bytesLeft: number;
    readonly bytesPerSecond: number;
    readonly etaSeconds: number | null;
    /** Copies that failed again and again, the worst first. */
    readonly failing: readonly {
      readonly slot: number;
      readonly peer: PeerId;
      readonly times: number;
      readonly againInMs: number;
    }[];
  };
  readonly moves: {
    /** Slots that are not where they should be, or not led by whom they should be. */
    readonly slotsLeft: number;
    readonly isPaused: boolean;
  };
  /** How many there are, and what is kept for them alone. */
  readonly checkpoints: { readonly count: number; readonly keptBytes: number };
}

/** A copy of the whole cluster's files as they were. */
export interface Checkpoint {
  readonly id: string;
  /** ISO 8601: every write acknowledged before is in it; null where only peers know of it. */
  readonly at: string | null;
  readonly state: 'making' | 'complete' | 'incomplete' | 'removing';
  /** Made by the clock, and removed by it. */
  readonly isTimed: boolean;
  /** Who has a part of it; of one that is being removed, who has yet to say that it is gone. */
  readonly peers: readonly PeerId[];
  /** Slots of which no part holds all. */
  readonly missingSlots: readonly number[];
  /** Why it is incomplete. */
  readonly reasons: readonly string[];
}

/** A file of a checkpoint. */
export interface CheckpointEntry {
  readonly bucket: string;
  readonly name: string;
  /** 0 where its row in the list was damaged. */
  readonly size: number;
}

/** What a change of the cluster moves. */
export interface Moves {
  readonly slots: number;
  readonly copies: number;
  /** No placement with the same shares moves fewer copies. */
  readonly leastCopies: number;
  readonly bytes: number;
  /** Null while nothing was copied lately that would tell, and no repair-speed is set. */
  readonly etaSeconds: number | null;
  readonly peers: readonly { readonly id: PeerId; readonly copiesIn: number; readonly bytesIn: number }[];
}

export interface ClusterChange {
  readonly isDryRun: boolean;
  /** False: it was so already. */
  readonly isChanged: boolean;
  readonly epoch: number;
  readonly moves: Moves;
}

export interface Harm {
  readonly slots: number;
  readonly slotNumbers: readonly number[];
  readonly files: number;
  readonly bytes: number;
}

/** How far a peer is with reading all its copies. */
export interface ScrubState extends ReplyOf<'scrub'> {
  readonly peer: PeerId;
}

export interface WhatIf {
  readonly stop: readonly PeerId[];
  readonly unreadable: Harm;
  readonly unwritable: Harm;
  readonly lost: Harm;
}

export interface ClusterEvent {
  readonly seq: number;
  readonly at: string;
  readonly epoch: number;
  readonly kind: string;
  readonly peer?: PeerId;
  readonly slots?: readonly number[];
  readonly text: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface EventsOptions extends CallOptions {
  /** Only events with a higher `seq`. */
  readonly after?: number;
  readonly limit?: number;
  /** Wait so long for one when there is none yet; at most a minute. */
  readonly waitMs?: number;
}
