/**
 * What a cluster of many peers costs its master: a real dfs-master over a map of a settled cluster, and peers that do
 * nothing but answer it, all over TCP on this machine. Prints one line a size.
 *
 *   npm run build && npx tsc -p test/growth/tsconfig.json
 *   node dist-test/growth/test/growth/many-peers.js [--peers 10,100,500] [--slots 16384] [--seconds 10]
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ClusterMap } from '../../src/cluster/map.js';
import { wantedPlacement } from '../../src/cluster/placement.js';
import { planSteps } from '../../src/cluster/planner.js';
import { type Environment, silentLog } from '../../src/core/environment.js';
import { systemClock } from '../../src/io/clock.js';
import { freePorts } from '../../src/io/free-ports.js';
import { systemRandom } from '../../src/io/random.js';
import { openSmallFiles } from '../../src/io/small-files.js';
import { tcpNetwork } from '../../src/io/tcp.js';
import { embeddedMapStore } from '../../src/master/map-store.js';
import { decodeMap, encodeMap } from '../../src/protocol/map-codec.js';
import { FakePeer } from '../unit/master/harness.js';
import { placedMap } from './placed-map.js';

const { values: options } = parseArgs({
  options: {
    peers: { type: 'string', default: '10,100,500' },
    slots: { type: 'string', default: '16384' },
    seconds: { type: 'string', default: '10' },
  },
});
const launcher = join(import.meta.dirname, '../../../../bin/dfs-master');
/** Of /proc/PID/stat: USER_HZ. */
const ticksPerSecond = 100;
const joinTriesMax = 20;
const steadyMs = 3000;
const deathCount = 5;
const runCount = 9;

const environment: Environment = {
  clock: systemClock,
  random: systemRandom,
  network: tcpNetwork,
  log: silentLog,
};

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function until(isDone: () => boolean, what: string): Promise<void> {
  for (const endMs = performance.now() + 60_000; !isDone(); await sleep(5)) {
    if (performance.now() > endMs) throw new Error(`After a minute ${what} has not happened`);
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** Of several runs, after one that warms up. */
function medianMs(run: () => unknown): number {
  const once = (): number => {
    const beganMs = performance.now();
    run();
    return performance.now() - beganMs;
  };
  once();
  return rounded(median(Array.from({ length: runCount }, once)));
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Of everything that the process has computed. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

function anonMegabytesOf(pid: number): number {
  const kibibytes = Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  return Math.round((kibibytes * 1024) / 1e6);
}

/** What it costs to encode a map, to decode it, to place its peers anew, and to look for steps where there are none. */
function measureMap(map: ClusterMap) {
  const wanted = wantedPlacement(map.peers, map.slots.length, map.pool.replicas);
  const upSinceMs = new Map(map.peers.map(({ id }) => [id, 0]));
  const encoded = encodeMap(map);
  return {
    mapBytes: encoded.length,
    // An equal map that was never encoded: what was is remembered.
    encodeMs: medianMs(() => encodeMap({ ...map })),
    decodeMs: medianMs(() => decodeMap(encoded)),
    placementMs: medianMs(() => wantedPlacement(map.peers, map.slots.length, map.pool.replicas)),
    plannerMs: medianMs(() => planSteps(map, wanted, { nowMs: 60_000, upSinceMs })),
  };
}

/** All that are in the map, before there is a master. */
async function listening(map: ClusterMap, master: string): Promise<readonly FakePeer[]> {
  const peers = map.peers.map(({ id, storeId, address }) => {
    const peer = new FakePeer(environment, { address, storeId, master });
    peer.clusterId = map.clusterId;
    peer.peerId = id;
    peer.map = map;
    return peer;
  });
  await Promise.all(peers.map((peer) => peer.listen()));
  return peers;
}

async function joined(peer: FakePeer): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await peer.join();
      return;
    } catch (error) {
      if (tries === joinTriesMax) throw error;
      await sleep(500);
    }
  }
}

/** From SIGKILL until every other peer has a map that names successors; clients then wait for leases, too. */
async function failoverMs(others: readonly FakePeer[], victim: FakePeer): Promise<number> {
  const beganMs = performance.now();
  await victim.kill();
  const verdicts = new WeakMap<ClusterMap, boolean>();
  const isReplaced = ({ map }: FakePeer): boolean => {
    if (map === undefined) return false;
    const verdict = verdicts.get(map) ?? map.slots.every(({ primary }) => primary !== victim.peerId);
    verdicts.set(map, verdict);
    return verdict;
  };
  await until(() => others.every(isReplaced), `the failover of ${victim.peerId}`);
  return performance.now() - beganMs;
}

async function measureMaster(pid: number, peers: readonly FakePeer[]) {
  for (const peer of peers) await joined(peer);
  await sleep(steadyMs);
  const before = cpuSecondsOf(pid);
  await sleep(Number(options.seconds) * 1000);
  const idleShare = (cpuSecondsOf(pid) - before) / Number(options.seconds);
  const failovers: number[] = [];
  const alive = new Set(peers);
  // Not two neighbours: whoever has the copies of one that died stays.
  const victims = peers.filter((_, at) => at % 2 === 0).slice(0, Math.min(deathCount, peers.length >> 1));
  for (const victim of victims) {
    alive.delete(victim);
    failovers.push(await failoverMs([...alive], victim));
  }
  const anonMegabytes = anonMegabytesOf(pid);
  for (const peer of alive) await peer.kill();
  const [medianMsOfAll, longestMs] = [median(failovers), Math.max(...failovers)].map(Math.round);
  return { idleShare: rounded(idleShare), anonMegabytes, failoverMs: medianMsOfAll, longestMs };
}

/** Loopback has room for them all at one port. */
function addressOf(at: number): string {
  return `127.1.${at >> 8}.${at & 255}:7421`;
}

async function measure(peerCount: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'dfs-growth-'));
  const slotCount = Number(options.slots);
  const map = placedMap({ peerCount, slotCount, addressOf });
  await embeddedMapStore(openSmallFiles(folder)).compareAndSet(undefined, map);
  const [port] = await freePorts({ from: 0, count: 1 });
  const address = `127.0.0.1:${port}`;
  const peers = await listening(map, address);
  const flags = ['--listen', address, '--data', folder, '--log-level', 'error'];
  const master = spawn(launcher, flags, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise<void>((resolve) => master.once('close', () => resolve()));
  const stop = (): void => void master.kill('SIGKILL');
  process.once('exit', stop);
  try {
    if (master.pid === undefined) throw new Error('The master cannot be started');
    const tooEarly = ended.then(() => Promise.reject(new Error('The master ended, which nobody asked for')));
    const ofMaster = await Promise.race([measureMaster(master.pid, peers), tooEarly]);
    console.log(JSON.stringify({ peerCount, slotCount, ...measureMap(map), ...ofMaster }));
  } finally {
    stop();
    await ended;
    process.off('exit', stop);
    rmSync(folder, { recursive: true });
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
for (const peerCount of options.peers.split(',')) await measure(Number(peerCount));
process.exit();
