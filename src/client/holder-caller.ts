/**
 * Asks whichever replica of a slot can answer, round after round (holder-round.ts) until the caller's patience ends.
 *
 * For what any holder may answer at any time: stored segments, which never change, and reads that accept an older
 * version. A replica whose copy is damaged or missing is told so, and repairs itself. When no holder has the bytes,
 * they were replaced and swept (the caller tells), or they are lost (`integrity`).
 */
import type { PeerRecord } from '../cluster/map.js';
import type { Clock, Log } from '../core/environment.js';
import { DfsError, refusals, toDfsError } from '../core/errors.js';
import type { TimedId } from '../core/ids.js';
import { AttemptFailure, isBroken } from './attempt.js';
import type { Hedging } from './hedging.js';
import { type AskWatch, HolderRound, type ReadTally } from './holder-round.js';
import type { Patience } from './patience.js';
import type { Route } from './routing.js';
import type { SlotCaller } from './slot-caller.js';

/** Rounds over all holders that must find nothing before the bytes count as lost. */
const vainRounds = 3;

/** Names a copy that may be bad. */
export interface CopyName {
  readonly bucket: string;
  readonly name: string;
  readonly uploadId: TimedId;
  readonly index: number;
}

export interface HolderQuestion<T> {
  readonly hash: bigint;
  readonly patience: Patience;
  readonly about: string;
  readonly tally: ReadTally;
  /** What a holder without good bytes is told to look at. */
  readonly copy?: CopyName;
  /** Who may be asked, in this order; but those that are slow or silent come last. */
  candidates(route: Route): readonly PeerRecord[];
  /** Asks one holder and verifies what it says. Rejects with AttemptFailure or a DfsError. */
  ask(peer: PeerRecord, route: Route, watch: AskWatch): Promise<T>;
  /** An answer that no other holder would better. */
  isFinal?(error: DfsError): boolean;
  /** Called when no holder has the bytes: throws when they are no longer wanted. */
  confirmStillThere?(): Promise<void>;
}

interface Outcome<T> {
  readonly good: { readonly value: T } | undefined;
  readonly failures: readonly DfsError[];
  readonly route: Route;
}

export class HolderCaller {
  readonly #caller: SlotCaller;
  readonly #hedging: Hedging;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor(caller: SlotCaller, hedging: Hedging, environment: { readonly clock: Clock; readonly log: Log }) {
    this.#caller = caller;
    this.#hedging = hedging;
    this.#clock = environment.clock;
    this.#log = environment.log;
  }

  async call<T>(question: HolderQuestion<T>): Promise<T> {
    const { hash, patience, about } = question;
    const { view } = this.#caller;
    if (patience.isCancelled) patience.check(about);
    patience.progress();
    for (let count = 1; ; count++) {
      const table = view.table ?? (await view.known(patience, about));
      const { good, failures, route } = await this.#round(question, table.routeOf(hash));
      if (good !== undefined) {
        patience.progress();
        return good.value;
      }
      const final = failures.find((error) => isFinal(question, error));
      if (final !== undefined) throw final;
      const isNowhere = failures.length > 0 && failures.every(isLostThere);
      if (isNowhere) await question.confirmStillThere?.();
      if (isNowhere && count >= vainRounds) throw lostEverywhere(about, failures);
      throwWhenOver(question, failures.at(-1));
      view.lookForNewer(table.map.epoch, view.likelyToKnow(route.slot, count));
      await view.newerMap(table.map.epoch, patience, this.#caller.backOffMs(count));
    }
  }

  /** Asks each holder once at most; undefined when none of them had a good answer. */
  async once<T>(question: HolderQuestion<T>): Promise<T | undefined> {
    const route = this.#caller.view.table?.routeOf(question.hash);
    return route === undefined ? undefined : (await this.#round(question, route)).good?.value;
  }

  /** Tells a replica that its copy is bad. Nobody waits for it. */
  report(peer: PeerRecord, slot: number, copy: CopyName, patience: Patience): void {
    this.#caller
      .once({
        name: 'report-damage',
        target: { address: peer.address, peerId: peer.id },
        lane: 'small',
        slot,
        term: undefined,
        patience,
        about: `Reporting a bad copy of ${copy.name}`,
        header: () => ({ slot, ...copy }),
      })
      .catch((error) => this.#log.debug({ err: error, peer: peer.id }, 'A bad copy could not be reported'));
  }

  async #round<T>(question: HolderQuestion<T>, route: Route): Promise<Outcome<T>> {
    const clock = this.#clock;
    const round = new HolderRound<T>({
      clock,
      hedging: this.#hedging,
      holders: this.#hedging.inOrder(question.candidates(route), clock.monotonicMs()),
      tally: question.tally,
      ask: (peer, watch) => question.ask(peer, route, watch),
      onFailure: (peer, failed) => {
        const error = this.#onFailure({ question, route }, peer, failed);
        return { error, isFinal: isFinal(question, error) };
      },
    });
    return { good: await round.run(), failures: round.failures, route };
  }

  #onFailure<T>(
    { question, route }: { question: HolderQuestion<T>; route: Route },
    peer: PeerRecord,
    failed: unknown,
  ): DfsError {
    const error = failed instanceof AttemptFailure ? failed.error : toDfsError(failed);
    const { copy, patience } = question;
    if (isLostThere(error) && copy !== undefined) this.report(peer, route.slot, copy, patience);
    else if (isBroken(error)) this.#caller.view.suspect(peer.id);
    return error;
  }
}

/** The replica answered, but has no good copy. */
function isLostThere({ code }: DfsError): boolean {
  return code === 'integrity' || code === 'not-found' || code === 'gone';
}

function isFinal<T>(question: HolderQuestion<T>, error: DfsError): boolean {
  if (question.isFinal?.(error)) return true;
  return refusals[error.code].retry === 'never' && !isLostThere(error) && !error.code.startsWith('wrong-');
}

function throwWhenOver<T>({ patience, about }: HolderQuestion<T>, last: DfsError | undefined): void {
  try {
    patience.check(about);
  } catch (error) {
    const why = toDfsError(error);
    if (last === undefined || why.code === 'cancelled' || last.code === 'timed-out') throw why;
    throw new DfsError('unavailable', `${why.message}; the last attempt: ${last.message}`, { cause: last });
  }
}

function lostEverywhere(about: string, failures: readonly DfsError[]): DfsError {
  return new DfsError('integrity', `${about}: no replica has a good copy: ${failures.at(-1)?.message ?? ''}`, {
    cause: failures.at(-1),
    advice: 'A replica that is away may have one: see "dfs locate" and "dfs status"',
  });
}
