/**
 * Files that are written once and must outlive whatever is done to the cluster: stores so many of them, and says later
 * whether each is still there in the version it was acknowledged with. What their bytes are is for the deep check.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DfsClient } from 'dfs-store';
import { makeBody } from './body.js';

const { values: options } = parseArgs({
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    cache: { type: 'string', default: 'cache' },
    /** The versions by name, as they were acknowledged: written, or with --check read. */
    versions: { type: 'string', default: 'versions.json' },
    files: { type: 'string', default: '100' },
    /** Of all together. */
    bytes: { type: 'string', default: '20000000' },
    check: { type: 'boolean', default: false },
  },
});

const lanes = 16;
const prefix = 'kept/';

async function fill(client: DfsClient): Promise<void> {
  const count = Number(options.files);
  const sizeBytes = Math.round(Number(options.bytes) / count);
  const versions: Record<string, string> = {};
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const name = `${prefix}${index}`;
      const receipt = await client.put(name, makeBody({ name, value: `kept:${index}`, sizeBytes }));
      versions[name] = receipt.version;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  writeFileSync(options.versions, JSON.stringify(versions));
}

/** Prints how many are not as they were acknowledged. */
async function check(client: DfsClient): Promise<void> {
  const versions = JSON.parse(readFileSync(options.versions, 'utf8')) as Record<string, string>;
  const found = new Map<string, string>();
  for await (const { name, version } of client.list({ prefix })) found.set(name, version);
  const lost = Object.keys(versions).filter((name) => found.get(name) !== versions[name]);
  for (const name of lost.slice(0, 10)) console.error(`${name} is ${found.get(name) ?? 'gone'}, not ${versions[name]}`);
  console.log(lost.length);
}

mkdirSync(options.cache, { recursive: true });
const client = await DfsClient.connect({ masters: options.master.split(','), cacheDir: options.cache });
await (options.check ? check(client) : fill(client));
await client.close();
