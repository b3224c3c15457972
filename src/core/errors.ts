/**
 * The expected ways to say no (refusals), as a table, and the one error type users meet.
 *
 * A refusal is an answer: it travels on the wire with its code, a sentence and advice. `retry` says what a client may
 * do; whether the refused attempt certainly had no effect is judged by client/judgement.ts (rule F7).
 */
export type Retry = 'never' | 'refresh-map' | 'later' | 'other-replica';

interface Refusal {
  readonly retry: Retry;
  readonly exitCode: number;
  readonly meaning: string;
}

export const refusals = {
  'not-found': { retry: 'never', exitCode: 3, meaning: 'No file has this name' },
  conflict: { retry: 'never', exitCode: 5, meaning: 'The condition does not hold' },
  denied: { retry: 'never', exitCode: 4, meaning: 'The identity or the right is missing' },
  invalid: { retry: 'never', exitCode: 2, meaning: 'The request is malformed' },
  'too-large': { retry: 'never', exitCode: 1, meaning: 'A size is above its limit' },
  'no-space': { retry: 'later', exitCode: 1, meaning: 'A disk has no room above its reserve' },
  busy: { retry: 'later', exitCode: 6, meaning: 'The peer has no memory to spare right now' },
  'too-few-copies': { retry: 'later', exitCode: 6, meaning: 'Fewer copies in sync than minInSync' },
  'stale-term': { retry: 'refresh-map', exitCode: 6, meaning: 'The request was routed by another term of the slot' },
  'stale-epoch': { retry: 'refresh-map', exitCode: 6, meaning: 'The sender acts on an older slot record' },
  'wrong-role': { retry: 'refresh-map', exitCode: 6, meaning: 'This peer does not serve the slot in that role' },
  'not-ready': { retry: 'later', exitCode: 6, meaning: 'The slot is being levelled or handed over' },
  unavailable: { retry: 'later', exitCode: 6, meaning: 'Nobody can serve this right now' },
  'timed-out': { retry: 'later', exitCode: 6, meaning: 'The deadline passed' },
  'unknown-outcome': { retry: 'later', exitCode: 9, meaning: 'The change may or may not have taken effect' },
  'expired-id': { retry: 'never', exitCode: 9, meaning: 'The request id is too old to be told from a new one' },
  'void-upload': { retry: 'never', exitCode: 5, meaning: 'The upload was abandoned and its segments may be gone' },
  gone: { retry: 'never', exitCode: 6, meaning: 'The version being read was replaced and its bytes swept' },
  integrity: { retry: 'other-replica', exitCode: 7, meaning: 'Bytes do not match their checksum' },
  'wrong-cluster': { retry: 'never', exitCode: 78, meaning: 'The other side belongs to another cluster' },
  'wrong-identity': { retry: 'never', exitCode: 78, meaning: 'The other side is not who it was expected to be' },
  removed: { retry: 'never', exitCode: 78, meaning: 'The peer was removed from the cluster' },
  'wrong-version': { retry: 'never', exitCode: 78, meaning: 'The protocol versions do not match' },
  unsupported: { retry: 'never', exitCode: 2, meaning: 'This version does not do that' },
  cancelled: { retry: 'never', exitCode: 130, meaning: 'The caller gave up' },
  'connection-lost': { retry: 'later', exitCode: 6, meaning: 'The connection broke before the answer' },
  'partly-done': { retry: 'never', exitCode: 8, meaning: 'Some of several operations failed' },
  failed: { retry: 'never', exitCode: 1, meaning: 'Something else failed' },
} as const satisfies Record<string, Refusal>;

export type ErrorCode = keyof typeof refusals;

export interface ErrorDetails {
  readonly advice?: string;
  readonly requestId?: string;
  readonly cause?: unknown;
  /** For this process only, never on the wire: whether anything was `sent`, whether the slot has `moved`. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What every call of the library throws, and what a handler throws to refuse a request. */
export class DfsError extends Error {
  override name = 'DfsError';
  readonly code: ErrorCode;
  readonly advice: string | undefined;
  readonly requestId: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, more: ErrorDetails = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.code = code;
    this.advice = more.advice;
    this.requestId = more.requestId;
    this.details = more.details ?? {};
  }
}

export function refuse(code: ErrorCode, message: string, more: ErrorDetails = {}): never {
  throw new DfsError(code, message, more);
}

export function isRefusal(error: unknown, ...codes: readonly ErrorCode[]): error is DfsError {
  return error instanceof DfsError && (codes.length === 0 || codes.includes(error.code));
}

export function toDfsError(error: unknown): DfsError {
  if (error instanceof DfsError) return error;
  return new DfsError('failed', error instanceof Error ? error.message : String(error), { cause: error });
}

/** The local disk or index broke. A daemon that meets it ends with exit code 70: it can no longer promise anything. */
export class StorageFailure extends Error {
  override name = 'StorageFailure';
}

/** What the daemons add to the exit codes of refusals; a contract with scripts and service managers. */
export const exitCodes = { ok: 0, usage: 2, storage: 70, folderInUse: 75, configuration: 78 } as const;

/** A daemon cannot start, or must not go on: it prints the sentence and ends with `exitCode`. */
export class DaemonStop extends Error {
  override name = 'DaemonStop';
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
