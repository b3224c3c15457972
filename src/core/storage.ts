/**
 * What a peer or master asks of its disk. One contract suite (test/contract) holds for the real and the simulated one.
 */

/** The tables of a peer's index; src/peer/index-layout.ts says what stands in each. */
export const indexTables = [
  'meta',
  'entries',
  'names',
  'ids',
  'id-digests',
  'digests',
  'promises',
  'files',
  'sweeps',
  'surplus',
  'damaged',
] as const;
export type IndexTable = (typeof indexTables)[number];

export interface RangeOptions {
  /** Inclusive. */
  readonly from: Uint8Array;
  /** Exclusive; to the end of the table when absent. */
  readonly to?: Uint8Array;
  readonly limit?: number;
  /**
   * The answer ends with the row that brings its keys and values to this size, so that a page holds the loop briefly.
   */
  readonly bytesMax?: number;
  /** The answer begins with the last row and goes backwards. */
  readonly reverse?: boolean;
}

export interface IndexReader {
  get(table: IndexTable, key: Uint8Array): Uint8Array | undefined;
  /** In byte order of keys, or against it. The whole answer is read at once: callers bound it with `limit`. */
  range(table: IndexTable, options: RangeOptions): readonly (readonly [key: Uint8Array, value: Uint8Array])[];
  keys(table: IndexTable, options: RangeOptions): readonly Uint8Array[];
}

export interface IndexTransaction extends IndexReader {
  put(table: IndexTable, key: Uint8Array, value: Uint8Array): void;
  delete(table: IndexTable, key: Uint8Array): void;
}

/**
 * An ordered, durable key-value store. Reads outside a transaction see durable state only (rule F4). Keys and values
 * returned are the caller's to keep, and no Buffers, so that a `slice` of them is a copy.
 */
export interface IndexStore extends IndexReader {
  /**
   * Runs `body` inside a write transaction and resolves with its result once that is durable. Bodies run in the order
   * they were given and may share one commit. A body reads first, decides, and writes last: what it has written is
   * **not** undone when it throws. Throws StorageFailure when the commit fails (fatal), DfsError `no-space` when the
   * disk is full and the commit had no effect.
   */
  transact<T>(body: (transaction: IndexTransaction) => T): Promise<T>;
  close(): Promise<void>;
}

/** Copies of an index as it once was, each an index of its own under a name. */
export interface IndexCopies {
  /** The finished ones, in order of name. */
  list(): Promise<readonly string[]>;
  /** What another copy takes at most. */
  sizeOfNext(): Promise<number>;
  /**
   * Copies one durable state of the index, of some moment during the call; writes go on meanwhile. Resolves when the
   * copy is durable; it is gone after a restart unless it was finished. Throws DfsError `no-space` or StorageFailure.
   */
  make(name: string): Promise<IndexStore>;
  /** Of a copy that was closed. Resolves when it will be there after a restart. */
  finish(name: string): Promise<void>;
  /** A finished copy; undefined when it cannot be read. */
  open(name: string): Promise<IndexStore | undefined>;
  /** Bytes on the disk. */
  sizeOf(name: string): Promise<number>;
  /** Of a copy that is closed, finished or not, if it is there. Resolves when it will not come back. */
  remove(name: string): Promise<void>;
}

/** 32 hex digits, random, never reused. */
export type FileId = string;

export interface ByteStore {
  /**
   * Creates the file exclusively and resolves when header, bytes and the folder entry are durable. Throws DfsError
   * `no-space` (the partial file is removed) or StorageFailure (fatal).
   */
  create(id: FileId, header: Uint8Array, bytes: Uint8Array): Promise<void>;
  /**
   * Resolves when a file that is there already is durable, with its folder entry: whoever made it may have died before
   * it was. Refuses `integrity` when there is no such regular file. Throws StorageFailure (fatal).
   */
  sync(id: FileId): Promise<void>;
  /**
   * Reads up to `length` bytes from `offset`, fewer at the end of the file; undefined when there is no such regular
   * file (a link, folder or pipe in its place is never followed). Throws DfsError `integrity` on a read error. The
   * memory is the caller's, who may give it back (core/payload-memory.ts).
   */
  read(id: FileId, range: { offset: number; length: number }): Promise<Uint8Array | undefined>;
  sizeOf(id: FileId): Promise<number | undefined>;
  remove(id: FileId): Promise<void>;
  /** Files present, a page at a time in order of id; an empty page ends it. */
  list(after: FileId | undefined, limit: number): Promise<readonly { id: FileId; modifiedAtMs: number }[]>;
  space(): Promise<{ freeBytes: number; totalBytes: number }>;
}

/** A folder of small files that are replaced in one step: temp, fsync, rename, fsync of the folder. */
export interface SmallFiles {
  read(name: string): Promise<Uint8Array | undefined>;
  /** Resolves when durable. */
  replace(name: string, content: Uint8Array): Promise<void>;
}
