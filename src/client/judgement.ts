/**
 * What follows from a failed attempt: give up, look for a newer map, or only wait (rules F7, F8). Pure.
 *
 * A change stays *open* while an attempt may have been sent and no later one was definitely refused. A definite refusal
 * comes from inside the key's queue of the one primary that may act by now: whatever an earlier attempt did, it did
 * before, so the answer covers it. What is refused before the queue says nothing about earlier attempts.
 */
import { DfsError, type ErrorCode, refusals } from '../core/errors.js';

export type NextStep =
  /** Throw this error. */
  | 'fail'
  /** Throw `unknown-outcome`. */
  | 'unknown'
  /** The id is older than ids are kept; nothing was done: take a new one. */
  | 'renew-id'
  /** The sender's map or the peer is of no use now. */
  | 'look-for-map'
  /** The same peer may say yes in a moment. */
  | 'wait';

export interface Judgement {
  readonly step: NextStep;
  /** An attempt may still take, or have taken, effect. */
  readonly isOpen: boolean;
}

export interface FailedAttempt {
  readonly error: DfsError;
  /** It changes something, and its request id makes a repeat harmless. */
  readonly isChange: boolean;
  /** Some of it may have left this process. */
  readonly wasSent: boolean;
  /** An earlier attempt is open. */
  readonly wasOpen: boolean;
  /** The map was confirmed by the cluster in this process, so "wrong cluster" is no matter of an old cache. */
  readonly isMapConfirmed: boolean;
}

/** Said about the peer, not about the request: another peer or a newer map may help. */
const aboutThePeer: ReadonlySet<ErrorCode> = new Set(['wrong-identity', 'connection-lost', 'unavailable', 'not-ready']);

/** Told by a peer's own settings, without a look at what an earlier attempt did. */
const toldBeforeTheQueue: ReadonlySet<ErrorCode> = new Set(['too-large', 'denied', 'unsupported', 'invalid']);

/** Never answered, or answered "cannot tell". */
const leavesOpen: ReadonlySet<ErrorCode> = new Set([
  'connection-lost',
  'timed-out',
  'cancelled', // by the other side: its connection broke while it worked
  'unknown-outcome',
  'failed',
]);

export function judge(attempt: FailedAttempt): Judgement {
  const { error, isChange, wasOpen } = attempt;
  const { code } = error;
  const isOpen = isChange && (wasOpen || (attempt.wasSent && leavesOpen.has(code)));
  if (code === 'cancelled') return { step: attempt.wasSent ? 'wait' : failure(isOpen), isOpen };
  if (code === 'expired-id') return { step: wasOpen ? 'unknown' : 'renew-id', isOpen };
  if (code === 'wrong-cluster') return { step: attempt.isMapConfirmed ? failure(isOpen) : 'look-for-map', isOpen };
  if (code === 'wrong-version' || code === 'failed') return { step: failure(isOpen), isOpen };
  if (aboutThePeer.has(code) || refusals[code].retry === 'refresh-map') return { step: 'look-for-map', isOpen };
  // A full disk stays full for longer than anybody waits; but it is told before the queue too, so it settles nothing.
  if (code === 'no-space') return { step: isOpen ? 'wait' : 'fail', isOpen };
  if (code === 'integrity') return { step: isChange ? 'wait' : 'fail', isOpen };
  if (toldBeforeTheQueue.has(code)) return { step: failure(isOpen), isOpen };
  if (refusals[code].retry === 'never') return { step: 'fail', isOpen: false };
  return { step: 'wait', isOpen };
}

function failure(isOpen: boolean): NextStep {
  return isOpen ? 'unknown' : 'fail';
}

/** The error of a call whose time is over, from the last thing that went wrong. */
export function givenUp(
  about: string,
  options: { isOpen: boolean; last: DfsError | undefined; why: DfsError },
): DfsError {
  const { isOpen, last, why } = options;
  if (isOpen) return unknownOutcome(about, last ?? why);
  if (why.code === 'cancelled' || last === undefined || last.code === 'timed-out') return why;
  const code = last.code === 'too-few-copies' || last.code === 'busy' ? last.code : 'unavailable';
  return new DfsError(code, `${why.message}; the last attempt: ${last.message}`, {
    cause: last,
    advice: last.advice ?? why.advice ?? 'Try again',
  });
}

export function unknownOutcome(about: string, cause: DfsError): DfsError {
  return new DfsError('unknown-outcome', `${about} may or may not have taken effect: ${cause.message}`, {
    cause,
    advice: 'Look at the file with "dfs stat" before doing it again',
  });
}
