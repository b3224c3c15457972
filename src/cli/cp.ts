/** `dfs cp`: copies a file, with its type and metadata, through this machine. */
import type { Receipt } from '../client/results.js';
import { type Context, defineCommand, type Given, toggle, usage } from './command.js';
import { Progress } from './progress.js';
import { toReceiptJson, toReceiptText } from './receipt.js';

const options = { ifAbsent: toggle('keep a file that exists: fail instead of replacing it') } as const;

export const cp = defineCommand({
  operands: [
    { name: '<from>', about: 'the file to copy' },
    { name: '<to>', about: 'the name of the copy' },
  ],
  options,
  examples: ['dfs cp photo.jpg backup/photo.jpg'],
  async run(context, [from = '', to = ''], given: Given<typeof options>) {
    const { receipt } = await copy(context, { from, to, ifAbsent: given.ifAbsent });
    await context.output.answer(toReceiptJson(receipt), (paint) => toReceiptText(receipt, paint));
    return 0;
  },
});

/** Returns the copy's receipt and the version that was copied. */
export async function copy(
  context: Context,
  { from, to, ifAbsent }: { from: string; to: string; ifAbsent: boolean },
): Promise<{ receipt: Receipt; copiedVersion: string }> {
  if (from === to) usage('Both names are the same', 'Give the copy another name');
  const client = await context.connect();
  const progress = new Progress(context.terminal, context.clock, context.settings);
  try {
    const file = await client.get(from, { signal: context.interrupted, reuseMemory: true });
    progress.subject(to);
    progress.expectOnly(file.stat.size);
    const receipt = await client.put(to, progress.counting(file.body), {
      signal: context.interrupted,
      size: file.stat.size,
      metadata: file.stat.metadata,
      ifAbsent,
      ...(file.stat.contentType === undefined ? {} : { contentType: file.stat.contentType }),
    });
    return { receipt, copiedVersion: file.stat.version };
  } finally {
    progress.stop();
  }
}
