/**
 * Stored files that no entry names because the index that did is lost: what a new store in an old folder need not have
 * sent to it again.
 *
 * The header of each is read before the store is filled. When a primary has bytes to copy that one of them says it
 * holds, that file is read whole and compared with the primary's checksums, and only then does an entry name it: to lie
 * here proves nothing. What was of no use for as long as the quarantine is left to the sweeper: until then it may be
 * the last copy of something. Serves S1, S5, S7.
 */
import type { ClusterMap } from '../cluster/map.js';
import { defer } from '../core/deferred.js';
import { type Environment, sleep } from '../core/environment.js';
import { fromHex, toHex } from '../core/ids.js';
import type { ByteStore, FileId, IndexStore } from '../core/storage.js';
import { inParallel } from './comparison.js';
import { type Copies, identityOf } from './copies.js';
import type { Entry, Placed } from './entry.js';
import { seal } from './index-layout.js';
import { readHeader, type SegmentIdentity } from './segment-file.js';

export interface SalvageParts {
  readonly environment: Environment;
  readonly store: IndexStore;
  readonly bytes: ByteStore;
  readonly copies: Copies;
  currentMap(): ClusterMap | undefined;
}

const filesAtOnce = 500;
const parallelReads = 16;
/** Shorter than a primary waits for an answer; it copies what is not found by then. */
const longestWaitMs = 10_000;

const stateKey = new TextEncoder().encode('salvage');

/** Says of a new index that the folder may hold files of one before it. */
export async function expectSalvage(store: IndexStore): Promise<void> {
  await store.transact((transaction) => transaction.put('meta', stateKey, seal(stateKey, new Uint8Array(0))));
}

export class Salvage {
  readonly #parts: SalvageParts;
  readonly #files = new Map<string, FileId[]>();
  readonly #walked = defer<void>();
  #state: 'unknown' | 'known' | 'none';
  #usedAtMs: number;
  #isStopped = false;

  constructor(parts: SalvageParts) {
    this.#parts = parts;
    this.#state = parts.store.get('meta', stateKey) === undefined ? 'none' : 'unknown';
    this.#usedAtMs = parts.environment.clock.monotonicMs();
  }

  /** Whether a file that no entry names may be of use yet. */
  get isOpen(): boolean {
    return this.#state !== 'none';
  }

  /** To be called every second. */
  async look(): Promise<void> {
    if (this.#state === 'unknown') await this.#walk();
    const { environment, currentMap } = this.#parts;
    const quarantineMs = currentMap()?.quarantineMs ?? Infinity;
    const idleMs = environment.clock.monotonicMs() - this.#usedAtMs;
    if (this.#state === 'known' && (this.#files.size === 0 || idleMs >= quarantineMs)) await this.#close();
  }

  /** The walk under way ends soon, and whoever waits for it is told that nothing is here. */
  stop(): void {
    this.#isStopped = true;
    this.#walked.resolve();
  }

  /** The entry's bytes in one of the files, verified and durable; undefined when they are in none. */
  async adopt(entry: Entry, sums: Uint8Array): Promise<Placed | undefined> {
    const { environment, store, copies } = this.#parts;
    if (entry.kind !== 'record' && entry.kind !== 'segment') return undefined;
    if (this.#state === 'unknown') await Promise.race([this.#walked.promise, sleep(environment.clock, longestWaitMs)]);
    for (const file of this.#files.get(textOf(identityOf(entry))) ?? []) {
      // One that was adopted and replaced since is about to be removed.
      if (store.get('files', fromHex(file)) !== undefined) continue;
      const placed = await copies.adopt(entry, file, sums);
      if (placed !== undefined) {
        this.#usedAtMs = environment.clock.monotonicMs();
        return placed;
      }
      environment.log.warn({ file }, 'a file of the lost index is not as its primary has it: it is copied');
    }
    return undefined;
  }

  async #walk(): Promise<void> {
    const { environment, store, bytes, copies } = this.#parts;
    for (let after: FileId | undefined; !this.#isStopped; ) {
      const page = await bytes.list(after, filesAtOnce);
      after = page.at(-1)?.id;
      if (after === undefined) break;
      const unnamed = page.filter(({ id }) => store.get('files', fromHex(id)) === undefined && !copies.isStaged(id));
      await inParallel(unnamed, parallelReads, async ({ id }) => {
        const header = await readHeader(bytes, id);
        if (header === undefined) return;
        const text = textOf(header.identity);
        this.#files.set(text, [...(this.#files.get(text) ?? []), id]);
      });
    }
    if (this.#isStopped) return;
    this.#state = 'known';
    this.#usedAtMs = environment.clock.monotonicMs();
    this.#walked.resolve();
    if (this.#files.size > 0) environment.log.info({ segments: this.#files.size }, 'files of a lost index were found');
  }

  async #close(): Promise<void> {
    this.#state = 'none';
    this.#files.clear();
    await this.#parts.store.transact((transaction) => transaction.delete('meta', stateKey));
  }
}

function textOf({ uploadId, index }: SegmentIdentity): string {
  return `${toHex(uploadId)} ${index}`;
}
