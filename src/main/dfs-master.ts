/**
 * The program `dfs-master`: its settings, its data folder, the events command, and the command `recover`.
 */
import { exitCodes, refusals } from '../core/errors.js';
import { nodeVersion, runCommand } from '../io/daemon-process.js';
import { openSmallFiles } from '../io/small-files.js';
import { embeddedMapStore } from '../master/map-store.js';
import { Master } from '../master/master.js';
import { recover } from '../master/recovery.js';
import { isComplete, toText } from '../master/recovery-text.js';
import { runDaemon, runTask } from './daemon.js';
import { masterProgram, recoverProgram } from './daemon-options.js';

const recoverCommand = 'recover';
/** As `dfs` ends with when some of several things failed. */
const partlyDone = refusals['partly-done'].exitCode;

export async function main(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  if (argv[0] === recoverCommand) return runRecovery(argv.slice(1), environment);
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
        checkpoints: { everyMs: settings['checkpoint-every'], keep: settings['checkpoint-keep'] },
        onFatal,
        onEvent: eventCommand(settings['on-event'], world.log),
      },
    );
  });
}

async function runRecovery(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const given = { owner: masterProgram.name, argv, environment };
  await runTask(recoverProgram, given, async ({ settings, environment: world, folder }) => {
    const files = openSmallFiles(folder.path);
    const { peer: peers = [], 'accept-missing': acceptMissing = [] } = settings;
    const recovery = await recover(world, { maps: embeddedMapStore(files), files }, { peers, acceptMissing });
    return {
      text: toText(recovery, { data: settings.data }),
      exitCode: isComplete(recovery) ? exitCodes.ok : partlyDone,
    };
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
