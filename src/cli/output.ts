/**
 * The one way answers, rows, notes and errors leave a command: as text for people or as JSON for programs.
 *
 * Results go to stdout, everything else to stderr. With `--json` an answer is one document, rows are one object a line,
 * and errors are among them. An error says what failed on which object, why, and what to do next.
 */
import { type DfsError, type ErrorCode, refusals, toDfsError } from '../core/errors.js';
import type { Terminal } from '../core/local-machine.js';
import { printable, shownName, toJsonLine } from './escaping.js';
import type { Paint } from './paint.js';

export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
}

const adviceFor: Readonly<Partial<Record<ErrorCode, string>>> = {
  'not-found': 'List what is there with: dfs ls',
  unavailable: 'See what is wrong with: dfs status',
  'timed-out': 'See what is wrong with: dfs status; --timeout SECONDS waits longer without progress',
  'unknown-outcome': 'Look with dfs stat before you repeat it',
  integrity: 'No good copy answered; see where the copies are with: dfs locate NAME',
};

export function exitCodeOf(error: unknown): number {
  return refusals[toDfsError(error).code]?.exitCode ?? refusals.failed.exitCode;
}

export class Output {
  readonly #terminal: Terminal;
  readonly #options: OutputOptions;
  readonly #paint: Paint;

  constructor(terminal: Terminal, options: OutputOptions, paint: Paint) {
    this.#terminal = terminal;
    this.#options = options;
    this.#paint = paint;
  }

  get json(): boolean {
    return this.#options.json;
  }

  get paint(): Paint {
    return this.#paint;
  }

  /** The answer of a command, or one of its rows. `toText` must have escaped the names in it; "" prints nothing. */
  async answer(value: unknown, toText: (paint: Paint) => string): Promise<void> {
    if (this.#options.json) return this.#terminal.output.write(`${toJsonLine(value)}\n`);
    if (this.#options.quiet) return;
    const text = toText(this.#paint);
    if (text !== '') await this.#terminal.output.write(`${text}\n`);
  }

  /** What a person at the terminal may like to know; never for programs. */
  async note(text: string): Promise<void> {
    if (this.#options.quiet || this.#options.json || !this.#terminal.notes.isTerminal) return;
    await this.#terminal.notes.write(`${text.split('\n').map(printable).join('\n')}\n`);
  }

  /** What happened meanwhile to a command that goes on, for whoever watches it. */
  async tell(text: string): Promise<void> {
    if (!this.#options.quiet) await this.#terminal.notes.write(`${text.split('\n').map(printable).join('\n')}\n`);
  }

  /** `failed` says what did not work: "send", of which object: its name. */
  async error(problem: unknown, failed?: { verb: string; name: string }): Promise<void> {
    const error = toDfsError(problem);
    if (this.#options.json) return this.#terminal.output.write(`${toJsonLine(toErrorJson(error, failed?.name))}\n`);
    const subject = failed === undefined ? '' : `cannot ${failed.verb} ${shownName(failed.name)}: `;
    const head = printable(`${subject}${error.message}`);
    const advice = error.advice || adviceFor[error.code];
    const lines = [`${this.#paint.bad('dfs:')} ${head}`];
    if (advice !== undefined) lines.push(`  ${printable(advice)}`);
    if (error.requestId !== undefined) lines.push(this.#paint.dim(`  request ${printable(error.requestId)}`));
    await this.#terminal.notes.write(`${lines.join('\n')}\n`);
  }
}

function toErrorJson(error: DfsError, name: string | undefined): object {
  return {
    ...(name === undefined ? {} : { name }),
    error: {
      code: error.code,
      message: error.message,
      requestId: error.requestId ?? null,
      advice: error.advice ?? adviceFor[error.code] ?? null,
    },
  };
}
