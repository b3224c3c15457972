/**
 * One attempt: one request to one peer, watched while it is under way. It ends with the answer, or as a failed attempt
 * that says what went wrong and whether any of it may have been sent.
 */
import type { Clock } from '../core/environment.js';
import { DfsError, toDfsError } from '../core/errors.js';
import { limits } from '../core/limits.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import type { Answer, Session } from '../protocol/session.js';
import type { ClusterView } from './cluster-view.js';
import type { Lane, Target } from './connections.js';
import type { Flight, Flights } from './flights.js';
import type { Ending, Patience } from './patience.js';

export interface Attempt<N extends MessageName> {
  readonly name: N;
  readonly target: Target;
  readonly lane: Lane;
  readonly slot: number;
  /** Abandoned when the slot's term is no longer this one; undefined when any holder may answer at any time. */
  readonly term: number | undefined;
  readonly patience: Patience;
  readonly about: string;
  readonly payload?: Uint8Array | undefined;
  readonly sums?: Uint8Array | undefined;
  /** The answer is no longer wanted: another holder gave it. */
  readonly signal?: AbortSignal | undefined;
  /** Built once the session stands, so that ids carry the cluster's clock. */
  header(): RequestOf<N>;
  /** Called at each look once it is slow; `quietMs`: how long nothing at all has come from the peer. */
  onSlow?(quietMs: number): void;
}

export class AttemptFailure extends Error {
  override name = 'AttemptFailure';
  readonly error: DfsError;
  /** Some of it may have left this process. */
  readonly wasSent: boolean;
  /** Stopped by the end of the caller's patience. */
  readonly ending: Ending | undefined;

  constructor(error: DfsError, more: { wasSent: boolean; ending?: Ending }) {
    super(error.message, { cause: error });
    this.error = error;
    this.wasSent = more.wasSent;
    this.ending = more.ending;
  }
}

export interface AttemptParts {
  readonly view: ClusterView;
  readonly flights: Flights;
  readonly clock: Clock;
}

/** The connection to the peer broke or could not be made: the master should look at it. */
export function isBroken({ code, details }: DfsError): boolean {
  return code === 'connection-lost' && details.moved !== true;
}

/** Rejects with AttemptFailure only. */
export function attempt<N extends MessageName>(request: Attempt<N>, parts: AttemptParts): Promise<Answer<N>> {
  const { view, flights, clock } = parts;
  return new Promise((resolve, reject) => {
    // Large payloads are taken back when the attempt is abandoned, so that they do not pile up in memory.
    const isLarge = request.payload !== undefined && request.payload.length > limits.uncreditedBytesMax;
    const withdrawal = isLarge ? new AbortController() : undefined;
    const startedMs = clock.monotonicMs();
    let session: Session | undefined;
    let isOver = false;
    const flight: Flight = {
      slot: request.slot,
      term: request.term,
      startedMs,
      patience: request.patience,
      onSlow: (nowMs) => {
        view.lookForNewer(view.table?.map.epoch ?? 0, view.holdersOfSlot(request.slot));
        request.onSlow?.(nowMs - Math.max(startedMs, session?.lastHeardMs ?? 0));
      },
      stop: (reason) => {
        if (reason === 'moved') fail(new DfsError('connection-lost', moved, { details: { moved: true } }));
        else fail(request.patience.errorOf(reason, request.about), reason);
        withdrawal?.abort();
      },
    };
    const fail = (error: DfsError, ending?: Ending): void => {
      if (isOver) return;
      isOver = true;
      flights.remove(flight);
      const wasSent = session !== undefined && error.details.sent !== false;
      reject(new AttemptFailure(error, ending === undefined ? { wasSent } : { wasSent, ending }));
    };
    const answered = (answer: Answer<N>): void => {
      if (isOver) return;
      isOver = true;
      flights.remove(flight);
      view.confirm();
      resolve(answer);
    };
    const failed = (error: unknown): void => fail(toDfsError(error));
    const send = (opened: Session): void => {
      if (isOver) return;
      session = opened;
      const options = sendOptions(request, clock, withdrawal);
      opened.request(request.name, request.header(), options).then(answered, failed);
    };
    flights.add(flight);
    const opened = view.sessionTo(request.target, request.lane);
    if (opened instanceof Promise) opened.then(send).catch(failed);
    else send(opened);
  });
}

const moved = 'The slot has a new primary or term; the attempt was abandoned';

function sendOptions<N extends MessageName>(
  request: Attempt<N>,
  clock: Clock,
  withdrawal: AbortController | undefined,
): { timeoutMs: number; payload?: Uint8Array; sums?: Uint8Array; signal?: AbortSignal } {
  const timeoutMs = request.patience.remainingMs(clock.monotonicMs());
  const { signal } = request;
  if (request.payload === undefined) return signal === undefined ? { timeoutMs } : { timeoutMs, signal };
  return {
    timeoutMs,
    payload: request.payload,
    ...(request.sums === undefined ? {} : { sums: request.sums }),
    ...(withdrawal === undefined ? {} : { signal: withdrawal.signal }),
  };
}
