/**
 * The judgement over a whole history: linearizable per name, versions that never go back, no bad bytes.
 */
import { byName, describeOperation, type History, isAnswered, type Operation } from './history.js';
import { findOrder } from './linearizability.js';
import { longestPauses, type Pauses, spanOf } from './pauses.js';
import { versionComplaints } from './versions.js';

export interface Verdict {
  readonly operations: number;
  /** The first call. */
  readonly startMs: number;
  readonly unknown: number;
  /** By code; a refusal is an answer, but one that a client had to live with. */
  readonly refused: Readonly<Record<string, number>>;
  readonly complaints: readonly string[];
  readonly pauses: Pauses;
  /** On names in the victim's slots; the same as `pauses` when the history names none. */
  readonly victimPauses: Pauses;
}

export const nothingAnswered = 'Nothing was ever answered';

export function judge({ operations, victimNames }: History): Verdict {
  const victims = new Set(victimNames);
  const ofVictim = operations.filter(({ name }) => victims.has(name));
  const refused: Record<string, number> = {};
  for (const { outcome } of operations) {
    if (outcome.state === 'refused') refused[outcome.code] = (refused[outcome.code] ?? 0) + 1;
  }
  const complaints = [...byName(operations)].flatMap(([name, group]) =>
    complaintsAbout(group).map((complaint) => `${name}: ${complaint}`),
  );
  if (!operations.some(isAnswered)) complaints.push(nothingAnswered);
  return {
    operations: operations.length,
    startMs: spanOf(operations).startMs,
    unknown: operations.filter(({ outcome }) => outcome.state === 'unknown').length,
    refused,
    complaints,
    pauses: longestPauses(operations),
    victimPauses: longestPauses(ofVictim.length > 0 ? ofVictim : operations),
  };
}

function complaintsAbout(operations: readonly Operation[]): string[] {
  const corrupt = operations.flatMap((operation) =>
    operation.outcome.state === 'corrupt'
      ? [`Bad bytes: ${operation.outcome.complaint} (${describeOperation(operation)})`]
      : [],
  );
  const sound = operations.filter(({ outcome }) => outcome.state !== 'corrupt');
  const finding = findOrder(sound);
  const order = finding.state === 'linearizable' ? [] : [`Not linearizable: ${finding.complaint}`];
  return [...corrupt, ...versionComplaints(sound), ...order];
}
