/**
 * Holds the real storage to the contracts.
 */
import { join } from 'node:path';
import { type ByteFiles, openByteFiles } from '../../src/io/byte-files.js';
import { createIndex, openIndex } from '../../src/io/lmdb-index.js';
import { openSmallFiles } from '../../src/io/small-files.js';
import { byteStoreContract } from './byte-store-contract.js';
import { indexStoreContract } from './index-store-contract.js';
import { smallFilesContract } from './small-files-contract.js';
import { temporaryFolder } from './temporary-folder.js';

indexStoreContract('LMDB', async () => {
  const folder = temporaryFolder();
  const path = join(folder.path, 'index.mdb');
  const options = { noSpaceBelowBytes: 0 };
  return {
    async open() {
      const found = await openIndex(path, options);
      if (found.state === 'open') return found.index;
      if (found.state === 'absent') return createIndex(path, options);
      throw new Error(`The index is lost: ${found.reason}`);
    },
    dispose: () => folder.remove(),
  };
});

byteStoreContract('A folder of files', async () => {
  const folder = temporaryFolder();
  const opened: ByteFiles[] = [];
  return {
    async open() {
      const store = await openByteFiles(join(folder.path, 'bytes'));
      opened.push(store);
      return store;
    },
    async dispose() {
      await Promise.all(opened.map((store) => store.close()));
      await folder.remove();
    },
  };
});

smallFilesContract('A folder', async () => {
  const folder = temporaryFolder();
  return { open: async () => openSmallFiles(folder.path), dispose: () => folder.remove() };
});
