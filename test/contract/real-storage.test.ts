/**
 * Holds the real storage to the contracts. Its processes can be killed; the power of its machine cannot be cut.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type ByteFiles, openByteFiles } from '../../src/io/byte-files.js';
import { openIndexCopies } from '../../src/io/lmdb-copies.js';
import { openSmallFiles } from '../../src/io/small-files.js';
import { byteStoreContract } from './byte-store-contract.js';
import { compileInto } from './compiled.js';
import { type CrashHarness, crashContract } from './crash-contract.js';
import type { Report, Script } from './crash-script.js';
import { indexCopiesContract } from './index-copies-contract.js';
import { indexStoreContract } from './index-store-contract.js';
import { openRealIndex, openRealStores } from './real-stores.js';
import { Seeded } from './seeded.js';
import { smallFilesContract } from './small-files-contract.js';
import { temporaryFolder } from './temporary-folder.js';

indexStoreContract('LMDB', async () => {
  const folder = temporaryFolder();
  return {
    open: () => openRealIndex(join(folder.path, 'index.mdb')),
    dispose: () => folder.remove(),
  };
});

indexCopiesContract('LMDB', async () => {
  const folder = temporaryFolder();
  const indexPath = join(folder.path, 'index.mdb');
  return {
    async open() {
      const index = await openRealIndex(indexPath);
      const of = { index, indexPath };
      return { index, copies: await openIndexCopies(join(folder.path, 'copies'), of, { noSpaceBelowBytes: 0 }) };
    },
    restart: async () => undefined,
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

/** Kills after so many reports. */
async function runAndKill(process: ChildProcess, reportsMax: number): Promise<readonly Report[]> {
  const ended = once(process, 'exit');
  const reports: Report[] = [];
  if (process.stdout === null) throw new Error('The process has no output');
  for await (const line of createInterface({ input: process.stdout })) {
    reports.push(JSON.parse(line) as Report);
    if (reports.length === reportsMax) process.kill('SIGKILL');
  }
  const [, signal] = await ended;
  if (signal !== 'SIGKILL') throw new Error('The process ended by itself');
  return reports;
}

async function makeRealHarness(seed: number): Promise<CrashHarness> {
  const folder = temporaryFolder();
  const data = join(folder.path, 'data');
  mkdirSync(data);
  const script = compileInto(join(folder.path, 'compiled'), 'test/contract/crash-child.ts');
  const chance = new Seeded(seed);
  let close = async (): Promise<void> => undefined;
  return {
    runAndCrash(what: Script) {
      const args = [script, data, JSON.stringify(what)];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      return runAndKill(child, 20 + chance.below(400));
    },
    async open() {
      const opened = await openRealStores(data);
      close = opened.close;
      return opened.stores;
    },
    close: () => close(),
    cutPower: undefined,
    dispose: () => folder.remove(),
  };
}

crashContract('Real storage', { makeHarness: makeRealHarness, seeds: [1, 2, 3], rounds: 4 });
