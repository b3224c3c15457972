/**
 * Reads one daemon's strace of one put and says whether bytes were synced before the index, and the index before the
 * answer. Exits 1 with a sentence when not.
 *
 * The connection that matters is the one on which most bytes arrived: the client's at the primary, the primary's bulk
 * connection at the backup. The answer is the first thing sent on it after the last of those bytes. A sync counts when
 * it ends; one that strace only pretended to make counts for nothing.
 */
import { readFileSync } from 'node:fs';

interface Call {
  readonly name: string;
  /** What strace -yy shows for the descriptor: a path or "TCP:[…]". */
  readonly target: string;
  readonly result: number;
  /** Places in the trace. */
  readonly beganAt: number;
  readonly endedAt: number;
  readonly isPretended: boolean;
}

function readTrace(text: string): Call[] {
  const calls: Call[] = [];
  const open = new Map<string, { name: string; target: string; beganAt: number }>();
  for (const [at, line] of text.split('\n').entries()) {
    const [, pid = '', rest = ''] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    const resumed = /^<\.\.\. \w+ resumed>/.test(rest);
    const start = /^(\w+)\(\d+<(.*?)>[,)\s]/.exec(rest);
    const begun = resumed
      ? open.get(pid)
      : start && { name: start[1] as string, target: start[2] as string, beganAt: at };
    if (!begun) continue;
    if (rest.includes('<unfinished ...>')) {
      open.set(pid, begun);
      continue;
    }
    const result = Number(/\)\s+= (-?\d+)/.exec(rest)?.[1] ?? Number.NaN);
    calls.push({ ...begun, result, endedAt: at, isPretended: rest.includes('(INJECTED)') });
  }
  return calls;
}

function isConnection({ target }: Call): boolean {
  return target.includes('TCP');
}

function isRead({ name }: Call): boolean {
  return ['read', 'readv', 'recvfrom'].includes(name);
}

function isSync({ name, isPretended, result }: Call): boolean {
  return (name === 'fsync' || name === 'fdatasync') && !isPretended && result === 0;
}

function isIndex({ target }: Call): boolean {
  return target.endsWith('.mdb');
}

/** Throws a sentence when the order is wrong. */
function checkOrder(calls: readonly Call[]): string {
  const arrived = new Map<string, number>();
  for (const call of calls) {
    if (isConnection(call) && isRead(call) && call.result > 0) {
      arrived.set(call.target, (arrived.get(call.target) ?? 0) + call.result);
    }
  }
  const [connection, bytes] = [...arrived].sort((a, b) => b[1] - a[1])[0] ?? ['', 0];
  if (bytes < 1_000_000) throw new Error(`Only ${bytes} bytes arrived on one connection`);
  const lastRead = calls.findLast((call) => call.target === connection && isRead(call) && call.result > 10_000) as Call;
  const answer = calls.find(
    (call) => call.target === connection && !isRead(call) && call.beganAt > lastRead.endedAt && call.result > 0,
  );
  if (!answer) throw new Error('No answer was sent');
  const inTime = calls.filter((call) => isSync(call) && call.endedAt < answer.beganAt);
  const bytesSynced = inTime.find((call) => !isIndex(call) && call.endedAt > lastRead.beganAt);
  if (!bytesSynced) throw new Error('The bytes were not synced before the answer');
  const indexSynced = inTime.findLast(isIndex);
  if (!indexSynced) throw new Error('The index was not synced before the answer');
  if (indexSynced.beganAt < bytesSynced.endedAt) throw new Error('The index was synced before the bytes');
  return `bytes (${bytesSynced.name}), index (${indexSynced.name}), answer (${answer.name})`;
}

try {
  console.log(checkOrder(readTrace(readFileSync(process.argv[2] as string, 'utf8'))));
} catch (error) {
  console.log((error as Error).message);
  process.exitCode = 1;
}
