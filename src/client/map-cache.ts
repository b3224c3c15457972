/**
 * The last known cluster map on disk, so that a fresh process finds the peers while no master answers, and with it the
 * offset of the cluster's clock.
 *
 * Only a help: an unreadable, corrupt or unwritable cache is the same as none. One file per list of masters; layout:
 * "dfsmap", format 1 (2 bytes), xxh64 of what follows (8 bytes), offset in ms (float64), the encoded map.
 */
import type { ClusterMap } from '../cluster/map.js';
import { xxh64 } from '../core/checksum.js';
import type { Log } from '../core/environment.js';
import type { Address } from '../core/ids.js';
import type { SmallFiles } from '../core/storage.js';
import { decodeMap, encodeMap } from '../protocol/map-codec.js';

const magic = Buffer.from('dfsmap\x00\x01', 'latin1');
const offsetAt = magic.length + 8;
const mapAt = offsetAt + 8;

export interface CachedMap {
  readonly map: ClusterMap;
  readonly clockAheadMs: number;
}

export function cacheFileName(masters: readonly Address[]): string {
  const hash = xxh64(Buffer.from([...masters].sort().join(','), 'utf8'));
  return `map-${hash.toString(16).padStart(16, '0')}`;
}

export function encodeCachedMap(cached: CachedMap): Uint8Array {
  const map = encodeMap(cached.map);
  const file = new Uint8Array(mapAt + map.length);
  const view = new DataView(file.buffer);
  file.set(magic);
  view.setFloat64(offsetAt, cached.clockAheadMs);
  file.set(map, mapAt);
  view.setBigUint64(magic.length, xxh64(file.subarray(offsetAt)));
  return file;
}

/** Undefined when the bytes are not what this version wrote. Throws when the map inside is malformed. */
export function decodeCachedMap(file: Uint8Array): CachedMap | undefined {
  if (file.length < mapAt || Buffer.compare(file.subarray(0, magic.length), magic) !== 0) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getBigUint64(magic.length) !== xxh64(file.subarray(offsetAt))) return undefined;
  const clockAheadMs = view.getFloat64(offsetAt);
  return Number.isFinite(clockAheadMs) ? { map: decodeMap(file.subarray(mapAt)), clockAheadMs } : undefined;
}

export class MapCache {
  readonly #files: SmallFiles | undefined;
  readonly #name: string;
  readonly #log: Log;
  #next: CachedMap | undefined;
  #saving: Promise<void> | undefined;

  /** Without files nothing is kept. */
  constructor(files: SmallFiles | undefined, masters: readonly Address[], log: Log) {
    this.#files = files;
    this.#name = cacheFileName(masters);
    this.#log = log;
  }

  async load(): Promise<CachedMap | undefined> {
    if (this.#files === undefined) return undefined;
    try {
      const file = await this.#files.read(this.#name);
      if (file === undefined) return undefined;
      const cached = decodeCachedMap(file);
      if (cached === undefined) this.#log.debug({ file: this.#name }, 'The cached cluster map is corrupt; ignored');
      return cached;
    } catch (error) {
      this.#log.debug({ file: this.#name, err: error }, 'The cached cluster map cannot be read; ignored');
      return undefined;
    }
  }

  /** Writes in the background; the newest of what is given meanwhile is written next. */
  save(cached: CachedMap): void {
    if (this.#files === undefined) return;
    this.#next = cached;
    this.#saving ??= this.#write(this.#files);
  }

  /** Resolves when nothing is left to write. */
  async settled(): Promise<void> {
    await this.#saving;
  }

  async #write(files: SmallFiles): Promise<void> {
    while (this.#next !== undefined) {
      const cached = this.#next;
      this.#next = undefined;
      try {
        await files.replace(this.#name, encodeCachedMap(cached));
      } catch (error) {
        this.#log.debug({ file: this.#name, err: error }, 'The cluster map cannot be cached; going on without');
      }
    }
    this.#saving = undefined;
  }
}
