/**
 * A disk of a few megabytes (a tmpfs of this machine; needs root).
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const noMounting: string | undefined = (() => {
  if (process.getuid?.() !== 0) return 'mounting needs root';
  try {
    makeSmallDisk(1).remove();
    return undefined;
  } catch (error) {
    return String(error);
  }
})();

export function whenMounting(title: string): string {
  return noMounting === undefined ? title : `${title} (skipped: ${noMounting})`;
}

export function makeSmallDisk(megabytes: number): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'dfs-small-disk-'));
  run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'dfs-test', path]);
  return {
    path,
    remove() {
      run('umount', [path]);
      rmdirSync(path);
    },
  };
}

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr.trim()}`);
}
