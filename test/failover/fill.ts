/**
 * Stores many small files, or overwrites some of them.
 *
 *   fill --count 100000 --bytes 4096 [--tag TAG: other content under the same names] [--every N: only each N-th]
 */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DfsClient } from 'dfs-store';

const { values: options } = parseArgs({
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    cache: { type: 'string', default: 'cache' },
    count: { type: 'string', default: '1000' },
    bytes: { type: 'string', default: '4096' },
    every: { type: 'string', default: '1' },
    tag: { type: 'string', default: 'first' },
  },
});
const lanes = 64;

function contentOf(at: number): Buffer {
  return Buffer.alloc(Number(options.bytes), createHash('sha512').update(`${options.tag} ${at}`).digest());
}

async function main(): Promise<void> {
  mkdirSync(options.cache, { recursive: true });
  const client = await DfsClient.connect({ masters: options.master.split(','), cacheDir: options.cache });
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < Number(options.count)) {
      const at = next;
      next += Number(options.every);
      await client.put(`fill/${at}`, contentOf(at));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  await client.close();
}

await main();
