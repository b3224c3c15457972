/**
 * What an examination of the cluster means: for each check that all is well, or each thing that is not, how bad it is
 * and what to do. Pure; only what could be measured is judged.
 */
import type { Answer, Contact, Examination } from '../client/examination.js';
import { type ClusterMap, isRunning, type PeerRecord } from '../cluster/map.js';
import { isPlaced } from '../cluster/placement.js';
import { parseAddress } from '../core/address.js';
import type { Address } from '../core/ids.js';
import { timing } from '../core/timing.js';
import { nodeVersionMin, software } from '../core/version.js';
import type { ReplyOf } from '../protocol/messages.js';
import { formatBytes, formatDuration, plural } from './units.js';

export interface Finding {
  readonly check:
    | 'master'
    | 'health'
    | 'peers'
    | 'clocks'
    | 'disks'
    | 'copies'
    | 'versions'
    | 'load'
    | 'safety'
    | 'cache';
  readonly verdict: 'ok' | 'warn' | 'fail';
  /** The peer or the address it is about; null: the whole. */
  readonly about: string | null;
  readonly text: string;
  readonly advice: string | null;
}

/** What is known of this machine itself. */
export interface Here {
  readonly nodeVersion: string;
  /** Why the cache folder cannot be used. */
  readonly cacheProblem: string | undefined;
}

type Check = Finding['check'];
type PeerAnswer = Answer<ReplyOf<'examine-peer'>> & { readonly record: PeerRecord };

/** Clocks that differ by more are told of. */
const clockOffMaxMs = 1000;
/** Two passes of the scrub have not come to an end by then. */
const verifiedWithinMs = 28 * 24 * 3_600_000;

export function diagnose(found: Examination, here: Here): readonly Finding[] {
  return [
    ...judgeMasters(found),
    ...judgeHealth(found),
    ...judgePeers(found),
    ...judgeClocks(found),
    ...judgeDisks(found),
    ...judgeCopies(found),
    ...judgeVersions(found, here),
    ...judgeLoad(found),
    ...judgeSafety(found),
    ...judgeCache(here),
  ];
}

function finding(
  check: Check,
  verdict: Finding['verdict'],
  text: string,
  more: { about?: string; advice?: string } = {},
): Finding {
  return { check, verdict, about: more.about ?? null, text, advice: more.advice ?? null };
}

/** What is wrong, or one line that nothing is. */
function orWell(check: Check, wrong: readonly Finding[], text: string): readonly Finding[] {
  return wrong.length > 0 ? wrong : [finding(check, 'ok', text)];
}

function answersOf({ peers }: Examination): readonly PeerAnswer[] {
  return peers.flatMap(({ record, contact }) => (contact.state === 'answers' ? [{ ...contact, record }] : []));
}

// --- Who can be reached ----------------------------------------------------------------------------------------------

function judgeMasters(found: Examination): readonly Finding[] {
  const { masters, map, rememberedClusterId } = found;
  const leads = masters.some(({ contact }) => contact.state === 'answers' && contact.role === 'master');
  const clusters = new Set(masters.flatMap(({ contact }) => (contact.state === 'answers' ? [contact.clusterId] : [])));
  const judged = masters.map(({ address, contact }): Finding => {
    const say = (verdict: Finding['verdict'], text: string, advice?: string): Finding =>
      finding('master', verdict, text, { about: address, ...(advice === undefined ? {} : { advice }) });
    if (contact.state !== 'answers') {
      const { text, advice } = absence(address, contact);
      const next = contact.state === 'refused' ? 'Start dfs-master there, or give its address with --master' : advice;
      return say(leads ? 'warn' : 'fail', text, next);
    }
    if (contact.role !== 'master') {
      return say('fail', `At ${address} a ${contact.role} answers, no master`, 'Give the address of dfs-master');
    }
    if (contact.clusterId === undefined && rememberedClusterId !== undefined) {
      const text = `The master at ${address} has no cluster, but there it led cluster ${rememberedClusterId} before`;
      return say('fail', text, 'Start it over the data folder it had; the peers keep every file');
    }
    if (contact.clusterId === undefined) {
      return say('warn', `The master at ${address} has no peers yet`, `Start dfs-peer --master ${address}`);
    }
    if (rememberedClusterId !== undefined && contact.clusterId !== rememberedClusterId) {
      const text = `The master at ${address} leads cluster ${contact.clusterId}, not ${rememberedClusterId} as before`;
      return say(
        'fail',
        text,
        'Check --master; if this cluster is meant, any other command makes this machine follow it',
      );
    }
    return say('ok', `The master at ${address} leads cluster ${contact.clusterId}, epoch ${map?.epoch ?? 0}`);
  });
  if (clusters.size < 2) return judged;
  const text = 'The masters lead different clusters';
  return [...judged, finding('master', 'fail', text, { advice: 'Name only masters of one cluster with --master' })];
}

function judgeHealth({ health: found }: Examination): readonly Finding[] {
  if (found === undefined) return [];
  const { health, reasons } = found;
  const text = `The cluster is ${health}${reasons.length === 0 ? '' : `: ${reasons.join('; ')}`}`;
  if (health === 'healthy') return [finding('health', 'ok', text)];
  return [
    finding('health', health === 'degraded' ? 'warn' : 'fail', text, { advice: 'Watch it with: dfs status --watch' }),
  ];
}

function judgePeers(found: Examination): readonly Finding[] {
  const { peers, masters } = found;
  if (peers.length === 0) return [];
  const addresses = [...masters, ...peers.map(({ record }) => record)].map(({ address }) => address);
  const isLocal = addresses.every(isLoopback);
  const hasMaster = masters.some(({ contact }) => contact.state === 'answers');
  const wrong = peers.flatMap(({ record, contact }): readonly Finding[] => {
    if (contact.state === 'answers')
      return judgeAnswering(record, { isJoined: contact.about.isJoined, hasMaster, isLocal });
    return [judgeAbsent(record, contact, isLocal)];
  });
  const count = peers.length === 1 ? 'The one peer answers' : `All ${peers.length} peers answer`;
  return orWell('peers', wrong, `${count} from here, each at its own address`);
}

function judgeAnswering(
  { id, address }: PeerRecord,
  on: { isJoined: boolean; hasMaster: boolean; isLocal: boolean },
): readonly Finding[] {
  const wrong: Finding[] = [];
  if (!on.isJoined && on.hasMaster) {
    const text = `${id} at ${address} has no connection to a master`;
    wrong.push(finding('peers', 'warn', text, { about: id, advice: 'Check its --master, and the network from there' }));
  }
  if (isLoopback(address) && !on.isLocal) {
    const text = `${id} is advertised as ${address}, which only programs on its own machine reach`;
    wrong.push(finding('peers', 'warn', text, { about: id, advice: advertiseAdvice }));
  }
  return wrong;
}

const advertiseAdvice = 'Start it with --advertise HOST:PORT, an address that clients and the other peers reach';

function judgeAbsent(record: PeerRecord, contact: Absence, isLocal: boolean): Finding {
  const { id, address, mode } = record;
  const { text, advice } = absence(address, contact);
  const say = (verdict: Finding['verdict'], what: string, next: string): Finding =>
    finding('peers', verdict, what, { about: id, advice: next });
  if (isRunning(record) && isLoopback(address) && !isLocal) {
    return say(
      'fail',
      `${id} is advertised as ${address}, which is another place for every machine: ${text}`,
      advertiseAdvice,
    );
  }
  if (contact.state === 'rejected') return say('fail', `${id} cannot be asked: ${text}`, advice);
  if (isRunning(record)) {
    const next = contact.state === 'stranger' ? advice : 'Start it, or check the network from here and its --advertise';
    return say('fail', `${id} is up in the newest map known here, but: ${text}`, next);
  }
  const next = `Start dfs-peer over its data folder; if that is gone for good: dfs peer remove ${id}`;
  return say(mode === 'maintenance' ? 'warn' : 'fail', `${id} is down: ${text}`, next);
}

type Absence = Exclude<Contact<never>, Answer<never>>;

/** Why nobody who was meant answered at an address. */
function absence(address: Address, contact: Absence): { readonly text: string; readonly advice: string } {
  switch (contact.state) {
    case 'refused':
      return { text: `Nothing listens at ${address}`, advice: 'Start it there, or correct the address' };
    case 'silent':
      return { text: `Nothing answers from ${address}`, advice: 'Check that the host runs and no firewall is between' };
    case 'stranger':
      return {
        text: `Something listens at ${address} that does not speak dfs, or stands still (${contact.message})`,
        advice: 'Check the port; end the other program, or the frozen daemon',
      };
    case 'rejected': {
      const isVersion = contact.code === 'wrong-version' || contact.code === 'unsupported';
      const advice = isVersion ? 'Run one version of dfs everywhere' : 'Another cluster or peer uses its address';
      return { text: contact.message, advice };
    }
  }
}

function isLoopback(address: Address): boolean {
  const { host } = parseAddress(address);
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

// --- How those are that answer ---------------------------------------------------------------------------------------

function judgeClocks(found: Examination): readonly Finding[] {
  const masters = found.masters.flatMap(({ address, contact }) =>
    contact.state === 'answers' ? [{ ...contact, about: address, who: `the master at ${address}` }] : [],
  );
  const peers = answersOf(found).map((answer) => ({ ...answer, about: answer.record.id, who: answer.record.id }));
  const all = [...masters, ...peers];
  if (all.length === 0) return [];
  const hosts = all.flatMap(({ about, who, wallAheadMs }) => {
    if (Math.abs(wallAheadMs) <= clockOffMaxMs) return [];
    const text = `The clock of ${who} is ${off(wallAheadMs)} this machine's. Files do not mind, times in logs do`;
    return [finding('clocks', 'warn', text, { about, advice: 'Let NTP set the clocks of both' })];
  });
  const [first] = masters;
  const strays = peers.flatMap(({ about, who, clusterAheadMs }) => {
    const offMs = clusterAheadMs - (first?.clusterAheadMs ?? clusterAheadMs);
    if (Math.abs(offMs) <= clockOffMaxMs) return [];
    const isTooFar = Math.abs(offMs) >= timing.requestIdMaxAgeMs;
    const text = `For ${who} the cluster's time is ${off(offMs)} the master's`;
    const what = isTooFar ? `${text}: it refuses changes as too old` : text;
    const advice = 'It has not heard from the master for long: check its --master, and the network from there';
    return [finding('clocks', isTooFar ? 'fail' : 'warn', what, { about, advice })];
  });
  const wrong = [...strays, ...hosts];
  return orWell('clocks', wrong, `The clocks of ${plural(all.length, 'daemon')} and this machine agree within 1 s`);
}

/** "3.2 s ahead of", "2 h 5 min behind". */
function off(ms: number): string {
  const seconds = Math.abs(ms) / 1000;
  return `${seconds < 60 ? `${seconds.toFixed(1)} s` : formatDuration(seconds)} ${ms > 0 ? 'ahead of' : 'behind'}`;
}

function judgeDisks(found: Examination): readonly Finding[] {
  const answers = answersOf(found);
  const [first, ...others] = answers;
  if (first === undefined) return [];
  const wrong = answers.flatMap(({ record: { id }, about: { freeBytes, reserveBytes } }) => {
    const room = `${id} has ${formatBytes(freeBytes)} free for a reserve of ${formatBytes(reserveBytes)}`;
    if (freeBytes < reserveBytes) {
      const text = `${room}: it stores nothing more (no-space), reads and deletes go on`;
      return [finding('disks', 'fail', text, { about: id, advice: 'Delete files, add a peer or a larger disk' })];
    }
    if (freeBytes >= 2 * reserveBytes) return [];
    const advice = `Add a peer, or give it less: dfs peer set ${id} weight=N`;
    return [finding('disks', 'warn', `${room}: it takes no further slots`, { about: id, advice })];
  });
  const fullest = others.reduce((least, each) => (each.about.freeBytes < least.about.freeBytes ? each : least), first);
  return orWell(
    'disks',
    wrong,
    `Every disk has room: at least ${formatBytes(fullest.about.freeBytes)}, on ${fullest.record.id}`,
  );
}

function judgeCopies(found: Examination): readonly Finding[] {
  const answers = answersOf(found);
  if (answers.length === 0) return [];
  const wrong = answers.flatMap(({ record: { id }, clusterMs, about: { damaged, verifiedSinceMs } }) => {
    const findings: Finding[] = [];
    if (damaged > 0) {
      const text = `${id} knows of ${plural(damaged, 'bad copy', 'bad copies')}, which it fetches anew from others`;
      findings.push(
        finding('copies', 'warn', text, { about: id, advice: 'If they stay: dfs events, then check its disk' }),
      );
    }
    const ageMs = clusterMs - verifiedSinceMs;
    if (verifiedSinceMs > 0 && ageMs > verifiedWithinMs) {
      const text = `Copies on ${id} were last read ${formatDuration(ageMs / 1000)} ago`;
      findings.push(
        finding('copies', 'warn', text, { about: id, advice: `Read them all: dfs scrub --peer ${id} --wait` }),
      );
    }
    return findings;
  });
  return orWell('copies', wrong, 'No peer knows of a bad copy');
}

function judgeVersions(found: Examination, here: Here): readonly Finding[] {
  const masters = found.masters.flatMap(({ address, contact }) =>
    contact.state === 'answers' ? [{ ...contact, who: `the master at ${address}` }] : [],
  );
  const daemons = [...masters, ...answersOf(found).map((answer) => ({ ...answer, who: answer.record.id }))];
  const others = daemons
    .filter((daemon) => daemon.software !== software)
    .map(({ who, software: theirs }) =>
      finding('versions', 'warn', `${theirs} runs as ${who}, ${software} here`, {
        about: who,
        advice: 'Bring all to one version, one peer after another: a stop by SIGTERM is no outage',
      }),
    );
  const nodes = [
    { who: 'this machine', node: here.nodeVersion },
    ...daemons.map(({ who, about }) => ({ who, node: about.node })),
  ];
  const old = nodes
    .filter(({ node }) => node !== '' && isOlder(node, nodeVersionMin))
    .map(({ who, node }) =>
      finding('versions', 'warn', `Node ${node} of ${who} is too old for dfs`, {
        about: who,
        advice: `Install Node ${nodeVersionMin} or newer`,
      }),
    );
  return orWell('versions', [...others, ...old], `Everything is ${software}, on Node ${nodeVersionMin} or newer`);
}

function isOlder(version: string, than: string): boolean {
  const numbers = (text: string): readonly number[] => text.split('.').map(Number);
  const [major = 0, minor = 0] = numbers(version);
  const [majorMin = 0, minorMin = 0] = numbers(than);
  return major < majorMin || (major === majorMin && minor < minorMin);
}

function judgeLoad(found: Examination): readonly Finding[] {
  const answers = answersOf(found);
  if (answers.length === 0) return [];
  const wrong = answers.flatMap(({ record: { id }, about: { lagMs } }) => {
    if (lagMs < timing.leaseMs) return [];
    const isDown = lagMs >= timing.downAfterMs;
    const effect = isDown ? 'it counts as down meanwhile' : 'reads there take a round trip more';
    const text = `${id} stood still for ${Math.round(lagMs)} ms in the last seconds: ${effect}`;
    const advice = 'Its machine is overloaded, swaps, or pauses its guests: give it more, or move the peer';
    return [finding('load', isDown ? 'fail' : 'warn', text, { about: id, advice })];
  });
  const worstMs = Math.max(...answers.map(({ about }) => about.lagMs));
  return orWell('load', wrong, `No peer stands still; the longest was ${Math.round(worstMs)} ms`);
}

// --- How it is set up ------------------------------------------------------------------------------------------------

function judgeSafety({ map }: Examination): readonly Finding[] {
  if (map === undefined || map.peers.length === 0) return [];
  const { replicas, minInSync } = map.pool;
  const placed = map.peers.filter(isPlaced);
  const zones = new Set(placed.map(({ zone }) => zone));
  const copies = plural(replicas, 'copy', 'copies');
  const text = `${copies} of everything, in ${plural(zones.size, 'zone')}, ${minInSync} needed to acknowledge`;
  return orWell('safety', unsafe(map, { placed, zones }), text);
}

function unsafe(
  map: ClusterMap,
  on: { placed: readonly PeerRecord[]; zones: ReadonlySet<string> },
): readonly Finding[] {
  const { replicas, minInSync } = map.pool;
  const { placed, zones } = on;
  const wrong: Finding[] = [];
  const warn = (text: string, advice: string): void => void wrong.push(finding('safety', 'warn', text, { advice }));
  if (replicas === 1)
    warn('There is one copy of every file: a disk that dies takes files with it', 'dfs set replicas 2');
  if (placed.length < replicas) {
    warn(`${plural(placed.length, 'peer')} cannot hold ${replicas} copies of everything`, 'Start another dfs-peer');
  }
  const [zone] = zones;
  if (placed.length > 1 && replicas > 1 && zones.size === 1) {
    const text = `All ${placed.length} peers are in zone ${zone}: what takes that out takes all copies`;
    warn(text, 'If they are not, say so: dfs-peer --zone NAME, or dfs peer set ID zone=NAME');
  }
  if (replicas > 1 && minInSync === replicas) {
    warn(
      `Writes need all ${replicas} copies: one peer away makes files read-only`,
      'If that is not meant: dfs set min-in-sync 1',
    );
  }
  if (map.movesPaused) warn('Moves are paused: drained and new peers stay as they are', 'dfs moves resume');
  for (const { id, mode } of map.peers.filter(({ state }) => state !== 'removed')) {
    if (mode !== 'maintenance') continue;
    warn(
      `${id} is under maintenance: while it is down its copies are not made anew`,
      `When it is over: dfs peer enable ${id}`,
    );
  }
  return wrong;
}

function judgeCache({ cacheProblem }: Here): readonly Finding[] {
  if (cacheProblem === undefined) return [finding('cache', 'ok', 'The cluster map can be remembered on this machine')];
  const text = `The cluster map cannot be remembered here (${cacheProblem}): without a master nobody finds the peers`;
  return [finding('cache', 'warn', text, { advice: 'Give a folder that can be written, with --cache DIR' })];
}
