/**
 * Reads every copy of a file where it is, has the bad ones repaired, and tells what was found.
 */
import { type Clock, sleep } from '../core/environment.js';
import { refuse } from '../core/errors.js';
import type { TimedId } from '../core/ids.js';
import { AttemptFailure } from './attempt.js';
import type { ReadOptions } from './file-reader.js';
import type { Locator } from './location.js';
import type { Patience } from './patience.js';
import type { BadCopy, Location, Verification } from './results.js';
import type { SlotCaller } from './slot-caller.js';

/** A repair that another holder can give is done by then. */
const repairLooks = 10;
const repairLookMs = 300;
const answerMs = 10_000;
const surveyLooks = 4;

export class Verifier {
  readonly #caller: SlotCaller;
  readonly #locator: Locator;
  readonly #clock: Clock;
  readonly #newPatience: (timeoutMs: number) => Patience;

  constructor(parts: {
    caller: SlotCaller;
    locator: Locator;
    clock: Clock;
    newPatience: (timeoutMs: number) => Patience;
  }) {
    this.#caller = parts.caller;
    this.#locator = parts.locator;
    this.#clock = parts.clock;
    this.#newPatience = parts.newPatience;
  }

  /** Throws `not-found` when there is no such file. */
  async verify(options: ReadOptions): Promise<Verification> {
    const { location: first, record } = await this.#settledSurvey(options);
    if (record === undefined) return refuse('not-found', `There is no file named ${JSON.stringify(options.name)}`);
    const bad = badCopiesOf(first);
    await Promise.all(bad.map((copy) => this.#report(options, { uploadId: record.uploadId, at: first, copy })));
    let left = bad.filter(wasRead);
    for (let look = 0; left.length > 0 && look < repairLooks; look++) {
      await sleep(this.#clock, repairLookMs);
      left = badCopiesOf(await this.#locator.locate(options)).filter(wasRead);
    }
    const copies = first.segments.reduce((sum, segment) => sum + segment.copies.length, 0);
    const { bucket, name, version = '' } = first;
    return { bucket, name, version, copies, bad, left };
  }

  /** Of a file that was replaced while its copies were looked at, some seemed to be missing: it is looked at again. */
  async #settledSurvey(options: ReadOptions): ReturnType<Locator['survey']> {
    let found = await this.#locator.survey(options);
    for (let look = 0; look < surveyLooks && badCopiesOf(found.location).length > 0; look++) {
      const again = await this.#locator.survey(options);
      const isSame = again.location.version === found.location.version;
      found = again;
      if (isSame) break;
    }
    return found;
  }

  /** The peer looks for itself, and repairs what it finds bad. */
  async #report({ bucket, name }: ReadOptions, of: { uploadId: TimedId; at: Location; copy: BadCopy }): Promise<void> {
    const { uploadId, at, copy } = of;
    const segment = at.segments[copy.index];
    if (segment === undefined || copy.state === 'unreachable') return;
    try {
      await this.#caller.once({
        name: 'report-damage',
        target: { address: copy.address, peerId: copy.id },
        lane: 'small',
        slot: segment.slot,
        term: undefined,
        patience: this.#newPatience(answerMs),
        about: `Telling ${copy.id} of its bad copy of ${name}`,
        header: () => ({ slot: segment.slot, bucket, name, uploadId, index: copy.index }),
      });
    } catch (error) {
      if (!(error instanceof AttemptFailure)) throw error;
    }
  }
}

/** Of one that its peer did not look at, because it is away or the copy is on its way elsewhere, nothing is known. */
export function wasRead({ state }: BadCopy): boolean {
  return state === 'missing' || state === 'damaged';
}

function badCopiesOf({ segments }: Location): readonly BadCopy[] {
  return segments.flatMap(({ index, copies }) =>
    copies.flatMap(({ id, address, role, state }) =>
      // One that joins is being made.
      state === 'ok' || role === 'joining' ? [] : [{ index, id, address, state }],
    ),
  );
}
