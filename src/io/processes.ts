/**
 * Starts this package's own programs as child processes: daemons for a whole cluster on one machine, or `dfs` itself.
 *
 * Daemons run in sessions of their own: a Ctrl-C in the terminal reaches only the parent, which stops them in order.
 */
import { accessSync, closeSync, constants, openSync, realpathSync } from 'node:fs';
import { delimiter, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ChildProcess, Processes } from '../core/local-machine.js';

const programFolder = fileURLToPath(new URL('../../bin/', import.meta.url));

/** The shortest way to call this program again from here. */
function ownCommand(): string {
  const own = realpathSync(process.argv[1] ?? join(programFolder, 'dfs'));
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const candidate = join(folder, 'dfs');
    if (folder !== '' && isExecutable(candidate) && realpathSync(candidate) === own) return 'dfs';
  }
  const fromHere = relative(process.cwd(), own);
  return fromHere.startsWith('..') ? own : fromHere;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // not there, or not for us: either way not the way to call the program
  }
}

export const processes: Processes = {
  get ownCommand() {
    return ownCommand();
  },

  async run(args, input) {
    const { spawn } = await import('node:child_process');
    const child = spawn(join(programFolder, 'dfs'), args, { stdio: ['pipe', 'ignore', 'pipe'] });
    let notes = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (notes += text));
    child.stdin.on('error', () => undefined); // it may end before it has read everything; its exit code says why
    child.stdin.end(input);
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code: code ?? -1, notes }));
    });
  },

  async start(program, { args, logFile }) {
    const { spawn } = await import('node:child_process'); // few commands start processes
    const log = openSync(logFile, 'a');
    const child = spawn(join(programFolder, program), args, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    const ended = new Promise<number | string>((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
    });
    await new Promise((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    return { pid: child.pid ?? 0, ended, stop: (signal) => void child.kill(signal) } satisfies ChildProcess;
  },
};
