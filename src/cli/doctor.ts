/** `dfs doctor`: looks for what usually goes wrong. Exit code 6: something must be done. */
import { refusals } from '../core/errors.js';
import { defineCommand } from './command.js';
import { diagnose, type Finding } from './diagnosis.js';
import { printable } from './escaping.js';
import type { Paint } from './paint.js';

export const doctor = defineCommand({
  operands: [],
  options: {},
  examples: ['dfs doctor', 'dfs doctor --master 10.0.0.1:7420', 'dfs doctor --json'],
  async run(context) {
    const { cluster, here } = await context.examine();
    const findings = diagnose(cluster, here);
    for (const finding of findings) await context.output.answer(finding, (paint) => toText(finding, paint));
    return findings.some(({ verdict }) => verdict === 'fail') ? refusals.unavailable.exitCode : 0;
  },
});

const checkWidth = 'versions'.length;

function toText({ check, verdict, text, advice }: Finding, paint: Paint): string {
  const colours = { ok: paint.good, warn: paint.warning, fail: paint.bad };
  const sentences = advice === null ? `${text}.` : `${text}. ${advice}.`;
  return `${colours[verdict](verdict.padEnd(4))}  ${check.padEnd(checkWidth)}  ${printable(sentences)}`;
}
