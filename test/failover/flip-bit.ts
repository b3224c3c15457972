/**
 * Flips one bit in a stopped peer's folder wherever a text stands, or 64 bytes of a file from some offset on, and
 * prints how often it did.
 *
 *   flip-bit --folder DIR --text TEXT          flip-bit --folder DIR --body FILE --at OFFSET
 */
import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    folder: { type: 'string', default: '' },
    text: { type: 'string' },
    body: { type: 'string', default: '' },
    at: { type: 'string', default: '0' },
  },
});

const patternBytes = 64;

function pattern(): Buffer {
  if (options.text !== undefined) return Buffer.from(options.text);
  return readFileSync(options.body).subarray(Number(options.at), Number(options.at) + patternBytes);
}

/** In all places: of a value that was replaced the index may hold an older page, which nothing points to any more. */
function flipIn(path: string, wanted: Buffer): number {
  const content = readFileSync(path);
  let count = 0;
  for (let at = content.indexOf(wanted); at !== -1; at = content.indexOf(wanted, at + wanted.length)) {
    const place = at + (wanted.length >> 1);
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.of((content[place] ?? 0) ^ 1), 0, 1, place);
    fsyncSync(file);
    closeSync(file);
    count++;
  }
  return count;
}

const wanted = pattern();
const found = readdirSync(options.folder, { recursive: true, withFileTypes: true });
const paths = found.filter((each) => each.isFile()).map((each) => join(each.parentPath, each.name));
console.log(paths.reduce((sum, path) => sum + flipIn(path, wanted), 0));
