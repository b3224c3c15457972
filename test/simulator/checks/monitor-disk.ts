/**
 * What the monitor knows of one disk: its own record of everything that became durable there, made from what the disk
 * tells, so that neither a cache of the program nor a rotten byte can deceive it.
 */
import {
  type Epoch,
  formatVersion,
  type SlotNumber,
  type StoreId,
  toHex,
  type Version,
} from '../../../src/core/ids.js';
import type { FileId, IndexTable } from '../../../src/core/storage.js';
import { decodeValue, decodeVersion, keyText, type StoredEntry } from '../../../src/peer/entry.js';
import { decodeNumber, slotOfSlotKey } from '../../../src/peer/index-layout.js';
import type { IndexWrite } from '../world/memory-index.js';

export interface HeldEntry {
  readonly version: Version;
  readonly kind: StoredEntry['kind'];
  readonly fileId: FileId | undefined;
  /** As it stands in the index. */
  readonly value: Uint8Array;
}

export interface EntryChange {
  readonly before: HeldEntry | undefined;
  readonly after: HeldEntry | undefined;
}

export interface DiskEvents {
  onEntry(disk: WatchedDisk, key: string, change: EntryChange): void;
  /** A request id stands for a version of a key. */
  onId(key: string, id: { readonly request: string; readonly version: string }): void;
  /** It says which store it is, and which start of its program this is. */
  onStore(disk: WatchedDisk, store: { storeId: StoreId; incarnation: number }): void;
  /** Everything on it goes; the disk still tells what it was. */
  onGone(disk: WatchedDisk): void;
  complain(text: string): void;
}

const kinds = ['record', 'tombstone', 'segment', 'void'] as const;
const sealBytes = 8;
/** What the others hold can be told from these. */
const watched: ReadonlySet<IndexTable> = new Set(['entries', 'promises', 'ids', 'meta']);
const noFile = '0'.repeat(32);

/** A disk may outlive many programs; a wiped one is a new disk under the old name. */
export class WatchedDisk {
  readonly host: string;
  readonly entries = new Map<string, HeldEntry>();
  /** Request ids by the key of their row: the version they stand for, as users see it. */
  readonly ids = new Map<string, string>();
  readonly promises = new Map<SlotNumber, Epoch>();
  readonly files = new Set<FileId>();
  /** Stand for bytes that nobody can read any more. */
  readonly lostFiles = new Set<FileId>();
  storeId: StoreId | undefined;
  incarnation = 0;
  mapEpoch: Epoch = 0;
  /** Of the newest map that a process on this disk took; it need not be durable. */
  takenEpoch: Epoch = 0;
  readonly #everFiles = new Set<FileId>();
  readonly #events: DiskEvents;

  constructor(host: string, events: DiskEvents) {
    this.host = host;
    this.#events = events;
  }

  onIndexDurable(writes: readonly IndexWrite[]): void {
    for (const { table, key, value } of writes) if (watched.has(table)) this.#onWrite(table, keyText(key), value);
  }

  onFileCreated(id: FileId): void {
    if (this.#everFiles.has(id)) this.#events.complain(`${this.host} uses the file id ${id} a second time`);
    this.#everFiles.add(id);
    this.files.add(id);
  }

  onFileRemoved(id: FileId): void {
    this.files.delete(id);
    for (const [key, entry] of this.entries) {
      if (entry.fileId === id) {
        this.#events.complain(`${this.host} removes the file ${id}, which its entry ${nameOfKey(key)} names`);
      }
    }
  }

  onFileBack(id: FileId): void {
    this.files.add(id);
  }

  onWiped(): void {
    this.onIndexLost();
    this.files.clear();
  }

  onIndexLost(): void {
    this.#events.onGone(this);
    this.entries.clear();
    this.ids.clear();
    this.promises.clear();
    this.storeId = undefined;
    this.incarnation = 0;
    this.mapEpoch = 0;
    this.takenEpoch = 0;
  }

  #onWrite(table: IndexTable, key: string, value: Uint8Array | undefined): void {
    switch (table) {
      case 'entries':
        this.#onEntry(key, value);
        break;
      case 'promises':
        this.#onPromise(key, value);
        break;
      case 'ids':
        if (value === undefined) this.ids.delete(key);
        else this.#onId(key, formatVersion(decodeVersion(value.subarray(sealBytes, sealBytes + 16))));
        break;
      case 'meta':
        if (key === 'store' && value !== undefined) this.#onStore(value);
        break;
      default:
        break;
    }
  }

  #onEntry(key: string, value: Uint8Array | undefined): void {
    const before = this.entries.get(key);
    const after = value === undefined ? undefined : toHeld(value);
    if (after === undefined) this.entries.delete(key);
    else this.entries.set(key, after);
    const { fileId } = after ?? {};
    if (fileId !== undefined && !this.files.has(fileId) && !this.lostFiles.has(fileId)) {
      this.#events.complain(
        `The entry ${nameOfKey(key)} on ${this.host} names the file ${fileId}, which is not durable`,
      );
    }
    this.#events.onEntry(this, key, { before, after });
  }

  /** A row's key: number of its table u32, key of the entry, request id in 16 bytes. */
  #onId(row: string, version: string): void {
    this.ids.set(row, version);
    const request = toHex(Buffer.from(row.slice(-16), 'latin1'));
    this.#events.onId(row.slice(4, -16), { request, version });
  }

  #onPromise(key: string, value: Uint8Array | undefined): void {
    const slot = slotOfSlotKey(Buffer.from(key, 'latin1'));
    const before = this.promises.get(slot) ?? 0;
    const promised = value === undefined ? 0 : decodeNumber(value.slice(sealBytes));
    this.promises.set(slot, promised);
    if (promised < before) {
      this.#events.complain(`The promise of ${this.host} for slot ${slot} falls from ${before} to ${promised}`);
    }
  }

  #onStore(value: Uint8Array): void {
    const { storeId, incarnation } = JSON.parse(Buffer.from(value.subarray(sealBytes)).toString('utf8'));
    if (storeId === this.storeId && incarnation < this.incarnation) {
      this.#events.complain(
        `The incarnation of store ${storeId} on ${this.host} falls from ${this.incarnation} to ${incarnation}`,
      );
    }
    this.storeId = storeId;
    this.incarnation = incarnation;
    this.#events.onStore(this, { storeId, incarnation });
  }
}

/** Without its checksum: what a program wrote, not what is left of it. */
function toHeld(value: Uint8Array): HeldEntry {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const fileId = Buffer.from(value.subarray(40, 56)).toString('hex');
  return {
    version: { epoch: Number(view.getBigUint64(16)), counter: Number(view.getBigUint64(24)) },
    kind: kinds[value[9] ?? 0] ?? 'record',
    fileId: fileId === noFile ? undefined : fileId,
    value,
  };
}

/** The whole entry. */
export function entryOf(key: string, held: HeldEntry): StoredEntry | undefined {
  const found = decodeValue(Buffer.from(key, 'latin1'), held.value);
  return found.state === 'present' ? found.entry : undefined;
}

/** For people: the part of an entry's key behind its hash. */
export function nameOfKey(key: string): string {
  const kind = kinds[[0, 2, 3][key.charCodeAt(8)] ?? 0];
  const rest = key.slice(9);
  return kind === 'segment' ? `segment ${Buffer.from(rest, 'latin1').toString('hex')}` : JSON.stringify(rest);
}
