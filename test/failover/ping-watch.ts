/**
 * Asks the master again and again how long ago it heard each peer. A peer that answers within 50 ms of every ping was
 * last heard at most one ping interval and 50 ms ago; on SIGTERM prints the percentage of looks that found more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DfsClient } from 'dfs-store';

const { values: options } = parseArgs({ options: { master: { type: 'string', default: '127.0.0.1:7420' } } });
const pingIntervalMs = 200;
const answeredWithinMs = 50;

let isStopping = false;
process.on('SIGTERM', () => {
  isStopping = true;
});

const client = await DfsClient.connect({ masters: options.master.split(','), cacheDir: null });
let looks = 0;
let late = 0;
while (!isStopping) {
  for (const peer of (await client.status()).peers) {
    looks++;
    if (peer.lastHeardMs === null || peer.lastHeardMs > pingIntervalMs + answeredWithinMs) late++;
  }
  await sleep(20);
}
await client.close();
console.log(((late / looks) * 100).toFixed(2));
