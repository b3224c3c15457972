/**
 * Recovers the cluster map from the peers, after the master's data folder was lost: whom to ask, in which order, and
 * when not to.
 *
 * One peer's address is enough: its map names the others. Each is first asked what it has heard of, which changes
 * nothing: a cluster that a master still leads is left alone. Then each promises the new lineage and answers with its
 * newest map (F14); src/cluster/recovery.ts makes one of them, which is stored here. Peers hear of it from the master
 * that is started over this folder. What a peer that was missing knows is asked of it when it joins. Serves S9, S10.
 */
import type { ClusterMap } from '../cluster/map.js';
import {
  type Answer,
  awaitedSlots,
  type NewLineage,
  newestOf,
  nextGeneration,
  recoveredMap,
  withAccepted,
} from '../cluster/recovery.js';
import { assertDefined } from '../core/assert.js';
import { type Environment, sleep } from '../core/environment.js';
import { DaemonStop, DfsError, exitCodes, isRefusal, refuse } from '../core/errors.js';
import { type Address, generationMax, generationOf, type PeerId, toHex } from '../core/ids.js';
import { ConnectFailure } from '../core/network.js';
import type { SmallFiles } from '../core/storage.js';
import { timing } from '../core/timing.js';
import { decodeMap, encodeMap } from '../protocol/map-codec.js';
import type { RequestOf } from '../protocol/messages.js';
import { openSession, type Session } from '../protocol/session.js';
import { EventLog } from './events.js';
import type { MapStore } from './map-store.js';
import { ClusterClock } from './master-files.js';

export interface RecoveryOptions {
  /** Where peers may be found; those that their maps name are asked too. */
  readonly peers: readonly Address[];
  readonly acceptMissing: readonly PeerId[];
}

/** What came of asking at one address. */
export type Asked =
  | { readonly at: Address; readonly isHeard: true; readonly answer: Answer }
  | { readonly at: Address; readonly isHeard: false; readonly why: string };

export interface Recovery {
  readonly map: ClusterMap;
  /** Empty when only peers were given up, in a map that had been recovered before. */
  readonly asked: readonly Asked[];
}

const askWithinMs = 3000;
/** Long enough for some pings of a master that lives. */
const masterSilentMs = 1500;

/**
 * Resolves when the recovered map is durable in the store. Throws DaemonStop or DfsError, with what to do, when it must
 * not or cannot be done; then the store is as it was.
 */
export async function recover(
  environment: Environment,
  stores: { readonly maps: MapStore; readonly files: SmallFiles },
  options: RecoveryOptions,
): Promise<Recovery> {
  const stored = await stores.maps.load();
  if (stored !== undefined) return giveUpIn(environment, stores, stored, options);
  if (options.peers.length === 0) {
    throw new DaemonStop(
      exitCodes.usage,
      'The data folder holds no map, and no peer is named. Name one that runs: dfs-master recover --peer HOST:PORT',
    );
  }
  const { answers, promised, clusterMs } = await lookBack(environment, options.peers);
  const generation = nextGeneration({ maps: answers.map(({ map }) => map), promised });
  if (generation > generationMax) refuse('invalid', `The peers have promised generation ${generation - 1}, the last`);
  const as: NewLineage = { generation, lineage: toHex(environment.random.bytes(16)) };
  // What the operator names wrongly is refused before anybody is bound to a map that is then not made.
  withAccepted(recoveredMap(answers, as), options.acceptMissing);
  const asked = await askEverybody(options.peers, (at) => promiseAt(environment, { at, as, expected: {} }));
  const [first, ...others] = asked.flatMap((each) => (each.isHeard ? [each.answer] : []));
  if (first === undefined) return refuse('unavailable', nobodyAnswered(asked));
  const map = withAccepted(recoveredMap([first, ...others], as), options.acceptMissing);
  await keep(environment, stores, { map, clusterMs, before: undefined });
  return { map, asked };
}

/**
 * What a peer that joins knew before the map was recovered; it promises the lineage of `map` with that. A promise to a
 * recovery that came to no map, as far as the peer knows, is overbid. Refuses `conflict` when there is such a map.
 */
export async function askJoiner(
  environment: Environment,
  map: ClusterMap,
  joiner: { readonly peer: PeerId; readonly storeId: string; readonly address: Address },
): Promise<Answer> {
  const { peer, storeId, address: at } = joiner;
  const { clusterId, lineage } = map;
  // It is the store that speaks (F11); whose it is the process may have forgotten, or never heard.
  const expected = { clusterId, expectStoreId: storeId };
  // Whoever never had a map never led by one.
  const ifNew = { peer, storeId, map };
  const { answer = ifNew, promised } = await lookBackAt(environment, at, expected);
  const theirs = answer.map;
  if (theirs.lineage !== lineage && generationOf(theirs.epoch) >= generationOf(map.epoch)) {
    refuse('conflict', `${peer} follows another map that was recovered, of lineage ${theirs.lineage}`, {
      advice: 'Two recoveries were made. Keep the master that most peers follow, and stop the other for good',
    });
  }
  const promise = (generation: number): Promise<Answer> =>
    promiseAt(environment, { at, as: { generation, lineage }, expected, ifNew });
  // A promise to this lineage is repeated, not raised: whoever is refused afterwards is asked again and again.
  const promisedAnswer = await promise(Math.max(generationOf(map.epoch), promised)).catch((error: unknown) => {
    if (!isRefusal(error, 'conflict')) throw error;
    return promise(promised + 1);
  });
  return { ...promisedAnswer, peer };
}

// --- A folder that holds a map ---------------------------------------------------------------------------------------

async function giveUpIn(
  environment: Environment,
  stores: { readonly maps: MapStore; readonly files: SmallFiles },
  stored: ClusterMap,
  { acceptMissing }: RecoveryOptions,
): Promise<Recovery> {
  const awaited = [...awaitedSlots(stored).keys()];
  if (awaited.length === 0) {
    throw new DaemonStop(
      exitCodes.configuration,
      `The data folder holds map ${stored.epoch} of cluster ${stored.clusterId}: nothing is lost that could be ` +
        'recovered. Start dfs-master over it, without recover',
    );
  }
  if (acceptMissing.length === 0) {
    throw new DaemonStop(
      exitCodes.configuration,
      `The data folder holds a map that was recovered already; ${awaited.join(', ')} has not said what it knows. ` +
        'Start dfs-master over it, then the peer: it is asked when it joins. If it is gone for good, name it with ' +
        '--accept-missing',
    );
  }
  const map = withAccepted(stored, acceptMissing);
  await keep(environment, stores, { map, clusterMs: 0, before: stored });
  return { map, asked: [] };
}

async function keep(
  environment: Environment,
  { maps, files }: { readonly maps: MapStore; readonly files: SmallFiles },
  { map, clusterMs, before }: { map: ClusterMap; clusterMs: number; before: ClusterMap | undefined },
): Promise<void> {
  const clock = await ClusterClock.load(environment.clock, files);
  await clock.startFrom(clusterMs);
  const isStored = await maps.compareAndSet(before?.epoch, map);
  if (!isStored) throw new DaemonStop(exitCodes.configuration, 'Something else has written to this data folder');
  environment.probe?.at({ point: 'mapRecovered', map });
  const events = await EventLog.load(files, environment.log, () => clock.nowMs());
  const waiting = [...awaitedSlots(map)].map(([peer, slots]) => ({ peer, slotCount: slots.length }));
  const text =
    before === undefined
      ? `The map was recovered from the peers, as generation ${generationOf(map.epoch)}`
      : 'Peers that have not said what they know were given up';
  events.add({ kind: 'map-recovered', epoch: map.epoch, text, data: { lineage: map.lineage, waiting } });
  events.toldMap = encodeMap(map);
  await events.save();
}

// --- Asking ----------------------------------------------------------------------------------------------------------

interface LookedBack {
  readonly answers: readonly [Answer, ...Answer[]];
  /** Generations that some peer has promised. */
  readonly promised: readonly number[];
  /** How far the cluster's clock had come, as far as some peer was told; else 0. */
  readonly clusterMs: number;
}

interface Seen {
  /** Undefined when it knows no map. */
  readonly answer: Answer | undefined;
  readonly promised: number;
  readonly clusterMs: number;
  /** By the own clock. */
  readonly pingedAtMs: number;
}

/** What the peers have heard of, without any change. Refuses while a master leads them. */
async function lookBack(environment: Environment, seeds: readonly Address[]): Promise<LookedBack> {
  const { clock } = environment;
  let seen = await seenAt(environment, seeds);
  if (seen.some(({ pingedAtMs }) => clock.monotonicMs() - pingedAtMs < masterSilentMs)) {
    // It may have ended a moment ago: then nobody is pinged again.
    const pingedAtMs = lastPingOf(seen);
    await sleep(clock, masterSilentMs);
    seen = await seenAt(environment, seeds);
    if (lastPingOf(seen) > pingedAtMs + timing.pingIntervalMs / 2) {
      refuse('conflict', 'A master still leads this cluster: it pings the peers. Nothing was changed', {
        advice: 'Stop it first, if its data folder is lost or it must be replaced',
      });
    }
  }
  const [first, ...others] = answersOf(seen);
  return {
    answers: [assertDefined(first, 'Somebody has answered'), ...others],
    promised: seen.map(({ promised }) => promised),
    clusterMs: Math.max(...seen.map(({ clusterMs }) => clusterMs)),
  };
}

function lastPingOf(seen: readonly Seen[]): number {
  return Math.max(...seen.map(({ pingedAtMs }) => pingedAtMs));
}

function answersOf(seen: readonly Seen[]): readonly Answer[] {
  return seen.flatMap(({ answer }) => answer ?? []);
}

/** Of everybody who can be reached; refuses `unavailable` when none of them knows a map. */
async function seenAt(environment: Environment, seeds: readonly Address[]): Promise<readonly Seen[]> {
  const seen: Seen[] = [];
  const asked = await askEverybody(seeds, async (at) => {
    const one = await lookBackAt(environment, at, {});
    // Also of one that knows no map: what it has promised may still come to something.
    seen.push(one);
    return one.answer ?? refuseNew();
  });
  const [clusterId, ...further] = new Set(answersOf(seen).map(({ map }) => map.clusterId));
  if (clusterId === undefined) return refuse('unavailable', nobodyAnswered(asked));
  if (further.length > 0) {
    refuse('wrong-cluster', `The peers named belong to several clusters: ${[clusterId, ...further].join(', ')}`, {
      advice: 'Name peers of the one that lost its master',
    });
  }
  return seen;
}

async function lookBackAt(environment: Environment, at: Address, expected: Expected): Promise<Seen> {
  const session = await open(environment, at, expected);
  try {
    const { header, payload } = await session.request('look-back', {}, { timeoutMs: askWithinMs });
    const { promised, clusterMs = 0, masterMs = Number.POSITIVE_INFINITY } = header;
    const pingedAtMs = environment.clock.monotonicMs() - masterMs;
    return { answer: toAnswer(session, payload), promised, clusterMs, pingedAtMs };
  } finally {
    session.close('Looked back');
  }
}

/** Asks at these addresses, and at those of all peers in the newest map that is heard of, each once. */
async function askEverybody(
  seeds: readonly Address[],
  ask: (at: Address) => Promise<Answer>,
): Promise<readonly Asked[]> {
  const asked = new Map<Address, Asked>();
  for (let due = new Set(seeds); due.size > 0; ) {
    const outcomes = await Promise.all([...due].map((at) => heardAt(at, ask)));
    for (const outcome of outcomes) asked.set(outcome.at, outcome);
    const [first, ...others] = [...asked.values()].flatMap((each) => (each.isHeard ? [each.answer.map] : []));
    if (first === undefined) break;
    const named = newestOf([first, ...others]).peers.filter(({ state }) => state !== 'removed');
    due = new Set(named.map(({ address }) => address).filter((at) => !asked.has(at)));
  }
  return [...asked.values()];
}

/** One that does not answer, or says no, stops nobody: its slots wait. */
async function heardAt(at: Address, ask: (at: Address) => Promise<Answer>): Promise<Asked> {
  try {
    return { at, isHeard: true, answer: await ask(at) };
  } catch (error) {
    if (!(error instanceof DfsError || error instanceof ConnectFailure)) throw error;
    return { at, isHeard: false, why: error.message };
  }
}

type Expected = Pick<RequestOf<'hello'>, 'clusterId' | 'expectPeerId' | 'expectStoreId'>;

async function promiseAt(
  environment: Environment,
  of: { readonly at: Address; readonly as: NewLineage; readonly expected: Expected; readonly ifNew?: Answer },
): Promise<Answer> {
  const session = await open(environment, of.at, of.expected);
  try {
    const { payload } = await session.request('promise-lineage', { ...of.as }, { timeoutMs: askWithinMs });
    return toAnswer(session, payload) ?? of.ifNew ?? refuseNew();
  } finally {
    session.close('Only asked what it knows');
  }
}

function open(environment: Environment, at: Address, expected: Expected): Promise<Session> {
  return openSession(environment, at, {
    hello: { role: 'master', lane: 'recovery', generation: 0, ...expected },
    timeoutMs: timing.helloTimeoutMs,
  });
}

/** Undefined of a peer that knows no map. */
function toAnswer({ remote }: Session, payload: Uint8Array | undefined): Answer | undefined {
  const { role, peerId, storeId } = remote;
  if (role !== 'peer') refuse('wrong-identity', `A ${role} answers there, no peer`);
  if (payload === undefined) return undefined;
  // Whoever knows a map has something to tell, and must say for whom.
  if (peerId === undefined || storeId === undefined) return refuse('not-ready', 'It does not say which peer it is');
  return { peer: peerId, storeId, map: decodeMap(payload) };
}

function refuseNew(): never {
  return refuse('not-ready', 'It knows no map: its data folder is new');
}

function nobodyAnswered(asked: readonly Asked[]): string {
  const whys = asked.map((each) => `${each.at}: ${each.isHeard ? '' : each.why}`);
  return `No peer has answered (${whys.join('; ')}). Nothing was changed. Start the peers, and name one that runs`;
}
