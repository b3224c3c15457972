/**
 * Stores many small files, overwrites some of them, or looks whether all copies of those are good and are read as they
 * were written.
 *
 *   fill --count 100000 --bytes 4096 [--tag TAG: other content under the same names] [--from N: not those
 *     before, of as many] [--every N: only each N-th] [--look]
 */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DfsClient } from 'dfs-store';

const { values: options } = parseArgs({
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    cache: { type: 'string', default: 'cache' },
    from: { type: 'string', default: '0' },
    count: { type: 'string', default: '1000' },
    bytes: { type: 'string', default: '4096' },
    every: { type: 'string', default: '1' },
    tag: { type: 'string', default: 'first' },
    bucket: { type: 'string', default: 'many' },
    look: { type: 'boolean', default: false },
  },
});
const lanes = 64;

function contentOf(at: number): Buffer {
  return Buffer.alloc(Number(options.bytes), createHash('sha512').update(`${options.tag} ${at}`).digest());
}

async function look(client: DfsClient, at: number): Promise<void> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await client.get(`${at}`)).body) chunks.push(chunk);
  if (!contentOf(at).equals(Buffer.concat(chunks))) throw new Error(`${at} has other content`);
  const { segments } = await client.locate(`${at}`);
  const states = segments.flatMap(({ copies }) => copies.map(({ state }) => state));
  if (states.join() !== 'ok,ok') throw new Error(`The copies of ${at} are ${states.join()}`);
}

async function main(): Promise<void> {
  mkdirSync(options.cache, { recursive: true });
  const { bucket, cache, master } = options;
  const client = await DfsClient.connect({ masters: master.split(','), cacheDir: cache, bucket });
  if (!(Number(options.every) >= 1)) throw new Error('--every is a number from 1 on');
  let next = Number(options.from);
  const lane = async (): Promise<void> => {
    while (next < Number(options.count)) {
      const at = next;
      next += Number(options.every);
      if (options.look) await look(client, at);
      else await client.put(`${at}`, contentOf(at));
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  await client.close();
}

await main();
