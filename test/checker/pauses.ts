/**
 * How long clients as a whole had to wait: the longest time in which no operation was answered.
 */
import { isAnswered, isWrite, type Operation } from './history.js';

export interface Pause {
  readonly pauseMs: number;
  /** When it began, by the clock of the history. */
  readonly atMs: number;
}

/** The longest gap between successive moments, those of start and end included. */
export function longestGap(momentsMs: readonly number[], span: { startMs: number; endMs: number }): Pause {
  const moments = [span.startMs, ...[...momentsMs].sort((a, b) => a - b), span.endMs];
  let longest: Pause = { pauseMs: 0, atMs: span.startMs };
  for (let index = 1; index < moments.length; index++) {
    const atMs = moments[index - 1] as number;
    const pauseMs = (moments[index] as number) - atMs;
    if (pauseMs > longest.pauseMs) longest = { pauseMs, atMs };
  }
  return longest;
}

/** From the first call to the last return. */
export function spanOf(operations: readonly Operation[]): { startMs: number; endMs: number } {
  let startMs = Number.POSITIVE_INFINITY;
  let endMs = Number.NEGATIVE_INFINITY;
  for (const { calledMs, returnedMs } of operations) {
    startMs = Math.min(startMs, calledMs);
    endMs = Math.max(endMs, returnedMs);
  }
  return { startMs, endMs };
}

export interface Pauses {
  readonly write: Pause;
  readonly read: Pause;
}

export function longestPauses(operations: readonly Operation[]): Pauses {
  const span = spanOf(operations);
  const momentsOf = (wanted: (operation: Operation) => boolean): number[] =>
    operations.filter((operation) => wanted(operation) && isAnswered(operation)).map(({ returnedMs }) => returnedMs);
  return {
    write: longestGap(momentsOf(isWrite), span),
    read: longestGap(
      momentsOf((operation) => !isWrite(operation)),
      span,
    ),
  };
}
