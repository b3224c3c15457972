/** How a change of the cluster is told, what it moves, and how it is waited for. */
import type { ClusterChange, ClusterStatus, Moves } from '../client/results.js';
import { sleep } from '../core/environment.js';
import { refusals } from '../core/errors.js';
import type { Context } from './command.js';
import { formatBytes, formatDuration, plural } from './units.js';

const waitPollMs = 500;

export function toMovesText(moves: Moves): string {
  if (moves.copies === 0) return 'nothing has to move';
  const least = moves.leastCopies < moves.copies ? ` (at least ${moves.leastCopies} by any way)` : '';
  const eta = moves.etaSeconds === null ? '' : `, about ${formatDuration(moves.etaSeconds)}`;
  const copies = plural(moves.copies, 'copy', 'copies');
  return `${copies}${least} of ${plural(moves.slots, 'slot')}, ${formatBytes(moves.bytes)}${eta}`;
}

export function toChangeText(change: ClusterChange, done: string): string {
  if (change.isDryRun) return `This would move ${toMovesText(change.moves)}.`;
  if (!change.isChanged) return 'It is so already.';
  return change.moves.copies === 0 ? `${done}.` : `${done}. To move: ${toMovesText(change.moves)}.`;
}

/**
 * Prints the change; with `isAwaited` resolves only when `isOver` says so of the status. Resolves with the exit code:
 * 6 when the time ran out first.
 */
export async function finishChange(
  context: Context,
  change: ClusterChange,
  on: { done: string; isAwaited: boolean; isOver: (status: ClusterStatus) => boolean },
): Promise<number> {
  await context.output.answer(change, () => toChangeText(change, on.done));
  if (!on.isAwaited || change.isDryRun) return 0;
  const { deadlineMs } = context.settings;
  const client = await context.connect();
  const endMs = context.clock.monotonicMs() + (deadlineMs ?? Number.POSITIVE_INFINITY);
  for (;;) {
    const status = await client.status({ signal: context.interrupted });
    if (on.isOver(status)) return 0;
    if (context.clock.monotonicMs() >= endMs) {
      const left = `${plural(status.moves.slotsLeft, 'slot')} and ${formatBytes(status.repair.bytesLeft)} are left`;
      await context.output.tell(`It goes on, but not within --deadline: ${left}. See dfs status`);
      return refusals.unavailable.exitCode;
    }
    await sleep(context.clock, waitPollMs);
  }
}

/** Every slot is where it should be, on whom it should be. */
export function isSettled({ moves, repair }: ClusterStatus): boolean {
  return moves.slotsLeft === 0 && repair.slotsLeft === 0;
}
