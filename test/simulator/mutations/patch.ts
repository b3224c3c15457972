/**
 * Puts a mutation into a copy of the build: whole folders of compiled files, never the build itself.
 */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Edit } from './mutation.js';

/** A mutation that no longer fits the code it was made for. */
export class PatchFailure extends Error {
  override name = 'PatchFailure';
}

/** The text after the edit. Throws PatchFailure unless what it looks for stands there exactly once. */
export function patchedText(text: string, edit: Edit): string {
  const words = edit.find.trim().split(/\s+/);
  const pattern = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('\\s+');
  const found = [...text.matchAll(new RegExp(pattern, 'g'))];
  if (found.length !== 1) {
    throw new PatchFailure(`${edit.file} has ${found.length} places like this, not one: ${edit.find}`);
  }
  return text.replace(found[0]?.[0] ?? '', () => edit.replace);
}

/** Throws PatchFailure; the folder may then be half patched. */
export function applyEdits(folder: string, edits: readonly Edit[]): void {
  for (const edit of edits) {
    const path = join(folder, edit.file);
    if (!existsSync(path)) throw new PatchFailure(`The build has no file ${edit.file}`);
    writeFileSync(path, patchedText(readFileSync(path, 'utf8'), edit));
  }
}

/** Copies the compiled files under `build` to a new folder of its own; `remove` deletes it. */
export function copyBuild(build: string): { readonly folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'dfs-mutation-'));
  const isWanted = (path: string): boolean => !/\.(tsbuildinfo|map|jsonl)$/.test(path);
  for (const part of ['src', 'test'])
    cpSync(join(build, part), join(folder, part), { recursive: true, filter: isWanted });
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}\n');
  symlinkSync(packagesOf(build), join(folder, 'node_modules'));
  return { folder, remove: () => rmSync(folder, { recursive: true }) };
}

/** The folder of packages that files under `build` import from. */
function packagesOf(build: string): string {
  for (let folder = build; ; folder = dirname(folder)) {
    const packages = join(folder, 'node_modules');
    if (existsSync(packages)) return packages;
    if (folder === dirname(folder)) throw new Error(`No node_modules above ${build}`);
  }
}
