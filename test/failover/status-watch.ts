/**
 * Asks for the status again and again, as a stranger would, and prints a line of JSON whenever something of it is new:
 * when by this machine's clock, the health, and of each peer its state, how many slots it leads and what it stores.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { DfsClient, DfsError } from 'dfs-store';
import type { Look } from './look.js';

const { values: options } = parseArgs({ options: { master: { type: 'string', default: '127.0.0.1:7420' } } });
const everyMs = 10;

let isStopping = false;
process.on('SIGTERM', () => {
  isStopping = true;
});

const client = await DfsClient.connect({ masters: options.master.split(','), cacheDir: null, timeoutMs: 500 });
let last = '';
while (!isStopping) {
  const look = await takeLook();
  const seen = JSON.stringify(look);
  if (look !== undefined && seen !== last) console.log(JSON.stringify({ atMs: Date.now(), ...look } satisfies Look));
  last = seen;
  await sleep(everyMs);
}
await client.close();

/** Undefined while no master answers. */
async function takeLook(): Promise<Omit<Look, 'atMs'> | undefined> {
  try {
    const { health, peers, repair } = await client.status();
    const shown = peers.map(({ id, state, primarySlots, bytes }) => ({ id, state, primarySlots, bytes }));
    return { health, slotsBelow: repair.slotsLeft, peers: shown };
  } catch (error) {
    if (error instanceof DfsError) return undefined;
    throw error;
  }
}
