/**
 * Sends a request to the primary of its slot until it is answered: primary → backups and master for a newer map → the
 * new primary, with the same request id, until the caller's patience ends.
 *
 * An attempt that stays unanswered starts the search for a newer map while it goes on waiting; when the slot's term has
 * changed it is abandoned, for the old primary can no longer act. Requests name the term they were routed by (F7).
 */
import type { Environment } from '../core/environment.js';
import { DfsError } from '../core/errors.js';
import type { SlotNumber } from '../core/ids.js';
import { timing } from '../core/timing.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import type { Answer } from '../protocol/session.js';
import { type Attempt, AttemptFailure, type AttemptParts, attempt, isBroken } from './attempt.js';
import type { ClusterView } from './cluster-view.js';
import type { Lane } from './connections.js';
import { Flights } from './flights.js';
import { givenUp, judge, unknownOutcome } from './judgement.js';
import type { Ending, Patience } from './patience.js';
import type { RequestIdentity } from './request-identity.js';
import type { Route, RoutingTable } from './routing.js';

export interface SlotRequest<N extends MessageName> {
  readonly name: N;
  readonly hash: bigint;
  readonly lane: Lane;
  readonly patience: Patience;
  /** For people: "Storing photos/cat.jpg". */
  readonly about: string;
  /** Of a change; a request without one may be repeated as it likes. */
  readonly identity?: RequestIdentity;
  readonly payload?: Uint8Array;
  readonly sums?: Uint8Array;
  header(route: Route): RequestOf<N>;
}

export interface Served<N extends MessageName> {
  readonly answer: Answer<N>;
  readonly route: Route;
  readonly attempts: number;
}

/** What is known between two attempts. */
interface Progress {
  /** An attempt may still take, or have taken, effect. */
  readonly isOpen: boolean;
  readonly last: DfsError | undefined;
  readonly isLooking: boolean;
}

export class SlotCaller {
  readonly view: ClusterView;
  readonly #environment: Environment;
  readonly #parts: AttemptParts;

  constructor(environment: Environment, view: ClusterView) {
    const flights = new Flights(environment.clock);
    this.view = view;
    this.#environment = environment;
    this.#parts = { view, flights, clock: environment.clock };
    view.onMap((map) => flights.onMap(map));
  }

  /** Throws the definite refusal, or `unknown-outcome`, `unavailable`, `timed-out`, `cancelled`, … */
  async call<N extends MessageName>(request: SlotRequest<N>): Promise<Served<N>> {
    const { patience, about } = request;
    let progress: Progress = { isOpen: false, last: undefined, isLooking: false };
    if (patience.isCancelled) patience.check(about);
    patience.progress();
    for (let attempts = 1; ; attempts++) {
      const table = this.view.table ?? (await this.view.known(patience, about));
      const route = table.routeOf(request.hash);
      try {
        const answer = await this.#askPrimary(request, route);
        patience.progress();
        return { answer, route, attempts };
      } catch (error) {
        if (!(error instanceof AttemptFailure)) throw error;
        progress = this.#afterFailure(request, progress, error);
        await this.#beforeNext(request, { table, route, attempts, error: error.error, isLooking: progress.isLooking });
      }
    }
  }

  /** One request to one peer, without retry. Rejects with AttemptFailure. */
  once<N extends MessageName>(request: Attempt<N>): Promise<Answer<N>> {
    return attempt(request, this.#parts);
  }

  /** Makes sure that some hello has told the cluster's time, if anybody at all can be reached. */
  async syncClock(hash: bigint, patience: Patience): Promise<void> {
    if (this.view.clock.isSynced) return;
    const table = this.view.table ?? (await this.view.known(patience, 'Asking for the time'));
    const masters = this.view.masters.map((address) => ({ address, peerId: undefined }));
    for (const target of [...this.view.holdersOfSlot(table.slotOf(hash)), ...masters]) {
      try {
        await this.view.sessionTo(target, 'small');
        return;
      } catch (error) {
        this.#environment.log.debug({ err: error, address: target.address }, 'Cannot be asked for the time');
      }
    }
  }

  /** What an attempt would end with while nobody serves the slot. */
  noPrimary(slot: SlotNumber): AttemptFailure {
    const why = this.view.isWithoutPeers ? 'The cluster has no peers yet' : `Slot ${slot} has no primary`;
    const error = new DfsError('unavailable', why, { advice: 'Start dfs-peer, or wait for a peer to come back' });
    return new AttemptFailure(error, { wasSent: false });
  }

  endingOf(patience: Patience): Ending | undefined {
    return patience.ending(this.#environment.clock.monotonicMs());
  }

  /** A random share of what the back-off has grown to. */
  backOffMs(attempts: number): number {
    const grownMs = timing.clientRetryMinMs * 2 ** Math.min(attempts - 1, 10);
    return Math.min(timing.clientRetryMaxMs, grownMs) * (0.5 + this.#environment.random.fraction() / 2);
  }

  #askPrimary<N extends MessageName>(request: SlotRequest<N>, route: Route): Promise<Answer<N>> {
    const { primary, slot, term } = route;
    if (primary === undefined) return Promise.reject(this.noPrimary(slot));
    const { name, lane, patience, about, payload, sums } = request;
    const target = { address: primary.address, peerId: primary.id };
    return this.once({
      name,
      target,
      lane,
      slot,
      term,
      patience,
      about,
      payload,
      sums,
      header: () => request.header(route),
    });
  }

  /** Throws when the call is over. */
  #afterFailure<N extends MessageName>(
    request: SlotRequest<N>,
    before: Progress,
    { error, wasSent, ending }: AttemptFailure,
  ): Progress {
    const { identity, about, patience } = request;
    const isMapConfirmed = this.view.isConfirmed;
    const isChange = identity !== undefined;
    const judgement = judge({ error, isChange, wasSent, wasOpen: before.isOpen, isMapConfirmed });
    const { isOpen, step } = judgement;
    const last = ending === undefined ? error : before.last;
    const over = ending ?? this.endingOf(patience);
    if (step === 'unknown') throw withId(unknownOutcome(about, error), identity);
    if (step === 'fail' && ending === undefined) throw withId(error, identity);
    if (over !== undefined) {
      throw withId(givenUp(about, { isOpen, last, why: patience.errorOf(over, about) }), identity);
    }
    if (step === 'renew-id') identity?.renew();
    return { isOpen, last, isLooking: step === 'look-for-map' };
  }

  async #beforeNext<N extends MessageName>(
    { patience }: SlotRequest<N>,
    after: { table: RoutingTable; route: Route; attempts: number; error: DfsError; isLooking: boolean },
  ): Promise<void> {
    const { table, route, attempts, error } = after;
    const delayMs = this.backOffMs(attempts);
    if (!after.isLooking) return patience.sleep(delayMs);
    if (isBroken(error) && route.primary !== undefined) this.view.suspect(route.primary.id);
    this.view.lookForNewer(table.map.epoch, this.view.likelyToKnow(route.slot, attempts));
    return this.view.newerMap(table.map.epoch, patience, delayMs);
  }
}

/** The same error, naming the request. */
function withId(error: DfsError, identity: RequestIdentity | undefined): DfsError {
  const requestId = identity?.hex;
  if (requestId === undefined || error.requestId !== undefined) return error;
  return new DfsError(error.code, error.message, {
    requestId,
    cause: error.cause,
    details: error.details,
    ...(error.advice === undefined ? {} : { advice: error.advice }),
  });
}
