/**
 * Watches this process's system calls, or makes some of them fail, while a test runs (needs strace and the right to
 * attach it: root here).
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why no test here can trace, or undefined. */
export const noTracing: string | undefined = (() => {
  if (spawnSync('strace', ['-V']).status !== 0) return 'strace is not installed';
  const probe = spawnSync('strace', ['-o', '/dev/null', '-e', 'trace=none', 'true']);
  return probe.status === 0 ? undefined : 'this user may not trace';
})();

/** The title of a test that may be skipped says why. */
export function whenTraced(title: string): string {
  return noTracing === undefined ? title : `${title} (skipped: ${noTracing})`;
}

let traceCount = 0;

/** Runs `task` under strace with these flags; answers the lines of its output, in order, without thread ids. */
export async function underStrace(flags: readonly string[], task: () => Promise<void>): Promise<string[]> {
  const output = join(tmpdir(), `dfs-strace-${process.pid}-${traceCount++}`);
  const tracer = spawn('strace', ['-f', '-y', '-p', `${process.pid}`, '-o', output, ...flags], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  try {
    await attached(tracer);
    await task();
  } finally {
    const ended = once(tracer, 'exit');
    tracer.kill('SIGINT');
    await ended;
  }
  const lines = readFileSync(output, 'utf8').split('\n');
  rmSync(output);
  return lines.map((line) => line.replace(/^\d+\s+/, ''));
}

/** Leaves a line in the trace: a look at a path that does not exist. */
export function mark(name: string): void {
  try {
    accessSync(`/mark/${name}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** The calls and marks that `patterns` name, each line by the name of the first pattern that fits. */
export function outline(lines: readonly string[], patterns: Readonly<Record<string, RegExp>>): string[] {
  return lines.flatMap((line) => {
    const isMark = /access\w*\(.*"\/mark\/([^"]+)"/.exec(line);
    if (isMark?.[1] !== undefined) return [isMark[1]];
    const found = Object.entries(patterns).find(([, pattern]) => pattern.test(line));
    return found === undefined ? [] : [found[0]];
  });
}

/** strace says so on stderr when it has attached to the process and each of its threads. */
function attached(tracer: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    // Read to its end: strace dies of what it cannot say, and leaves its threads stopped.
    tracer.stderr?.on('data', (chunk) => {
      said += String(chunk);
      if (/attached/.test(said)) resolve();
    });
    tracer.once('exit', () => reject(new Error(`strace did not attach: ${said}`)));
  });
}
