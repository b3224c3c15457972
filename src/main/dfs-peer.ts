/**
 * The program `dfs-peer`: its settings, its data folder and its disks.
 */
import { join } from 'node:path';
import { limits } from '../core/limits.js';
import { openByteFiles } from '../io/byte-files.js';
import { hostName, nodeVersion } from '../io/daemon-process.js';
import { openIndexCopies } from '../io/lmdb-copies.js';
import { createIndex, openIndex, setAsideIndex } from '../io/lmdb-index.js';
import { openSmallFiles } from '../io/small-files.js';
import { openDataFolder } from '../peer/data-folder.js';
import { Peer } from '../peer/peer.js';
import { runDaemon } from './daemon.js';
import { peerProgram } from './daemon-options.js';

export async function main(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  await runDaemon(peerProgram, { argv, environment }, async ({ settings, environment: world, folder, onFatal }) => {
    const { reserve } = settings;
    const indexPath = join(folder.path, 'index.mdb');
    const indexOptions = { noSpaceBelowBytes: reserve ?? limits.reserveBytesMin };
    const opened = await openDataFolder({
      files: openSmallFiles(folder.path),
      random: world.random,
      log: world.log,
      openIndex: () => openIndex(indexPath, indexOptions),
      createIndex: () => createIndex(indexPath, indexOptions),
      setAsideIndex: () => setAsideIndex(indexPath),
    });
    const bytes = await openByteFiles(join(folder.path, 'bytes'));
    const copied = { index: opened.index, indexPath };
    const copies = await openIndexCopies(join(folder.path, 'checkpoints'), copied, indexOptions);
    return Peer.start(
      world,
      { folder: opened, bytes, copies },
      {
        listen: settings.listen,
        ...(settings.advertise === undefined ? {} : { advertise: settings.advertise }),
        masters: settings.master,
        zone: settings.zone ?? hostName,
        weight: settings.weight,
        reads: settings.reads,
        ...(reserve === undefined ? {} : { reserveBytes: reserve }),
        sweepAfterMs: settings['sweep-after'],
        replacedGraceMs: settings['replaced-grace'],
        maxFileBytes: settings['max-file-size'] ?? Number.MAX_SAFE_INTEGER,
        maxUploads: settings['max-uploads'] ?? Number.MAX_SAFE_INTEGER,
        nodeVersion,
        stillThere: () => folder.stillThere(),
        onFatal,
      },
    );
  });
}
