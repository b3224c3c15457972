/**
 * Receives files one after another through the public library, and tells how long that took and how many requests it
 * needed: prints one line of JSON with `medianMs`, `p99Ms`, `requests` and `hedges`. Exits 1 when any bytes are wrong.
 */
import { parseArgs } from 'node:util';
import { DfsClient } from 'dfs-store';

const { values: options, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    /** Receives in all, over the names in turn. */
    count: { type: 'string', default: '200' },
  },
});

const client = await DfsClient.connect({ masters: options.master.split(','), cacheDir: null });
const durations: number[] = [];
let requests = 0;
let hedges = 0;
for (let count = 0; count < Number(options.count); count++) {
  const began = performance.now();
  const file = await client.get(names[count % names.length] ?? '');
  const bytes = await file.bytes();
  durations.push(performance.now() - began);
  if (bytes.length !== file.stat.size) throw new Error(`${bytes.length} bytes instead of ${file.stat.size}`);
  requests += file.tally.requests;
  hedges += file.tally.hedges;
}
await client.close();
durations.sort((a, b) => a - b);
const quantile = (fraction: number): number => Math.round(durations[Math.ceil(fraction * durations.length) - 1] ?? 0);
console.log(JSON.stringify({ medianMs: quantile(0.5), p99Ms: quantile(0.99), requests, hedges }));
