/**
 * What a cluster of many peers costs its master: a real dfs-master over a map of a settled cluster, and peers that do
 * nothing but answer it, all over TCP on this machine. Prints one line a size.
 *
 *   many-peers [--peers 10,100,500] [--slots 16384] [--seconds 10]
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
const launcher = join(import.meta.dirname, '../../../bin/dfs-master');
const ticksPerSecond = 100;
const startMs = 2000;
const settleMs = 3000;
const deaths = 5;
const runs = 9;

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

/** Median of several runs, in milliseconds. */
function timed(run: () => unknown): number {
  const once = (): number => {
    const beganMs = performance.now();
    run();
    return performance.now() - beganMs;
  };
  return median(Array.from({ length: runs }, once));
}

/** Of everything that the process has computed, in seconds. */
function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

function anonMegabytesOf(pid: number): number {
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1000;
}

/** What the master does with a map between two looks at it. */
function measureMap(map: ClusterMap) {
  const wanted = wantedPlacement(map.peers, map.slots.length, map.pool.replicas);
  const upSinceMs = new Map(map.peers.map(({ id }) => [id, 0]));
  const encoded = encodeMap(map);
  return {
    mapBytes: encoded.length,
    encodeMs: timed(() => encodeMap({ ...map })),
    decodeMs: timed(() => decodeMap(encoded)),
    placementMs: timed(() => wantedPlacement(map.peers, map.slots.length, map.pool.replicas)),
    plannerMs: timed(() => planSteps(map, wanted, { nowMs: 60_000, upSinceMs })),
  };
}

/** All that are in the map, before there is a master. */
async function listening(map: ClusterMap, master: string): Promise<readonly FakePeer[]> {
  const peers = map.peers.map(({ id, storeId, address }) => {
    const peer = new FakePeer(environment, { address, storeId, master });
    Object.assign(peer, { clusterId: map.clusterId, peerId: id, map });
    return peer;
  });
  await Promise.all(peers.map((peer) => peer.listen()));
  return peers;
}

/** How long clients wait for the slots of a peer that dies, by the maps that the others are sent; in milliseconds. */
async function failoverMs(others: readonly FakePeer[], victim: FakePeer): Promise<number> {
  const beganMs = performance.now();
  await victim.kill();
  const isReplaced = ({ map }: FakePeer): boolean =>
    map?.slots.every(({ primary }) => primary !== victim.peerId) ?? false;
  await until(() => others.every(isReplaced), `the failover of ${victim.peerId}`);
  return performance.now() - beganMs;
}

async function measureMaster(map: ClusterMap, { folder, address }: { folder: string; address: string }) {
  const peers = await listening(map, address);
  const master = spawn(launcher, ['--listen', address, '--data', folder, '--log-level', 'error'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const { pid } = master;
  if (pid === undefined) throw new Error('The master cannot be started');
  try {
    await sleep(startMs);
    for (const peer of peers) await peer.join();
    await sleep(settleMs);
    const before = cpuSecondsOf(pid);
    await sleep(Number(options.seconds) * 1000);
    const idleShare = (cpuSecondsOf(pid) - before) / Number(options.seconds);
    const failovers: number[] = [];
    const alive = new Set(peers);
    // Not two neighbours: whoever has the copies of one that died stays.
    for (const victim of peers.filter((_, at) => at % 2 === 0).slice(0, deaths)) {
      alive.delete(victim);
      failovers.push(await failoverMs([...alive], victim));
    }
    const anonMegabytes = anonMegabytesOf(pid);
    for (const peer of alive) await peer.kill();
    return { idleShare, anonMegabytes, failoverMs: median(failovers), longestMs: Math.max(...failovers) };
  } finally {
    master.kill();
  }
}

/** Loopback has room for them all at one port. */
function addressOf(at: number): string {
  return `127.1.${at >> 8}.${at & 255}:7421`;
}

async function measure(peers: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'dfs-growth-'));
  try {
    const map = placedMap({ peers, slots: Number(options.slots), addressOf });
    const maps = embeddedMapStore(openSmallFiles(folder));
    await maps.compareAndSet(undefined, map);
    const [port] = await freePorts({ from: 0, count: 1 });
    const ofMap = measureMap(map);
    const ofMaster = await measureMaster(map, { folder, address: `127.0.0.1:${port}` });
    console.log(JSON.stringify({ peers, slots: Number(options.slots), ...ofMap, ...ofMaster }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const peers of options.peers.split(',')) await measure(Number(peers));
