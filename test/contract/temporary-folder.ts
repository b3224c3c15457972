/**
 * A folder for one test.
 */
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export function temporaryFolder(): { path: string; remove(): Promise<void> } {
  const path = mkdtempSync(join(tmpdir(), 'dfs-storage-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
