/**
 * Compiles a module and all it imports from this repository into a folder, for tests that need a process of its own.
 */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const checkout = fileURLToPath(new URL('../..', import.meta.url));
const options = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2023 };

/** `entry` as "test/contract/x.ts"; answers the path of the script to run. */
export function compileInto(folder: string, entry: string): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  symlinkSync(join(checkout, 'node_modules'), join(folder, 'node_modules'));
  const waiting = [entry];
  const seen = new Set(waiting);
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const text = readFileSync(join(checkout, path), 'utf8');
    const target = join(folder, path.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    const { outputText } = ts.transpileModule(text, { compilerOptions: options });
    writeFileSync(target, outputText);
    for (const [, imported = ''] of outputText.matchAll(/from '(\.[^']+)\.js'/g)) {
      const next = join(dirname(path), `${imported}.ts`);
      if (!seen.has(next)) waiting.push(next);
      seen.add(next);
    }
  }
  return join(folder, entry.replace(/\.ts$/, '.js'));
}
