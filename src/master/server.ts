/**
 * Answers what peers and clients ask of the master: a place in the cluster, changes of slots, the map, events, status.
 *
 * Nothing that would change the map is answered while a restarted master only listens; by then it knows whether its
 * store is the newest. A peer speaks for itself only over the connection on which it joined, and as the start that the
 * map names.
 */

import { type ClusterMap, type PeerRecord, peerOf } from '../cluster/map.js';
import { type ClusterSettings, withPeerLeaving } from '../cluster/membership.js';
import { type Answer, withAnswer } from '../cluster/recovery.js';
import { applyChanges } from '../cluster/slot-changes.js';
import { sleep } from '../core/environment.js';
import { refuse } from '../core/errors.js';
import { type Address, type PeerId, type SlotNumber, toHex } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { ConnectFailure, type Connection, type ConnectionHandler, type Listener } from '../core/network.js';
import { timing } from '../core/timing.js';
import { CreditPool } from '../protocol/credit.js';
import type { ReplyOf, RequestOf } from '../protocol/messages.js';
import { type AnyIncoming, acceptSession, type Incoming, type Outgoing, type Session } from '../protocol/session.js';
import { checkHello, type Hello, type JoinRequest, refuseForEmptyStore, refuseRival, withArrival } from './arrivals.js';
import type { Transition } from './commits.js';
import { eventOfReport, eventsOfCopies } from './map-events.js';
import type { Master } from './master.js';
import { answeredSince } from './membership.js';
import { foreignMapOf } from './peer-watch.js';
import { askJoiner } from './recovery.js';

/** Whom a connection was found to be. */
interface Identity {
  readonly peer: PeerId;
  readonly storeId: string;
  readonly incarnation: number;
}

export class MasterServer {
  readonly #master: Master;
  readonly #identities = new WeakMap<Session, Identity>();
  readonly #sessions = new Set<Session>();
  readonly #credit = new CreditPool(limits.smallWritesBytesMax);
  readonly #waiting = new Set<() => void>();
  #listener: Listener | undefined;
  /** A cluster that peers belong to although this master's store is empty. */
  #strangeCluster: string | undefined;

  private constructor(master: Master) {
    this.#master = master;
  }

  static async listen(master: Master): Promise<MasterServer> {
    const server = new MasterServer(master);
    server.#listener = await master.environment.network.listen(master.options.listen, (connection) =>
      server.#accept(connection),
    );
    return server;
  }

  get address(): Address {
    return this.#listener?.address ?? this.#master.options.listen;
  }

  /** Answers everybody who waits for a newer map, and ends the connections of peers that were removed. */
  onNewMap(map: ClusterMap): void {
    for (const wake of [...this.#waiting]) wake();
    for (const session of [...this.#sessions]) {
      const identity = this.#identities.get(session);
      if (identity !== undefined && peerOf(map, identity.peer)?.state === 'removed') session.close('It was removed');
    }
  }

  async close(): Promise<void> {
    await this.#listener?.close();
    for (const session of this.#sessions) session.close('The master stops');
  }

  #accept(connection: Connection): ConnectionHandler {
    let accepted: Session | undefined;
    return acceptSession(this.#master.environment, connection, {
      onHello: (hello, session) => {
        const reply = this.#onHello(hello, session);
        accepted = session;
        this.#sessions.add(session);
        return reply;
      },
      serve: (request) => this.#serve(request),
      creditPoolFor: () => this.#credit,
      onClose: () => {
        if (accepted === undefined) return;
        this.#sessions.delete(accepted);
        const identity = this.#identities.get(accepted);
        if (identity !== undefined) this.#master.watch.look(identity.peer);
      },
    });
  }

  #onHello(hello: Hello, session: Session): Omit<ReplyOf<'hello'>, 'software'> {
    const { map } = this.#master;
    if (map === undefined && hello.role === 'peer') this.#strangeCluster ??= hello.clusterId;
    checkHello(hello, map);
    return {
      role: 'master',
      incarnation: this.#master.incarnation,
      clusterMs: this.#master.clusterClock.nowMs(),
      mapEpoch: map?.epoch ?? 0,
      yourAddress: hostOf(session.remote.address),
      ...(map === undefined ? {} : { clusterId: map.clusterId }),
    };
  }

  #serve(request: AnyIncoming): Promise<Outgoing> {
    switch (request.name) {
      case 'join':
        return this.#join(request);
      case 'change':
        return this.#change(request);
      case 'goodbye':
        return this.#goodbye(request);
      case 'suspect':
        return this.#suspect(request);
      case 'report':
        return this.#report(request);
      case 'map':
        return this.#map(request);
      case 'status':
        return Promise.resolve({ payload: Buffer.from(JSON.stringify(this.#master.status())) });
      case 'events':
        return this.#events(request);
      case 'examine-master':
        return Promise.resolve({ header: this.#examined() });
      case 'change-peer':
        return this.#operate(({ operations }) => operations.changePeer(request.header));
      case 'change-cluster':
        return this.#operate(({ operations }) => operations.changeCluster(request.header));
      case 'what-if':
        return this.#operate(({ operations }) => operations.whatIf(request.header.stop));
      case 'checkpoint-create':
        return this.#operate(({ checkpoints }) => checkpoints.create(request.header.requestId));
      case 'checkpoints':
        return this.#operate(({ checkpoints }) => checkpoints.list());
      case 'checkpoint-delete':
        return this.#operate(({ checkpoints }) => checkpoints.remove(request.header.checkpoint));
      default:
        return refuse('unsupported', `A master does not answer "${request.name}"`);
    }
  }

  async #join({ header, session }: Incoming<'join'>): Promise<Outgoing> {
    const { map, environment, watch } = this.#master;
    if (map === undefined && header.clusterId !== undefined) this.#strangeCluster ??= header.clusterId;
    if (map !== undefined && header.clusterId === map.clusterId) {
      const foreign = foreignMapOf(map, { ...header, who: header.peerId ?? header.address });
      if (foreign !== undefined) this.#master.onForeignMap(foreign);
    }
    const changesMap = (before: ClusterMap): boolean =>
      awaitedStore(before, header) !== undefined || withArrival(before, header, this.#arrivalView()).map !== before;
    if (map === undefined || changesMap(map)) await this.#untilReady();
    const strange = this.#strangeCluster;
    if (this.#master.map === undefined && strange !== undefined) return refuseForEmptyStore(strange);
    if (this.#master.map !== undefined) {
      const generation = watch.nextGeneration();
      const masterIncarnation = this.#master.incarnation;
      await refuseRival(environment, this.#master.map, { join: header, masterIncarnation, generation });
    }
    const answer = await this.#askIfAwaited(header);
    const { map: joined, result } = await this.#master.commits.change((current) => {
      const known = current && answer ? withAnswer(current, answer) : current;
      const arrival = withArrival(known, header, this.#arrivalView(known));
      return { map: arrival.map, result: arrival };
    });
    const { peer, kind } = result;
    if (kind === 'returned') watch.returned(peer.id);
    this.#identities.set(session, { peer: peer.id, storeId: peer.storeId, incarnation: peer.incarnation });
    const clusterId = joined?.clusterId ?? '';
    return { header: { clusterId, peerId: peer.id }, ...this.#mapPayload() };
  }

  /** What the joiner knew before the map was recovered: asked where it listens, before it is shown the map (F14). */
  async #askIfAwaited(join: JoinRequest): Promise<Answer | undefined> {
    const { map, environment } = this.#master;
    const awaited = map && awaitedStore(map, join);
    if (map === undefined || awaited === undefined) return undefined;
    const { storeId, address } = join;
    try {
      return await askJoiner(environment, map, { peer: awaited.id, storeId, address });
    } catch (error) {
      if (!(error instanceof ConnectFailure)) throw error;
      return refuse('unavailable', `The master cannot reach ${awaited.id} at ${address}, to ask what it knows`);
    }
  }

  #arrivalView(map: ClusterMap | undefined = this.#master.map) {
    const answered = map === undefined ? new Set<PeerId>() : this.#master.failover(map).answered;
    return { answered, newCluster: () => this.#newCluster() };
  }

  /** Ids for a cluster that is about to be made. */
  #newCluster(): ClusterSettings {
    const { environment, incarnation: masterIncarnation, options } = this.#master;
    const { replicas, minInSync, slotCount, repairGraceMs, quarantineMs } = options;
    const [clusterId, lineage] = [toHex(environment.random.bytes(16)), toHex(environment.random.bytes(16))];
    return { clusterId, lineage, masterIncarnation, replicas, minInSync, slotCount, repairGraceMs, quarantineMs };
  }

  async #change({ header, session }: Incoming<'change'>): Promise<Outgoing> {
    await this.#untilReady();
    const by = this.#identityOf(session);
    const { changes } = header;
    const change: Transition<typeof changes> = (map) => {
      if (map === undefined || !isNamed(map, by)) return refuse('not-ready', `${by.peer} must join first`);
      if (changes.some(({ op }) => op === 'add')) this.#checkHeard(map, by.peer);
      const { map: after, outcomes } = applyChanges(map, { by: by.peer, changes });
      return { map: after, result: changes.filter(({ op }, index) => op === 'add' && outcomes[index] === 'done') };
    };
    const patienceMs = patienceMsFor(this.#master.map, changes);
    const { result: added } = await this.#master.commits.change(change, { patienceMs });
    for (const event of eventsOfCopies(by.peer, added)) this.#master.addEvent(event);
    return this.#mapAnswer();
  }

  /**
   * Whoever it added while it counts as down would be promoted over it at once, by an answer of before, and be alone
   * with what both have. It has the time to answer a ping; if it cannot be reached, others shall be able to lead.
   */
  #checkHeard(map: ClusterMap, peer: PeerId): void {
    const downMs = this.#master.watch.noteAsked(peer) ?? (peerOf(map, peer)?.state === 'down' ? 0 : undefined);
    if (downMs !== undefined && downMs < timing.downAfterMs) {
      refuse('not-ready', `${peer} counts as down until it answers a ping`);
    }
  }

  async #goodbye({ session }: Incoming<'goodbye'>): Promise<Outgoing> {
    await this.#untilReady();
    const by = this.#identityOf(session);
    // A goodbye of a former start must not silence the one that has joined since.
    const { map: current } = this.#master;
    if (current === undefined || !isNamed(current, by)) refuse('not-ready', `${by.peer} must join first`);
    this.#master.watch.saidGoodbye(by.peer);
    await this.#master.commits.change((map) => {
      if (map === undefined || !isNamed(map, by)) return refuse('not-ready', `${by.peer} must join first`);
      const { answered } = this.#master.failover(map);
      const sinceMs = this.#master.environment.clock.monotonicMs() - timing.suspectAfterMs;
      const present = answeredSince(this.#master.watch.membership, sinceMs);
      return { map: withPeerLeaving(map, { peer: by.peer, answered, present }), result: undefined };
    });
    return this.#mapAnswer();
  }

  async #suspect({ header }: Incoming<'suspect'>): Promise<Outgoing> {
    this.#master.watch.look(header.peer);
    return {};
  }

  async #report({ header, session }: Incoming<'report'>): Promise<Outgoing> {
    const { peer } = this.#identityOf(session);
    this.#master.addEvent(eventOfReport(peer, header));
    return {};
  }

  #examined(): ReplyOf<'examine-master'> {
    const { environment, options } = this.#master;
    return { wallMs: Math.floor(environment.clock.wallMs()), node: options.nodeVersion };
  }

  async #map(request: Incoming<'map'>): Promise<Outgoing> {
    const { newerThan, waitMs } = request.header;
    if (waitMs > 0 && (this.#master.map?.epoch ?? 0) <= newerThan) await this.#nextMap(waitMs, request.signal);
    const epoch = this.#master.map?.epoch ?? 0;
    return epoch > newerThan ? this.#mapAnswer() : { header: { epoch } };
  }

  async #events(request: Incoming<'events'>): Promise<Outgoing> {
    const { after, limit, waitMs } = request.header;
    const { events, environment } = this.#master;
    if (waitMs > 0 && events.after(after, 1).length === 0) {
      const stop = new AbortController();
      const timer = environment.clock.after(waitMs, () => stop.abort());
      await events.next(AbortSignal.any([stop.signal, request.signal]));
      timer.cancel();
    }
    return { payload: Buffer.from(JSON.stringify(events.after(after, limit))) };
  }

  async #operate(operate: (master: Master) => Promise<object>): Promise<Outgoing> {
    await this.#untilReady();
    return { payload: Buffer.from(JSON.stringify(await operate(this.#master))) };
  }

  #nextMap(waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        timer.cancel();
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const timer = this.#master.environment.clock.after(waitMs, wake);
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  /** Resolves once the master has listened long enough to know that its store is the newest. */
  async #untilReady(): Promise<void> {
    while (this.#master.watch.onlyListens) await sleep(this.#master.environment.clock, timing.masterRoundMs);
  }

  #identityOf(session: Session): Identity {
    return (
      this.#identities.get(session) ?? refuse('not-ready', 'Only a peer that has joined on this connection may ask')
    );
  }

  #mapAnswer(): Outgoing {
    return { header: { epoch: this.#master.map?.epoch ?? 0 }, ...this.#mapPayload() };
  }

  #mapPayload(): { payload?: Uint8Array } {
    const payload = this.#master.encodedMap;
    return payload === undefined ? {} : { payload };
  }
}

function awaitedStore(map: ClusterMap, { storeId }: JoinRequest): PeerRecord | undefined {
  return map.peers.find((peer) => peer.storeId === storeId && peer.state === 'awaited');
}

function isNamed(map: ClusterMap, by: Identity): boolean {
  const peer = peerOf(map, by.peer);
  return peer?.storeId === by.storeId && peer.incarnation === by.incarnation;
}

function hostOf(address: Address): string {
  return address.slice(0, address.lastIndexOf(':'));
}

/** How long changes may wait for others to share a commit with. */
function patienceMsFor(map: ClusterMap | undefined, changes: RequestOf<'change'>['changes']): number {
  // A slot with too few copies takes no writes until this one is added (F25).
  const isAwaited = (slot: SlotNumber): boolean =>
    map === undefined || (map.slots[slot]?.inSync.length ?? 0) < map.pool.minInSync;
  const each = changes.map(({ op, slot }) => {
    if (op === 'handover') return timing.handoverChangeMs;
    return op === 'add' && !isAwaited(slot) ? timing.patientChangeMs : 0;
  });
  return each.length === 0 ? 0 : Math.min(...each);
}
