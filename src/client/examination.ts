/**
 * Looks at a cluster from where this process is: calls every master and every peer at its own address and writes down
 * who answers there, what it says of itself, or how the call fails. cli/diagnosis.ts says what that means.
 *
 * It works as well when little else does: without a master it goes by the map that this machine remembers.
 */
import type { ClusterMap, PeerRecord } from '../cluster/map.js';
import type { Environment } from '../core/environment.js';
import { type ErrorCode, isRefusal, toDfsError } from '../core/errors.js';
import type { Address, ClusterId } from '../core/ids.js';
import { ConnectFailure } from '../core/network.js';
import type { SmallFiles } from '../core/storage.js';
import { timing } from '../core/timing.js';
import { decodeMap } from '../protocol/map-codec.js';
import type { Role } from '../protocol/message.js';
import type { ReplyOf } from '../protocol/messages.js';
import { openSession, type Session } from '../protocol/session.js';
import { MapCache } from './map-cache.js';
import type { ClusterStatus } from './results.js';

/** How a call to an address went; `T` is what a daemon of this kind tells of itself. */
export type Contact<T> =
  | Answer<T>
  /** The host says that nobody listens there. */
  | { readonly state: 'refused' }
  /** Nothing came back. */
  | { readonly state: 'silent' }
  /** A connection was taken, but no dfs spoke on it. */
  | { readonly state: 'stranger'; readonly message: string }
  /** A dfs daemon answered that this is the wrong place. */
  | { readonly state: 'rejected'; readonly code: ErrorCode; readonly message: string };

export interface Answer<T> {
  readonly state: 'answers';
  readonly role: Role;
  readonly software: string;
  readonly clusterId: ClusterId | undefined;
  /** The cluster's clock there, and how far it is ahead of this machine's clock at least, in ms; negative: behind. */
  readonly clusterMs: number;
  readonly clusterAheadMs: number;
  /** The same of its host's own clock. */
  readonly wallAheadMs: number;
  readonly about: T;
}

export type MasterContact = Contact<ReplyOf<'examine-master'>>;
export type PeerContact = Contact<ReplyOf<'examine-peer'>>;

export interface Examination {
  readonly masters: readonly { readonly address: Address; readonly contact: MasterContact }[];
  /** Undefined when no master could tell it. */
  readonly health: Pick<ClusterStatus, 'health' | 'reasons'> | undefined;
  /** A master's, or else the remembered one; undefined when there is none of either. */
  readonly map: ClusterMap | undefined;
  /** The cluster that this machine last worked with by these masters. */
  readonly rememberedClusterId: ClusterId | undefined;
  /** All that are not removed. */
  readonly peers: readonly { readonly record: PeerRecord; readonly contact: PeerContact }[];
}

const answerWithinMs = 2000;

export async function examine(
  environment: Environment,
  on: { readonly masters: readonly Address[]; readonly cacheFiles: SmallFiles | undefined },
): Promise<Examination> {
  const cache = new MapCache(on.cacheFiles, on.masters, environment.log);
  const remembered = await cache.load();
  const masters = await Promise.all(on.masters.map((address) => examineMaster(environment, address)));
  const told = masters.find(({ map }) => map !== undefined);
  const map = told?.map ?? remembered?.map;
  // Asked again when no master answers, it still knows all peers.
  if (map !== undefined && remembered?.map.clusterId === map.clusterId) cache.save({ ...remembered, map });
  const records = (map?.peers ?? []).filter(({ state }) => state !== 'removed');
  const clusterId = map?.clusterId;
  const peers = await Promise.all(
    records.map(async (record) => ({ record, contact: await examinePeer(environment, record, clusterId) })),
  );
  await cache.settled();
  return {
    masters: masters.map(({ address, contact }) => ({ address, contact })),
    health: told?.health,
    map,
    rememberedClusterId: remembered?.map.clusterId,
    peers,
  };
}

interface MasterSaid {
  readonly address: Address;
  readonly contact: MasterContact;
  readonly map?: ClusterMap | undefined;
  readonly health?: Examination['health'];
}

async function examineMaster(environment: Environment, address: Address): Promise<MasterSaid> {
  const said: { map?: ClusterMap | undefined; health?: Examination['health'] } = {};
  const contact = await call(environment, { address }, async (session) => {
    if (session.remote.role !== 'master') return { wallMs: environment.clock.wallMs(), node: '' };
    const { payload } = await session.request('map', { newerThan: 0, waitMs: 0 }, { timeoutMs: answerWithinMs });
    if (payload !== undefined) said.map = decodeMap(payload);
    const status = await session.request('status', {}, { timeoutMs: answerWithinMs });
    const { health, reasons } = JSON.parse(Buffer.from(status.payload ?? []).toString()) as ClusterStatus;
    if (said.map !== undefined) said.health = { health, reasons };
    return (await session.request('examine-master', {}, { timeoutMs: answerWithinMs })).header;
  });
  return { address, contact, ...said };
}

function examinePeer(
  environment: Environment,
  { id, address }: PeerRecord,
  clusterId: ClusterId | undefined,
): Promise<PeerContact> {
  const expected = { expectPeerId: id, ...(clusterId === undefined ? {} : { clusterId }) };
  return call(
    environment,
    { address, ...expected },
    async (session) => (await session.request('examine-peer', {}, { timeoutMs: answerWithinMs })).header,
  );
}

async function call<T extends { readonly wallMs: number }>(
  environment: Environment,
  to: { address: Address; expectPeerId?: string; clusterId?: ClusterId },
  ask: (session: Session) => Promise<T>,
): Promise<Contact<T>> {
  const { clock } = environment;
  const { address, ...expected } = to;
  const hello = { role: 'client', generation: 1, clientId: environment.random.bytes(16), ...expected } as const;
  let session: Session | undefined;
  try {
    const calledMs = clock.wallMs();
    session = await openSession(environment, address, { hello, timeoutMs: timing.connectTimeoutMs });
    const helloMs = clock.wallMs();
    const { role, software, clusterId, clusterMs = 0 } = session.remote;
    const about = await ask(session);
    return {
      ...{ state: 'answers', role, software, clusterId, about, clusterMs },
      clusterAheadMs: outside(clusterMs, calledMs, helloMs),
      wallAheadMs: outside(about.wallMs, helloMs, clock.wallMs()),
    };
  } catch (error) {
    return failureOf(error);
  } finally {
    session?.close('Only looked');
  }
}

/** How far a time told between two moments lies outside of them: a slow answer is no wrong clock. */
function outside(toldMs: number, fromMs: number, toMs: number): number {
  // What is told is cut to whole milliseconds.
  if (toldMs < Math.floor(fromMs)) return toldMs - fromMs;
  return toldMs > toMs ? toldMs - toMs : 0;
}

function failureOf(error: unknown): Exclude<Contact<never>, Answer<never>> {
  if (error instanceof ConnectFailure) return { state: error.refused ? 'refused' : 'silent' };
  const { code, message } = toDfsError(error);
  if (isRefusal(error, 'connection-lost', 'timed-out', 'failed')) return { state: 'stranger', message };
  return { state: 'rejected', code, message };
}
