/**
 * Writers and readers at work on a few names through the public library, recording what they did and saw.
 *
 * Prints "running" when every worker has had an answer, and ends on SIGTERM or after `--seconds`: the operations under
 * way finish, every name is read once more, and the history is written to `--out`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DfsClient, DfsError } from 'dfs-store';
import { type Action, type Kept, type Operation, type Outcome, writeHistory } from '../checker/history.js';
import { makeBody, valueOfBody } from './body.js';

const { values: options } = parseArgs({
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    /** Tells the workers of several such processes apart. */
    tag: { type: 'string', default: '' },
    out: { type: 'string', default: 'history.jsonl' },
    cache: { type: 'string', default: 'cache' },
    writers: { type: 'string', default: '8' },
    readers: { type: 'string', default: '4' },
    names: { type: 'string', default: '50' },
    /** Operations a second of each worker. */
    rate: { type: 'string', default: '50' },
    seconds: { type: 'string', default: '600' },
    /** The peer the scenario attacks. */
    victim: { type: 'string', default: '' },
    /** Only names in slots that the victim serves. */
    'only-victim': { type: 'boolean', default: false },
    /** "mixed", or a number of bytes. */
    sizes: { type: 'string', default: 'mixed' },
    timeout: { type: 'string', default: '30' },
  },
});

const operations: Operation[] = [];
const lastSeen = new Map<string, string>();
let isStopping = false;

function stop(): void {
  isStopping = true;
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);

/** The machine's own monotonic clock, so that histories of several processes can be put together. */
function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function connect(worker: string): Promise<DfsClient> {
  const cacheDir = join(options.cache, worker);
  mkdirSync(cacheDir, { recursive: true });
  return DfsClient.connect({ masters: options.master.split(','), cacheDir, timeoutMs: Number(options.timeout) * 1000 });
}

/** The names to work on, and those of them in slots that the victim serves. */
async function chooseNames(client: DfsClient): Promise<{ names: string[]; victimNames: string[] }> {
  const wanted = Number(options.names);
  const names: string[] = [];
  const victimNames: string[] = [];
  for (let index = 0; names.length < wanted; index++) {
    const name = `failover/${index}`;
    const isOfVictim = options.victim !== '' && (await client.locate(name)).primary?.id === options.victim;
    if (isOfVictim) victimNames.push(name);
    if (isOfVictim || !options['only-victim']) names.push(name);
    if (index > wanted * 100) throw new Error(`Peer ${options.victim} serves too few slots`);
  }
  return { names, victimNames };
}

function pick<T>(choices: readonly T[]): T {
  return choices[Math.floor(Math.random() * choices.length)] as T;
}

/** Mostly small, some around the bounds of inline storage and of a segment, a few of several segments. */
function pickSizeBytes(): number {
  if (options.sizes !== 'mixed') return Number(options.sizes);
  const chance = Math.random();
  if (chance < 0.8) return 100 + Math.floor(Math.random() * 4000);
  if (chance < 0.95) return pick([65_535, 65_536, 65_537, 66_000]);
  return chance < 0.994 ? 300_000 : 5_000_000;
}

function pickWrite(name: string, value: string): Exclude<Action, { kind: 'get' }> {
  const chance = Math.random();
  const ifVersion = lastSeen.get(name);
  if (chance < 0.1) return { kind: 'delete' };
  if (chance < 0.13 && ifVersion !== undefined) return { kind: 'delete', ifVersion };
  if (chance < 0.3 && ifVersion !== undefined) return { kind: 'put', value, ifVersion };
  if (chance < 0.36) return { kind: 'put', value, ifAbsent: true };
  return { kind: 'put', value };
}

async function perform(client: DfsClient, name: string, action: Action): Promise<Outcome> {
  if (action.kind === 'get') {
    const file = await client.get(name);
    const bytes = await file.bytes();
    try {
      return { state: 'done', value: valueOfBody(bytes, name), version: file.stat.version };
    } catch (error) {
      return { state: 'corrupt', complaint: `${(error as Error).message} (version ${file.stat.version})` };
    }
  }
  if (action.kind === 'delete') {
    const receipt = await client.delete(name, condition(action));
    return { state: 'done', version: receipt.version, receipt: keptOf(receipt) };
  }
  const body = makeBody({ name, value: action.value, sizeBytes: pickSizeBytes() });
  const receipt = await client.put(name, body, condition(action));
  const isWhole = receipt.segments === 1; // else the copies are the least over several slots
  return { state: 'done', version: receipt.version, ...(isWhole ? { receipt: keptOf(receipt) } : {}) };
}

function keptOf({ slotEpoch, copies }: { slotEpoch: number; copies: { durable: number } }): Kept {
  return { slotEpoch, durable: copies.durable };
}

function condition(action: Action): { ifVersion?: string; ifAbsent?: boolean } {
  if (action.kind !== 'get' && action.ifVersion !== undefined) return { ifVersion: action.ifVersion };
  return action.kind === 'put' && action.ifAbsent ? { ifAbsent: true } : {};
}

/** Only an unknown outcome may have had an effect; every other refusal says that there was none. */
function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof DfsError)) throw error;
  if (error.code === 'not-found') return { state: 'absent' };
  if (error.code === 'conflict') return { state: 'conflict' };
  return { state: error.code === 'unknown-outcome' ? 'unknown' : 'refused', code: error.code };
}

async function record(worker: string, client: DfsClient, task: { name: string; action: Action }): Promise<void> {
  const calledMs = nowMs();
  const outcome = await perform(client, task.name, task.action).catch(outcomeOf);
  const returnedMs = nowMs();
  operations.push({ worker, ...task, calledMs, returnedMs, outcome });
  if (outcome.state === 'done' && outcome.version !== undefined && task.action.kind !== 'delete') {
    lastSeen.set(task.name, outcome.version);
  }
}

async function work(worker: string, names: readonly string[], onAnswer: () => void): Promise<void> {
  const client = await connect(worker);
  const intervalMs = 1000 / Number(options.rate);
  let dueMs = nowMs() + Math.random() * intervalMs;
  for (let count = 1; !isStopping; count++) {
    const waitMs = dueMs - nowMs();
    if (waitMs > 0) await sleep(waitMs);
    dueMs = Math.max(dueMs + intervalMs, nowMs());
    const name = pick(names);
    const action: Action = worker.includes('w') ? pickWrite(name, `${worker}:${count}`) : { kind: 'get' };
    await record(worker, client, { name, action });
    if (count === 1) onAnswer();
  }
  await client.close();
}

async function main(): Promise<void> {
  const client = await connect('last');
  const { names, victimNames } = await chooseNames(client);
  writeFileSync(options.out.replace(/\.jsonl$/, '.names'), JSON.stringify(names));
  const workers = [
    ...Array.from({ length: Number(options.writers) }, (_, index) => `${options.tag}w${index}`),
    ...Array.from({ length: Number(options.readers) }, (_, index) => `${options.tag}r${index}`),
  ];
  let answered = 0;
  const timer = setTimeout(stop, Number(options.seconds) * 1000);
  const onAnswer = (): void => {
    answered++;
    if (answered === workers.length) console.log('running');
  };
  await Promise.all(workers.map((worker) => work(worker, names, onAnswer)));
  clearTimeout(timer);
  for (const name of names) await record('last', client, { name, action: { kind: 'get' } });
  await client.close();
  writeFileSync(options.out, writeHistory({ victimNames, operations }));
}

await main();
