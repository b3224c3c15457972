/**
 * Reads a configuration file, and says in one sentence what is wrong with one that cannot be read.
 */
import { parse, TomlError } from 'smol-toml';
import { DfsError } from '../core/errors.js';

/** `text` as decoded from UTF-8. Throws DfsError `invalid`. */
export function parseToml(text: string, path: string): Readonly<Record<string, unknown>> {
  if (text.includes('\0') || text.includes('\ufffd')) return invalid(`Configuration file ${path} is not text`);
  if (text.trim() === '') return invalid(`Configuration file ${path} is empty`);
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const twice = keyGivenTwice(text);
    if (twice !== undefined) {
      return invalid(`Configuration file ${path}, line ${twice.line}: the key "${twice.key}" is given twice`);
    }
    const [reason] = error.message.split('\n', 1);
    return invalid(`Configuration file ${path}, line ${error.line}, column ${error.column}: ${reason}`);
  }
}

function invalid(message: string): never {
  throw new DfsError('invalid', message, { advice: 'Write lines such as  listen = "127.0.0.1:7420"' });
}

/** The first key of the file's own lines that stands there again, with the line of the repetition. */
function keyGivenTwice(text: string): { key: string; line: number } | undefined {
  const seen = new Set<string>();
  for (const [index, line] of text.split('\n').entries()) {
    const key = /^\s*["']?([\w-]+)["']?\s*=/.exec(line)?.[1];
    if (key === undefined) continue;
    if (seen.has(key)) return { key, line: index + 1 };
    seen.add(key);
  }
  return undefined;
}
