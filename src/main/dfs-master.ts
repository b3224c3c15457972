/**
 * The program `dfs-master`: its settings, its data folder, and the events command.
 */
import { nodeVersion, runCommand } from '../io/daemon-process.js';
import { openSmallFiles } from '../io/small-files.js';
import { embeddedMapStore } from '../master/map-store.js';
import { Master } from '../master/master.js';
import { runDaemon } from './daemon.js';
import { masterProgram } from './daemon-options.js';

export async function main(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  await runDaemon(masterProgram, { argv, environment }, async ({ settings, environment: world, folder, onFatal }) => {
    const files = openSmallFiles(folder.path);
    return Master.start(
      world,
      { maps: embeddedMapStore(files), files },
      {
        listen: settings.listen,
        replicas: settings.replicas,
        minInSync: settings['min-in-sync'],
        slotCount: settings.slots,
        repairGraceMs: settings['repair-grace'],
        quarantineMs: settings.quarantine,
        nodeVersion,
        onFatal,
        onEvent: eventCommand(settings['on-event'], world.log),
      },
    );
  });
}

/** One at a time and in order: a slow command delays later events and stops nothing else. */
function eventCommand(
  command: string | undefined,
  log: { warn(fields: object, message: string): void },
): (event: object) => void {
  let last: Promise<void> = Promise.resolve();
  return (event) => {
    if (command === undefined) return;
    last = last.then(async () => {
      const outcome = await runCommand(command, JSON.stringify(event));
      if (outcome !== 0) log.warn({ command, outcome }, 'The command for events failed');
    });
  };
}
