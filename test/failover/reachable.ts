/**
 * Tries to read every file and to write it anew, and prints those that cannot be, as JSON: what is so, to compare with
 * what was foretold. A file of several pieces is only read: written anew, its pieces would lie in other slots.
 */
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DfsClient, DfsError } from 'dfs-store';

const { values: options } = parseArgs({
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    cache: { type: 'string', default: 'cache' },
    /** The names, in lines. */
    names: { type: 'string', default: '' },
    /** Who does not answer for so long does not. */
    deadline: { type: 'string', default: '6' },
  },
});
const lanes = 64;
const deadlineMs = Number(options.deadline) * 1000;

async function isDone(perform: () => Promise<unknown>): Promise<boolean> {
  try {
    await perform();
    return true;
  } catch (error) {
    if (error instanceof DfsError) return false;
    throw error;
  }
}

mkdirSync(options.cache, { recursive: true });
const client = await DfsClient.connect({ masters: options.master.split(','), cacheDir: options.cache });
const unreadable: string[] = [];
const unwritable: string[] = [];
const queue = options.names.split('\n').filter((name) => name !== '');
const lane = async (): Promise<void> => {
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    const each = name;
    const isReadable = await isDone(async () => (await client.get(each, { deadlineMs })).bytes());
    if (!isReadable) unreadable.push(each);
    if (each.startsWith('large/')) continue;
    if (!(await isDone(() => client.put(each, Buffer.from(each), { deadlineMs })))) unwritable.push(each);
  }
};
await Promise.all(Array.from({ length: lanes }, lane));
await client.close();
console.log(JSON.stringify({ unreadable: unreadable.sort(), unwritable: unwritable.sort() }));
