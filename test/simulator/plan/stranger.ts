/**
 * A stranger at work: connects from a host of its own, sends what intrusions.ts has, and judges the answer.
 *
 * Only what nothing else explains is complained about: a daemon that was away meanwhile, or a map that has changed, may
 * have answered otherwise. That it did no harm is seen by all other checks.
 */
import type { PeerRecord } from '../../../src/cluster/map.js';
import { generationOf } from '../../../src/core/ids.js';
import { limits } from '../../../src/core/limits.js';
import { ConnectFailure, type Connection, type Frame } from '../../../src/core/network.js';
import { timing } from '../../../src/core/timing.js';
import { packPlain } from '../../../src/protocol/codec.js';
import { messages, protocolVersion, type ReplyOf } from '../../../src/protocol/messages.js';
import { Seeded } from '../../contract/seeded.js';
import { rawFrame } from '../../unit/protocol/raw-frames.js';
import { masterAddress, type SimCluster } from '../cluster.js';
import { Endpoint } from '../world/endpoint.js';
import { SimHost } from '../world/sim-host.js';
import { type Intrusion, type IntrusionName, intrusions } from './intrusions.js';

const connectTimeoutMs = 1000;
/** A daemon that runs has answered, or closed the connection, by then. */
const patienceMs = timing.helloTimeoutMs + 1500;
const lookEveryMs = 100;
/** For those who go away by themselves. */
const stayMs = 300;

/** One connection, as the stranger sees it. */
interface Visit {
  readonly endpoint: Endpoint;
  /** Frames that answer something. */
  readonly answers: Frame[];
  isClosed: boolean;
}

export class Stranger {
  readonly #cluster: SimCluster;
  readonly #host: SimHost;

  constructor(cluster: SimCluster, name: string) {
    this.#cluster = cluster;
    cluster.network.strangers.add(name);
    const program = async () => ({ stop: () => Promise.resolve() });
    this.#host = new SimHost(cluster.network, { name, program, trace: undefined });
    this.#host.start();
  }

  /** Resolves when the stranger has gone, to whether nothing came between that would excuse a wrong answer. */
  async intrude(name: IntrusionName, chanceSeed: number): Promise<boolean> {
    const { map } = this.#cluster;
    if (map === undefined) return false;
    const chance = new Seeded(chanceSeed);
    const intrusion: Intrusion = intrusions[name];
    // In sync with its store of now, so it has a map: one that has none must take whatever the first master brings.
    const peers = map.peers.filter(({ id }) => map.slots.some(({ inSync }) => inSync.includes(id)));
    const isOfMaster = intrusion.at === 'master' || (intrusion.at === 'any' && chance.isLikely(0.3));
    const peer = isOfMaster ? undefined : chance.pick(peers);
    const watch = new Presence(this.#cluster, peer);
    const visit = await this.#connect(peer?.address ?? masterAddress);
    if (visit === undefined) return false;
    const of = { chance, map, peer };
    if (intrusion.hello !== undefined) {
      const welcome = await this.#sayHello(visit, intrusion.hello(of));
      // One that was told of a recovery takes the first map of that lineage, whoever brings it.
      if (welcome === undefined || generationOf(welcome.mapEpoch ?? map.epoch) < generationOf(map.epoch)) return false;
    }
    // In one go, so that nothing comes between.
    for (const bytes of intrusion.sends(of)) visit.endpoint.sendBytes(Buffer.from(bytes));
    const isOver = (): boolean => visit.isClosed || (intrusion.ends !== 'closed' && visit.answers.length > 0);
    await this.#wait(intrusion.ends === 'left' ? stayMs : (intrusion.withinMs ?? patienceMs), isOver, watch);
    const said = complaintOf(intrusion, visit);
    visit.endpoint.close('The stranger leaves');
    if (watch.hasChanged) return false;
    if (said === undefined) return true;
    this.#cluster.world.complaints.push(`A stranger (${name}) at ${peer?.id ?? 'the master'} ${said}`);
    return true;
  }

  async #connect(address: string): Promise<Visit | undefined> {
    const { environment } = this.#host;
    let visit: Visit | undefined;
    const onConnection = (connection: Connection) => {
      if (!(connection instanceof Endpoint)) throw new Error('A simulated connection is an endpoint');
      const opened: Visit = { endpoint: connection, answers: [], isClosed: false };
      visit = opened;
      return {
        admit: () => undefined,
        onFrame: (frame: Frame) => {
          if (frame.type === 'reply' || frame.type === 'refusal') opened.answers.push(frame);
        },
        onClose: () => {
          opened.isClosed = true;
        },
      };
    };
    try {
      await environment?.network.connect(address, onConnection, { timeoutMs: connectTimeoutMs });
    } catch (error) {
      if (!(error instanceof ConnectFailure)) throw error;
    }
    return visit;
  }

  /** What the daemon said when it let the stranger in. */
  async #sayHello(visit: Visit, more: object): Promise<ReplyOf<'hello'> | undefined> {
    const fields = { protocol: protocolVersion, role: 'client', software: 'a stranger', generation: 1, ...more };
    const hello = rawFrame({ kind: messages.hello.kind, requestId: 1, header: packPlain(fields) });
    visit.endpoint.sendBytes(hello);
    await this.#wait(patienceMs, () => visit.isClosed || visit.answers.length > 0);
    const [answer] = visit.answers.splice(0);
    if (answer?.type === 'reply' && !visit.isClosed) return answer.header as unknown as ReplyOf<'hello'>;
    visit.endpoint.close('The stranger was not let in');
    return undefined;
  }

  async #wait(limitMs: number, isOver: () => boolean, watch?: Presence): Promise<void> {
    const { world } = this.#cluster;
    for (const endMs = world.nowMs + limitMs; world.nowMs < endMs && !isOver(); watch?.look()) {
      await new Promise<void>((resolve) => world.schedule(lookEveryMs, resolve));
    }
  }
}

/** What the stranger might rightly complain of; undefined when the daemon did as it should. */
function complaintOf({ ends }: Intrusion, { answers, isClosed }: Visit): string | undefined {
  const [answer] = answers;
  if (ends === 'left') return undefined;
  if (ends === 'closed') {
    if (answer !== undefined) return `was answered: ${JSON.stringify(answer.header)}`;
    return isClosed ? undefined : unlessHeldUp('was let stay');
  }
  if (answer === undefined) return isClosed ? 'was turned away without a word' : unlessHeldUp('was not answered');
  if (ends === 'answered') return answer.type === 'reply' ? undefined : `was refused: ${JSON.stringify(answer.header)}`;
  const { code } = answer.header;
  const isFit = answer.type === 'refusal' && ends.some((fit) => fit === code);
  return isFit ? undefined : `was told ${JSON.stringify(answer.header)}, not ${ends[0]}`;
}

/** Where memory is short, nothing is read while small writes wait for their replicas. */
function unlessHeldUp(complaint: string): string | undefined {
  return limits.smallWritesBytesMax < limits.uncreditedBytesMax ? undefined : complaint;
}

/** Whether the daemon has run all the time, under the same map and with a link worth the name. */
class Presence {
  readonly #cluster: SimCluster;
  readonly #host: SimHost;
  readonly #starts: number;
  readonly #epoch: number | undefined;
  #hasChanged = false;

  constructor(cluster: SimCluster, peer: PeerRecord | undefined) {
    this.#cluster = cluster;
    this.#host = peer === undefined ? cluster.master : cluster.hostOf(peer.id);
    this.#starts = this.#host.starts;
    this.#epoch = cluster.map?.epoch;
    // An emptied folder belongs to no cluster before it has joined again.
    this.#hasChanged = peer !== undefined && cluster.monitor.diskOf(this.#host.name).storeId !== peer.storeId;
    this.look();
  }

  get hasChanged(): boolean {
    this.look();
    return this.#hasChanged;
  }

  look(): void {
    const { isRunning, isPaused, starts, name } = this.#host;
    const isAway = !isRunning || isPaused || starts !== this.#starts || this.#cluster.network.isSlow(name);
    this.#hasChanged ||= isAway || this.#cluster.map?.epoch !== this.#epoch;
  }
}
