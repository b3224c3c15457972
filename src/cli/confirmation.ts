/** How a command that destroys something makes sure that it is meant: it asks on a terminal, or needs --yes. */
import { type Context, toggle, usage } from './command.js';

export const yesOption = toggle('do not ask', 'y');

/** Throws unless somebody can be asked. `why`: what makes the command need that. */
export function requireYes({ terminal }: Context, why: string): void {
  if (!terminal.input.isTerminal) usage(why, 'Add --yes to say that this is meant');
}

/** Whether the answer is yes. `question` without its mark: "Remove p3 for good". */
export async function isMeant({ terminal, interrupted }: Context, question: string): Promise<boolean> {
  return /^y(es)?$/i.test((await terminal.ask(`${question}? [y/N] `, interrupted)).trim());
}
