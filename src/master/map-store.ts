/**
 * Where the cluster map is kept: load, compare-and-set by epoch, watch.
 *
 * The embedded store keeps one file on the master's disk. An absent file is an empty store; a damaged one is never
 * mistaken for that: the master does not start. Any number of masters over one shared store would be harmless, because
 * each change is one compare-and-set.
 */
import type { ClusterMap } from '../cluster/map.js';
import { DaemonStop, DfsError, exitCodes } from '../core/errors.js';
import type { Epoch } from '../core/ids.js';
import type { SmallFiles } from '../core/storage.js';
import { decodeMap, encodeMap } from '../protocol/map-codec.js';
import { readSealed, replaceSealed } from './sealed-file.js';

export interface MapStore {
  /** The newest map, or undefined when the store is empty. Throws DaemonStop when what is there cannot be read. */
  load(): Promise<ClusterMap | undefined>;
  /**
   * Stores `map` if the newest one has epoch `expected` (undefined: if the store is empty); resolves, when it is
   * durable, with whether it did.
   */
  compareAndSet(expected: Epoch | undefined, map: ClusterMap): Promise<boolean>;
  /** Calls `onChange` with every map that became durable; returns how to stop that. */
  watch(onChange: (map: ClusterMap) => void): () => void;
}

export const mapFile = 'cluster-map';

export function embeddedMapStore(files: SmallFiles): MapStore {
  const watchers = new Set<(map: ClusterMap) => void>();
  let newest: ClusterMap | undefined;
  return {
    async load() {
      const content = await readSealed(files, mapFile);
      newest = content === undefined ? undefined : decodeStored(content);
      return newest;
    },
    async compareAndSet(expected, map) {
      if (newest?.epoch !== expected) return false;
      await replaceSealed(files, mapFile, encodeMap(map));
      newest = map;
      for (const onChange of watchers) onChange(map);
      return true;
    },
    watch(onChange) {
      watchers.add(onChange);
      return () => void watchers.delete(onChange);
    },
  };
}

function decodeStored(content: Uint8Array): ClusterMap {
  try {
    return decodeMap(content);
  } catch (error) {
    if (!(error instanceof DfsError)) throw error;
    throw new DaemonStop(exitCodes.storage, `The file ${mapFile} in the data folder holds no map: ${error.message}`);
  }
}
