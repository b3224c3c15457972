/**
 * Opens a peer's data folder: which store it is, and the incarnation of this start.
 *
 * The folder knows its cluster, peer and store. A folder whose index is lost or unreadable is a *new store*, whatever
 * else it holds: it must not come back with its old standing (S1); what its files are worth, salvage.ts knows. The
 * incarnation is durable before anything is said to anyone.
 */
import type { Log, Random } from '../core/environment.js';
import { refuse, StorageFailure } from '../core/errors.js';
import { type ClusterId, type PeerId, type StoreId, toHex } from '../core/ids.js';
import type { IndexStore, SmallFiles } from '../core/storage.js';
import { Identity } from './identity.js';
import { seal, unseal } from './index-layout.js';
import { expectSalvage } from './salvage.js';

export interface FolderParts {
  readonly files: SmallFiles;
  readonly random: Random;
  readonly log: Log;
  openIndex(): Promise<{ state: 'open'; index: IndexStore } | { state: 'absent' } | { state: 'lost'; reason: string }>;
  createIndex(): Promise<IndexStore>;
  setAsideIndex(): Promise<void>;
}

export interface OpenedFolder {
  readonly identity: Identity;
  readonly index: IndexStore;
  /** Writes down the place the master gave; resolves when durable. */
  saveJoined(clusterId: ClusterId, peerId: PeerId): Promise<void>;
}

interface Saved {
  readonly format: number;
  readonly storeId: StoreId;
  readonly incarnation: number;
  readonly clusterId?: ClusterId;
  readonly peerId?: PeerId;
}

const fileName = 'store.json';
const metaKey = Buffer.from('store');
const format = 1;

export async function openDataFolder(parts: FolderParts): Promise<OpenedFolder> {
  const fromFile = parse(await parts.files.read(fileName), parts.log);
  const found = await parts.openIndex();
  const opened = found.state === 'open' ? { index: found.index, saved: readMeta(found.index) } : undefined;
  const known = fromFile ?? opened?.saved;
  const rotten = opened === undefined ? undefined : rottenTable(opened.index);
  if (opened?.saved !== undefined && known?.storeId === opened.saved.storeId && rotten === undefined) {
    const incarnation = Math.max(known.incarnation, opened.saved.incarnation) + 1;
    return save(parts, opened.index, { ...known, incarnation });
  }
  if (found.state !== 'absent') {
    const reason = found.state === 'lost' ? found.reason : (rotten ?? 'the index belongs to another store');
    parts.log.warn(
      { reason },
      'the index is lost: this folder becomes a new store, to be filled from the other copies',
    );
    await opened?.index.close();
    await parts.setAsideIndex();
  } else if (known !== undefined) {
    parts.log.warn({}, 'the index is gone: this folder becomes a new store, to be filled from the other copies');
  }
  const incarnation = (known?.incarnation ?? 0) + 1;
  const place = {
    ...(known?.clusterId && { clusterId: known.clusterId }),
    ...(known?.peerId && { peerId: known.peerId }),
  };
  const index = await parts.createIndex();
  await expectSalvage(index);
  return save(parts, index, {
    format,
    storeId: toHex(parts.random.bytes(16)),
    incarnation,
    ...place,
  });
}

async function save(parts: FolderParts, index: IndexStore, saved: Saved): Promise<OpenedFolder> {
  await write(parts, index, saved);
  const identity = new Identity(saved);
  return {
    identity,
    index,
    async saveJoined(clusterId, peerId): Promise<void> {
      if (identity.clusterId === clusterId && identity.peerId === peerId) return;
      await write(parts, index, { ...saved, clusterId, peerId });
      identity.onJoined(clusterId, peerId);
    },
  };
}

/** Into the index too, so that either tells whose folder it is when the other is lost. */
async function write(parts: FolderParts, index: IndexStore, saved: Saved): Promise<void> {
  const bytes = Buffer.from(`${JSON.stringify(saved)}\n`);
  await index.transact((transaction) => transaction.put('meta', metaKey, seal(metaKey, bytes)));
  await parts.files.replace(fileName, bytes);
}

/** A sentence when a row is bad without which nothing can be promised: such an index is as good as lost. */
function rottenTable(index: IndexStore): string | undefined {
  for (const table of ['meta', 'promises', 'digests'] as const) {
    const rows = index.range(table, { from: new Uint8Array(0) });
    if (rows.some(([key, value]) => unseal(key, value) === undefined)) {
      return `a row of its table ${table} does not match its checksum`;
    }
  }
  return undefined;
}

function readMeta(index: IndexStore): Saved | undefined {
  const value = index.get('meta', metaKey);
  const content = value === undefined ? undefined : unseal(metaKey, value);
  return content === undefined ? undefined : toSaved(Buffer.from(content).toString('utf8'));
}

function parse(bytes: Uint8Array | undefined, log: Log): Saved | undefined {
  if (bytes === undefined) return undefined;
  const saved = toSaved(Buffer.from(bytes).toString('utf8'));
  if (saved === undefined) log.warn({ file: fileName }, 'the file that names this store is unreadable');
  return saved;
}

function toSaved(text: string): Saved | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const saved = value as Partial<Record<keyof Saved, unknown>>;
  if (typeof saved.format === 'number' && saved.format > format) {
    refuse('wrong-version', `The data folder has format ${saved.format}; this version knows up to ${format}`, {
      advice: 'Install a newer dfs, or use another folder',
    });
  }
  if (typeof saved.storeId !== 'string' || !/^[0-9a-f]{32}$/.test(saved.storeId)) return undefined;
  if (!Number.isSafeInteger(saved.incarnation)) throw new StorageFailure('The data folder has no incarnation');
  const { clusterId, peerId } = saved;
  return {
    format,
    storeId: saved.storeId,
    incarnation: Number(saved.incarnation),
    ...(typeof clusterId === 'string' ? { clusterId } : {}),
    ...(typeof peerId === 'string' ? { peerId } : {}),
  };
}
