/**
 * The stores of src/io in one folder.
 */
import { join } from 'node:path';
import type { IndexStore } from '../../src/core/storage.js';
import { openByteFiles } from '../../src/io/byte-files.js';
import { createIndex, openIndex } from '../../src/io/lmdb-index.js';
import { openSmallFiles } from '../../src/io/small-files.js';
import type { Stores } from './crash-script.js';

/** The index at `path`, made when there is none. */
export async function openRealIndex(path: string): Promise<IndexStore> {
  const options = { noSpaceBelowBytes: 0 };
  const found = await openIndex(path, options);
  if (found.state === 'open') return found.index;
  if (found.state === 'absent') return createIndex(path, options);
  throw new Error(`The index is lost: ${found.reason}`);
}

export async function openRealStores(folder: string): Promise<{ stores: Stores; close(): Promise<void> }> {
  const index = await openRealIndex(join(folder, 'index.mdb'));
  const bytes = await openByteFiles(join(folder, 'bytes'));
  return {
    stores: { index, bytes, files: openSmallFiles(folder) },
    async close(): Promise<void> {
      await index.close();
      await bytes.close();
    },
  };
}
