/**
 * `dfs send`: stores local files, folders and standard input.
 *
 * Many small files go at once; large ones take the memory of several. One that cannot be read or stored stops no other.
 */
import type { FileClient } from '../client/file-client.js';
import type { PutOptions, Receipt } from '../client/results.js';
import { DfsError } from '../core/errors.js';
import { limits } from '../core/limits.js';
import { type Context, defineCommand, type Given, parseBytes, textOption, toggle, usage } from './command.js';
import { shownName } from './escaping.js';
import { Outcomes } from './outcomes.js';
import { forEachBounded, transferBounds } from './parallel.js';
import { Progress } from './progress.js';
import { toReceiptJson, toReceiptText } from './receipt.js';

const options = {
  as: textOption('name', 'store it under this name'),
  prefix: textOption('prefix', 'put this before every name'),
  recursive: toggle('send the files in folders too', 'r'),
  ifAbsent: toggle('keep a file that exists: fail instead of replacing it'),
  type: textOption('content-type', 'the content type to note with it'),
  segmentSize: {
    takes: 'bytes',
    about: `cut large files into pieces of this size (${limits.segmentBytesDefault / 1024 / 1024}M)`,
    parse: parseBytes,
  },
} as const;

export const send = defineCommand({
  operands: [{ name: '<file...>', about: 'files and folders; - is standard input' }],
  options,
  examples: ['dfs send photo.jpg', 'dfs send --recursive photos --prefix 2026/', 'tar c . | dfs send - --as home.tar'],
  run: sendAll,
});

type Item =
  | { readonly kind: 'file'; readonly path: string; readonly name: string; readonly sizeBytes: number }
  | { readonly kind: 'failed'; readonly path: string; readonly error: unknown }
  | { readonly kind: 'skipped'; readonly path: string; readonly reason: string; readonly advice: string };

async function sendAll(context: Context, operands: readonly string[], given: Given<typeof options>): Promise<number> {
  checkOperands(context, operands, given);
  const client = await context.connect();
  const outcomes = new Outcomes(context.output, 'send');
  const progress = new Progress(context.terminal, context.clock, context.settings);
  const putOptions: PutOptions = {
    signal: context.interrupted,
    ifAbsent: given.ifAbsent,
    ...(given.type === undefined ? {} : { contentType: given.type }),
    ...(given.segmentSize === undefined ? {} : { segmentBytes: given.segmentSize }),
  };
  try {
    if (operands[0] === '-') {
      await outcomes.attempt('-', async () => {
        const content = progress.counting(context.terminal.input.read());
        await show(context, await client.put(nameFor(given, given.as ?? ''), content, putOptions));
      });
      return outcomes.exitCode;
    }
    await forEachBounded(items(context, operands, given, progress), transferBounds(sizeOf), async (item) => {
      if (item.kind === 'skipped') return outcomes.skip(item.path, { message: item.reason, advice: item.advice });
      await outcomes.attempt(item.path, async () => {
        if (item.kind === 'failed') throw item.error;
        progress.subject(item.name);
        await show(context, await sendFile(context, client, item, putOptions, progress));
      });
    });
  } finally {
    progress.stop();
  }
  return outcomes.exitCode;
}

function checkOperands(context: Context, operands: readonly string[], given: Given<typeof options>): void {
  if (operands.includes('-')) {
    if (operands.length > 1) usage('Standard input (-) is sent alone', 'Send the other files by another command');
    if (given.as === undefined) usage('Standard input has no name', 'Give it one with --as NAME');
  }
  if (operands.length > 1 && given.as !== undefined) {
    usage('--as names one file, but several are given', 'Use --prefix, or send them one by one');
  }
  const seen = new Map<string, string>();
  for (const path of operands) {
    const name = context.files.baseNameOf(path);
    const before = seen.get(name);
    if (before !== undefined) usage(`${before} and ${path} would both become ${name}`, 'Send them by two commands');
    seen.set(name, path);
  }
}

function nameFor(given: Given<typeof options>, name: string): string {
  return `${given.prefix ?? ''}${name}`;
}

function sizeOf(item: Item): number {
  return item.kind === 'file' ? item.sizeBytes : 0;
}

async function* items(
  { files }: Context,
  operands: readonly string[],
  given: Given<typeof options>,
  progress: Progress,
): AsyncIterable<Item> {
  for (const path of operands) {
    const name = nameFor(given, given.as ?? files.baseNameOf(path));
    try {
      const kind = await files.kindOf(path);
      if (kind === 'file') {
        const sizeBytes = await files.sizeOf(path);
        progress.expect(sizeBytes);
        yield { kind: 'file', path, name, sizeBytes };
        continue;
      }
      if (kind !== 'folder' || !given.recursive) throw toUnsendable(path, kind);
    } catch (error) {
      yield { kind: 'failed', path, error };
      continue;
    }
    for await (const entry of files.walk(path)) {
      if (entry.kind === 'file') progress.expect(entry.sizeBytes);
      yield entry.kind === 'file'
        ? { ...entry, name: name.endsWith('/') ? name + entry.name : `${name}/${entry.name}` }
        : entry;
    }
  }
  progress.totalIsFinal();
}

function toUnsendable(path: string, kind: 'folder' | 'pipe' | 'other' | undefined): DfsError {
  switch (kind) {
    case 'folder':
      return new DfsError('invalid', 'it is a folder', { advice: 'Add --recursive to send the files in it' });
    case 'pipe':
      return new DfsError('invalid', 'it is a pipe, not a file', {
        advice: `Send what comes out of it with: dfs send - --as NAME < ${shownName(path)}`,
      });
    case 'other':
      return new DfsError('invalid', 'it is a device or socket, not a file');
    case undefined:
      // Node replaces what is not UTF-8 in an argument, so the file cannot be found by it.
      return path.includes('\ufffd')
        ? new DfsError('partly-done', 'its name is not UTF-8', { advice: 'Rename it, then send it' })
        : new DfsError('not-found', 'no such file or folder', { advice: 'Check the path' });
  }
}

async function sendFile(
  context: Context,
  client: FileClient,
  item: { path: string; name: string },
  putOptions: PutOptions,
  progress: Progress,
): Promise<Receipt> {
  const source = await context.files.open(item.path);
  let countedBytes = 0;
  try {
    return await client.put(item.name, source.read(), {
      ...putOptions,
      size: source.sizeBytes,
      onProgress(storedBytes) {
        progress.advance(storedBytes - countedBytes);
        countedBytes = storedBytes;
      },
    });
  } finally {
    await source.close();
  }
}

async function show({ output }: Context, receipt: Receipt): Promise<void> {
  await output.answer(toReceiptJson(receipt), (paint) => toReceiptText(receipt, paint));
}
