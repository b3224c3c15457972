/**
 * Asks the master again and again how long ago it heard each peer. A peer that answers in time to every ping was last
 * heard at most one ping interval and that time ago; on SIGTERM prints the percentage of looks that found more.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DfsClient } from 'dfs-store';

const { values: options } = parseArgs({
  options: {
    master: { type: 'string', default: '127.0.0.1:7420' },
    /** Milliseconds in which a ping should be answered. */
    within: { type: 'string', default: '50' },
  },
});
const pingIntervalMs = 200;
const answeredWithinMs = Number(options.within);

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
