/**
 * Judges a command over several objects: which exit code says how many of them worked.
 *
 * All: 0. None, all for the same reason: that reason's code. Some: 8, partly done. When nobody answers any more, it
 * gives up instead of waiting for each object in turn.
 */
import { Bug } from '../core/assert.js';
import { DfsError, refusals, toDfsError } from '../core/errors.js';
import { OutputClosed } from '../core/local-machine.js';
import { exitCodeOf, type Output } from './output.js';

const unansweredMax = 16;

export class Outcomes {
  readonly #output: Output;
  readonly #verb: string;
  readonly #failures: number[] = [];
  #doneCount = 0;
  #unansweredInARow = 0;

  constructor(output: Output, verb: string) {
    this.#output = output;
    this.#verb = verb;
  }

  /** Runs one object's work; its failure is shown and counted and stops no other. Interruption ends everything. */
  async attempt(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.#doneCount++;
      this.#unansweredInARow = 0;
    } catch (problem) {
      const error = toDfsError(problem);
      if (error.code === 'cancelled' || !isOfTheWorld(problem)) throw problem;
      this.#failures.push(exitCodeOf(error));
      await this.#output.error(error, { verb: this.#verb, name });
      this.#countAnswers(error);
    }
  }

  #countAnswers(error: DfsError): void {
    this.#unansweredInARow = exitCodeOf(error) === refusals.unavailable.exitCode ? this.#unansweredInARow + 1 : 0;
    if (this.#unansweredInARow < unansweredMax) return;
    const code = this.#doneCount === 0 ? 'unavailable' : 'partly-done';
    throw new DfsError(code, `Gave up: ${unansweredMax} in a row had no answer`, {
      advice: 'See what is wrong with: dfs status',
    });
  }

  /** Something that was left out for a reason; counts as failed. */
  async skip(name: string, reason: { message: string; advice: string }): Promise<void> {
    this.#failures.push(refusals['partly-done'].exitCode);
    await this.#output.error(new DfsError('partly-done', reason.message, { advice: reason.advice }), {
      verb: this.#verb,
      name,
    });
  }

  get exitCode(): number {
    const [first, ...others] = this.#failures;
    if (first === undefined) return 0;
    const sameReason = this.#doneCount === 0 && others.every((code) => code === first);
    return sameReason ? first : refusals['partly-done'].exitCode;
  }
}

/** Bugs and a closed output end the program; they are nobody's outcome. */
function isOfTheWorld(problem: unknown): boolean {
  return !(problem instanceof Bug || problem instanceof OutputClosed);
}
