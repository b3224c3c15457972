/**
 * What clients were told in numbers: one version names one content for ever, none goes back, and receipts of one slot
 * epoch speak of one set of copies.
 *
 * Independent of the search for an order: it catches what a lucky order could hide.
 */
import { describeOperation, isWrite, type Kept, type Operation } from './history.js';

/** All of one name. One sentence for each violation. */
export function versionComplaints(operations: readonly Operation[]): string[] {
  return [...identityComplaints(operations), ...orderComplaints(operations), ...receiptComplaints(operations)];
}

function identityComplaints(operations: readonly Operation[]): string[] {
  const complaints: string[] = [];
  const versionByValue = new Map<string, string>();
  const valueByVersion = new Map<string, string>();
  for (const operation of operations) {
    const told = toldBy(operation);
    if (!told) continue;
    const version = versionByValue.get(told.value) ?? told.version;
    const value = valueByVersion.get(told.version) ?? told.value;
    if (version !== told.version) complaints.push(`${told.value} has versions ${version} and ${told.version}`);
    if (value !== told.value) complaints.push(`Version ${told.version} names ${value} and ${told.value}`);
    versionByValue.set(told.value, version);
    valueByVersion.set(told.version, value);
  }
  return complaints;
}

/** The content and version that an answer speaks of; a deletion's content is its own. */
function toldBy({ action, outcome }: Operation): { value: string; version: string } | undefined {
  if (outcome.state !== 'done' || outcome.version === undefined) return undefined;
  if (action.kind === 'put') return { value: action.value, version: outcome.version };
  if (action.kind === 'get') return { value: outcome.value ?? '', version: outcome.version };
  return { value: `deletion ${outcome.version}`, version: outcome.version };
}

function orderComplaints(operations: readonly Operation[]): string[] {
  const told = operations.filter(({ outcome }) => outcome.state === 'done' && outcome.version !== undefined);
  const byCall = [...told].sort((a, b) => a.calledMs - b.calledMs);
  const byReturn = [...told].sort((a, b) => a.returnedMs - b.returnedMs);
  const complaints: string[] = [];
  let newest: Operation | undefined;
  let next = 0;
  for (const operation of byCall) {
    for (; (byReturn[next]?.returnedMs ?? Number.POSITIVE_INFINITY) < operation.calledMs; next++) {
      const ended = byReturn[next] as Operation;
      if (!newest || compare(ended, newest) > 0) newest = ended;
    }
    if (!newest) continue;
    const order = compare(operation, newest);
    if (order < 0 || (order === 0 && isWrite(operation))) {
      complaints.push(`Went back: ${describeOperation(operation)} after ${describeOperation(newest)}`);
    }
  }
  return complaints;
}

/**
 * A slot epoch stands for one in-sync set, all of which must have answered: a receipt with fewer copies under the same
 * slot epoch was given before the smaller set was committed.
 */
function receiptComplaints(operations: readonly Operation[]): string[] {
  const first = new Map<number, Operation>();
  const complaints: string[] = [];
  for (const operation of operations) {
    const receipt = receiptOf(operation);
    if (!receipt) continue;
    const other = first.get(receipt.slotEpoch) ?? operation;
    first.set(receipt.slotEpoch, other);
    if (receiptOf(other)?.durable === receipt.durable) continue;
    complaints.push(`Slot epoch ${receipt.slotEpoch} with ${receiptOf(other)?.durable} and ${receipt.durable} copies`);
  }
  return complaints;
}

function receiptOf({ outcome }: Operation): Kept | undefined {
  return outcome.state === 'done' ? outcome.receipt : undefined;
}

function compare(a: Operation, b: Operation): number {
  const [epochA, counterA] = partsOf(a);
  const [epochB, counterB] = partsOf(b);
  return epochA - epochB || counterA - counterB;
}

function partsOf({ outcome }: Operation): [epoch: number, counter: number] {
  const text = outcome.state === 'done' ? (outcome.version ?? '') : '';
  const match = /^(\d+)\.(\d+)$/.exec(text);
  if (!match) throw new Error(`Not a version: ${text}`);
  return [Number(match[1]), Number(match[2])];
}
