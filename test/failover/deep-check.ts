/**
 * Looks at every copy of every file once a scenario is over: all slots whole, every copy there and unharmed, every file
 * readable. Prints what it counted; exits 1 with a line for each problem.
 */
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DfsClient } from 'dfs-store';

const { values: options } = parseArgs({
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    cache: { type: 'string', default: 'cache' },
    bucket: { type: 'string', default: 'files' },
  },
});
const lanes = 8;

async function checkFile(client: DfsClient, name: string, replicas: number): Promise<string[]> {
  const location = await client.locate(name);
  const problems = location.segments.flatMap(({ index, copies }) => {
    // A copy that is being made, as moves go on after all slots are whole, need not be there yet.
    const made = copies.filter(({ role }) => role !== 'joining');
    const bad = made.filter(({ state }) => state !== 'ok').map(({ id, state }) => `${id} ${state}`);
    const missing = replicas - made.length;
    return [
      ...bad.map((copy) => `${name} segment ${index}: ${copy}`),
      ...(missing > 0 ? [`${name} segment ${index}: ${missing} of ${replicas} copies are nowhere`] : []),
    ];
  });
  const { stat, bytes } = await readWhole(client, name);
  if (bytes !== stat.size) problems.push(`${name}: ${bytes} bytes instead of ${stat.size}`);
  return problems;
}

async function readWhole(client: DfsClient, name: string) {
  const file = await client.get(name);
  let bytes = 0;
  for await (const chunk of file.body) bytes += chunk.length;
  return { stat: file.stat, bytes };
}

async function main(): Promise<number> {
  mkdirSync(options.cache, { recursive: true });
  const client = await DfsClient.connect({
    masters: options.master.split(','),
    cacheDir: options.cache,
    bucket: options.bucket,
  });
  const status = await client.status();
  const problems: string[] = [];
  if (status.slots.whole !== status.slots.total) {
    problems.push(`${status.slots.whole} of ${status.slots.total} slots are whole: ${status.reasons.join(', ')}`);
  }
  const names: string[] = [];
  for await (const { name } of client.list()) names.push(name);
  const queue = [...names];
  const lane = async (): Promise<void> => {
    for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
      const found = await checkFile(client, name, status.replicas).catch((error: Error) => [
        `${name}: ${error.message}`,
      ]);
      problems.push(...found);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  await client.close();
  for (const problem of problems.slice(0, 20)) console.log(problem);
  console.log(`${names.length} files, ${problems.length} problems`);
  return problems.length;
}

process.exitCode = (await main()) > 0 ? 1 : 0;
