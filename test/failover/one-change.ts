/**
 * A client that makes one change at a time, when told so by a line on stdin, and answers each by a line:
 *   primary   the address of the primary of the name
 *   put       replaces the content of the name, if it is still what it was seen to be last; "done", or what went wrong
 *   delete    the same with a delete
 *   whole     waits until no slot lacks a copy
 * While a change is under way the name is read again and again; after it the name must be what the receipt says, in the
 * receipt's version. At the end of stdin the history of all that is written to `--out`.
 */
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DfsClient, DfsError } from 'dfs-store';
import { type Action, type Operation, type Outcome, writeHistory } from '../checker/history.js';
import { makeBody, valueOfBody } from './body.js';

const { values: options } = parseArgs({
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    name: { type: 'string', default: 'killed' },
    /** Above what is kept in the index: its bytes take a file of their own. */
    size: { type: 'string', default: '100000' },
    out: { type: 'string', default: 'history.jsonl' },
  },
});
const { name } = options;
const wholeWithinMs = 20_000;

const operations: Operation[] = [];
const client = await DfsClient.connect({ masters: options.master.split(','), cacheDir: null });
const reader = await DfsClient.connect({ masters: options.master.split(','), cacheDir: null });
let changes = 0;
/** Undefined: there is no such file. */
let version: string | undefined;

function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

async function record(worker: string, action: Action, perform: () => Promise<Outcome>): Promise<Outcome> {
  const calledMs = nowMs();
  const outcome = await perform().catch(outcomeOf);
  operations.push({ worker, name, action, calledMs, returnedMs: nowMs(), outcome });
  return outcome;
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof DfsError)) throw error;
  if (error.code === 'not-found') return { state: 'absent' };
  if (error.code === 'conflict') return { state: 'conflict' };
  return { state: error.code === 'unknown-outcome' ? 'unknown' : 'refused', code: error.code };
}

function read(worker: string): Promise<Outcome> {
  return record(worker, { kind: 'get' }, async () => {
    const file = await reader.get(name);
    return { state: 'done', value: valueOfBody(await file.bytes(), name), version: file.stat.version };
  });
}

function put(): Promise<Outcome> {
  const value = `w:${++changes}`;
  const body = makeBody({ name, value, sizeBytes: Number(options.size) });
  const condition = version === undefined ? { ifAbsent: true } : { ifVersion: version };
  return record('w', { kind: 'put', value, ...condition }, async () => {
    const receipt = await client.put(name, body, condition);
    return { state: 'done', version: receipt.version };
  });
}

function remove(): Promise<Outcome> {
  const condition = version === undefined ? {} : { ifVersion: version };
  return record('w', { kind: 'delete', ...condition }, async () => {
    const receipt = await client.delete(name, condition);
    return { state: 'done', version: receipt.version };
  });
}

/** What to tell of a change: it is done once, and what is read after it is what it made. */
async function change(kind: 'put' | 'delete'): Promise<string> {
  let isOver = false;
  const readOn = async (): Promise<void> => {
    while (!isOver) await read('r');
  };
  const reading = readOn();
  const outcome = await (kind === 'put' ? put() : remove());
  isOver = true;
  await reading;
  if (outcome.state !== 'done') return JSON.stringify(outcome);
  const after = await read('r');
  const isAsTold =
    kind === 'put' ? after.state === 'done' && after.version === outcome.version : after.state === 'absent';
  if (!isAsTold) return `told version ${outcome.version}, then read ${JSON.stringify(after)}`;
  version = kind === 'put' ? outcome.version : undefined;
  return 'done';
}

async function untilWhole(): Promise<string> {
  const endMs = nowMs() + wholeWithinMs;
  while (nowMs() < endMs) {
    const { slots } = await client.status();
    if (slots.whole === slots.total) return 'done';
    await sleep(20);
  }
  return `not whole within ${wholeWithinMs} ms`;
}

async function answer(line: string): Promise<string> {
  if (line === 'primary') return (await client.locate(name)).primary?.address ?? 'nobody';
  if (line === 'whole') return untilWhole();
  return change(line === 'delete' ? 'delete' : 'put');
}

for await (const line of createInterface({ input: process.stdin })) console.log(await answer(line));
await client.close();
await reader.close();
writeFileSync(options.out, writeHistory({ victimNames: [name], operations }));
