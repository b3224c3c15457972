/** `dfs set-metadata`: replaces the notes (key=value) kept with a file; its bytes stay where they are. */
import { showChange } from './change-receipt.js';
import { type Context, defineCommand, type Given, textOption, usage } from './command.js';

const options = { type: textOption('content-type', 'replace the content type too') } as const;

export const setMetadata = defineCommand({
  operands: [
    { name: '<name>', about: 'the file' },
    { name: '<key=value...>', about: 'all its notes from now on' },
  ],
  options,
  examples: ['dfs set-metadata photo.jpg author=Ada place="Turin, Italy"'],
  run: replaceMetadata,
});

async function replaceMetadata(
  context: Context,
  [name = '', ...pairs]: readonly string[],
  given: Given<typeof options>,
): Promise<number> {
  const metadata = parsePairs(pairs);
  const client = await context.connect();
  const receipt = await client.setMetadata(name, metadata, {
    signal: context.interrupted,
    ...(given.type === undefined ? {} : { contentType: given.type }),
  });
  await showChange(context.output, 'changed', receipt);
  return 0;
}

export function parsePairs(pairs: readonly string[]): Readonly<Record<string, string>> {
  const metadata = new Map<string, string>();
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals < 1) usage(`"${pair}" is not a note`, 'Write KEY=VALUE');
    const key = pair.slice(0, equals);
    if (metadata.has(key)) usage(`"${key}" is given twice`);
    metadata.set(key, pair.slice(equals + 1));
  }
  return Object.fromEntries(metadata);
}
