/** `dfs mv`: copies a file, then removes the old name, unless somebody changed it meanwhile. */
import { DfsError, toDfsError } from '../core/errors.js';
import { defineCommand, type Given, toggle } from './command.js';
import { copy } from './cp.js';
import { shownName } from './escaping.js';
import { toReceiptJson, toReceiptText } from './receipt.js';

const options = { ifAbsent: toggle('keep a file that exists: fail instead of replacing it') } as const;

export const mv = defineCommand({
  operands: [
    { name: '<from>', about: 'the file to move' },
    { name: '<to>', about: 'its new name' },
  ],
  options,
  examples: ['dfs mv draft.txt letters/final.txt'],
  async run(context, [from = '', to = ''], given: Given<typeof options>) {
    const { receipt, copiedVersion } = await copy(context, { from, to, ifAbsent: given.ifAbsent });
    const client = await context.connect();
    try {
      await client.delete(from, { ifVersion: copiedVersion, signal: context.interrupted });
    } catch (problem) {
      const why = toDfsError(problem).message;
      throw new DfsError('partly-done', `${shownName(to)} is stored, but ${shownName(from)} was not removed: ${why}`, {
        advice: `Look at both, then remove one with: dfs rm NAME`,
        cause: problem,
      });
    }
    await context.output.answer(toReceiptJson(receipt), (paint) => toReceiptText(receipt, paint));
    return 0;
  },
});
