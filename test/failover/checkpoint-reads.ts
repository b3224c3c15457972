/**
 * Reads the names of a workload in the cluster that a checkpoint was restored into, and writes what it found as reads
 * of the first cluster, made at some moment while the checkpoint was: so the checker says whether it is right.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DfsClient, DfsError } from 'dfs-store';
import { type Operation, type Outcome, writeHistory } from '../checker/history.js';
import { valueOfBody } from './body.js';

const { values: options } = parseArgs({
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    cache: { type: 'string', default: 'cache' },
    /** A JSON array of names. */
    names: { type: 'string', default: 'history.names' },
    /** When the checkpoint was asked for, and when it was there, by the workload's clock. */
    from: { type: 'string', default: '0' },
    to: { type: 'string', default: '0' },
    out: { type: 'string', default: 'checkpoint.jsonl' },
  },
});

async function read(client: DfsClient, name: string): Promise<Outcome> {
  try {
    const file = await client.get(name);
    // Its version is of another cluster, and says nothing in this history.
    return { state: 'done', value: valueOfBody(await file.bytes(), name) };
  } catch (error) {
    if (error instanceof DfsError && error.code === 'not-found') return { state: 'absent' };
    if (error instanceof DfsError) throw error;
    return { state: 'corrupt', complaint: (error as Error).message };
  }
}

mkdirSync(options.cache, { recursive: true });
const client = await DfsClient.connect({ masters: options.master.split(','), cacheDir: options.cache });
const operations: Operation[] = [];
for (const name of JSON.parse(readFileSync(options.names, 'utf8')) as string[]) {
  const [calledMs, returnedMs] = [Number(options.from), Number(options.to)];
  operations.push({
    worker: 'checkpoint',
    name,
    action: { kind: 'get' },
    calledMs,
    returnedMs,
    outcome: await read(client, name),
  });
}
await client.close();
writeFileSync(options.out, writeHistory({ victimNames: [], operations }));
const there = operations.filter(({ outcome }) => outcome.state === 'done').length;
console.log(`${there} of ${operations.length} names are there`);
