/** How the acknowledgement of a change without bytes (a removal, new metadata) is shown. */
import type { ChangeReceipt } from '../client/results.js';
import { shownName } from './escaping.js';
import type { Output } from './output.js';
import { toCopiesText } from './receipt.js';

export async function showChange(output: Output, verb: string, receipt: ChangeReceipt): Promise<void> {
  await output.answer(receipt, (paint) => {
    const durable = `${toCopiesText(receipt.copies)} durable`;
    const judged = receipt.degraded ? paint.warning(`${durable}, degraded`) : paint.good(durable);
    return `${verb} ${paint.bold(shownName(receipt.name))}  version ${receipt.version}  ${judged}`;
  });
}
