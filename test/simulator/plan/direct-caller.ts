/**
 * Requests a client sends past all routing: to a peer that may lead no longer, and one request twice.
 */
import { hashOfName } from '../../../src/cluster/hashing.js';
import { slotOfHash } from '../../../src/cluster/map.js';
import { blockSums, xxh64 } from '../../../src/core/checksum.js';
import { DfsError, isRefusal } from '../../../src/core/errors.js';
import { formatVersion, type TimedId, toTimedId } from '../../../src/core/ids.js';
import { openSession, type Session } from '../../../src/protocol/session.js';
import type { Outcome } from '../../checker/history.js';
import type { Seeded } from '../../contract/seeded.js';
import { makeBody } from '../../failover/body.js';
import type { SimCluster } from '../cluster.js';
import type { SimHost } from '../world/sim-host.js';
import { outcomeOf, seen } from './outcomes.js';

/** Says of an outcome that each of two attempts was answered, and neither with success. */
export const twoAttempts = 'two-attempts';

const bucket = 'files';
const timeoutMs = 5000;
const segmentBytes = 1024 * 1024;

/** A peer and the term in which it led a slot. */
interface Target {
  readonly session: Session;
  readonly slot: number;
  readonly term: number;
}

export class DirectCaller {
  readonly #cluster: SimCluster;
  readonly #host: SimHost;
  readonly #chance: Seeded;
  /** By name: whoever led its slot at the first call. */
  readonly #first = new Map<string, Target>();

  constructor(cluster: SimCluster, host: SimHost) {
    this.#cluster = cluster;
    this.#host = host;
    this.#chance = cluster.world.stream(`direct calls of ${host.name}`);
  }

  /** Reads from the peer of the first call for as long as its connection stands and it does not refuse. */
  async getFromTheFirst(name: string): Promise<Outcome> {
    const known = this.#first.get(name);
    const target = known !== undefined && !known.session.closed ? known : await this.#targetOf(name);
    this.#first.set(name, target);
    const { session, slot, term } = target;
    try {
      const header = { slot, term, bucket, name, consistency: 'linearizable', start: 0, end: segmentBytes } as const;
      const answer = await session.request('get', header, { timeoutMs });
      const { record } = answer.header;
      if (record.segments > 1) return { state: 'refused', code: 'several-segments' };
      return seen(name, answer.payload ?? new Uint8Array(0), formatVersion(record.version));
    } catch (error) {
      if (!isRefusal(error, 'not-found')) this.#first.delete(name);
      throw error;
    }
  }

  /**
   * Puts, and puts the very same again over a connection of its own, to whoever leads by then. One request id has one
   * effect: what is answered to both must be the same.
   */
  async putTwice(name: string, value: string, againAfterMs: number): Promise<Outcome> {
    const body = makeBody({ name, value, sizeBytes: 100 });
    const ids = { requestId: this.#newId(), uploadId: this.#newId() };
    const once = async (): Promise<Outcome> => {
      const target = await this.#targetOf(name);
      try {
        return await this.#put(target, { name, body, ...ids });
      } finally {
        target.session.close('The call has ended');
      }
    };
    const outcomes = [once().catch(outcomeOf)];
    if (againAfterMs > 0) await this.#sleep(againAfterMs);
    outcomes.push(once().catch(outcomeOf));
    const [first, again] = await Promise.all(outcomes);
    if (first?.state === 'done' && again?.state === 'done' && first.version !== again.version) {
      this.#complain(`One request put ${name} twice, as ${first.version} and as ${again.version}`);
    }
    // Of two attempts only a success is final: a refusal of one says nothing about the other (F7).
    if (first?.state === 'done') return first;
    return again?.state === 'done' ? again : { state: 'unknown', code: twoAttempts };
  }

  /** Two puts of one request id and other contents: one of them at most may succeed (F5). Resolves to both outcomes. */
  async putOther(name: string, values: readonly [string, string]): Promise<readonly Outcome[]> {
    const ids = { requestId: this.#newId(), uploadId: this.#newId() };
    const outcomes = await Promise.all(
      values.map(async (value) => {
        const target = await this.#targetOf(name).catch(outcomeOf);
        if (!('session' in target)) return target;
        const body = makeBody({ name, value, sizeBytes: 100 });
        const put = this.#put(target, { name, body, ...ids }).catch(unlessDefinite);
        return put.finally(() => target.session.close('The call has ended'));
      }),
    );
    if (outcomes.every(({ state }) => state === 'done')) {
      this.#complain(`One request id was told yes for two contents of ${name}`);
    }
    return outcomes;
  }

  async #put(
    { session, slot, term }: Target,
    file: { name: string; body: Uint8Array; requestId: TimedId; uploadId: TimedId },
  ): Promise<Outcome> {
    const { name, body, requestId, uploadId } = file;
    const checksum = new Uint8Array(8);
    new DataView(checksum.buffer).setBigUint64(0, xxh64(body));
    const sums = blockSums(body);
    const size = body.length;
    const about = { bucket, name, requestId, uploadId, size, checksum, segmentBytes, segments: 1, metadata: {}, sums };
    const header = { slot, term, ...about };
    const { version, slotEpoch, copies } = (await session.request('put', header, { payload: body, sums, timeoutMs }))
      .header;
    return { state: 'done', version: formatVersion(version), receipt: { slotEpoch, durable: copies.durable } };
  }

  async #targetOf(name: string): Promise<Target> {
    const { map } = this.#cluster;
    const { environment } = this.#host;
    const slot = map === undefined ? 0 : slotOfHash(hashOfName(name), map.slots.length);
    const record = map?.slots[slot];
    const address = map?.peers.find(({ id }) => id === record?.primary)?.address;
    if (environment === undefined || record === undefined || address === undefined) {
      throw new DfsError('unavailable', 'Nobody is known to lead the slot');
    }
    // Each as a client of its own: a newer connection of one client would close its older one.
    const hello = { role: 'client', generation: 1, clientId: this.#chance.bytes(16) } as const;
    const session = await openSession(environment, address, { hello, timeoutMs: 1000 }).catch(() => {
      throw new DfsError('unavailable', `${address} cannot be reached`);
    });
    return { session, slot, term: record.term };
  }

  #newId(): TimedId {
    const atMs = this.#cluster.master.environment?.clock.wallMs() ?? this.#host.environment?.clock.wallMs() ?? 0;
    return toTimedId({ atMs, random: this.#chance.bytes(10) });
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#cluster.world.schedule(delayMs, resolve));
  }

  #complain(text: string): void {
    this.#cluster.world.complaints.push(text);
  }
}

/** Told by whoever decides, and about this very attempt. */
const definite: ReadonlySet<string> = new Set(['invalid', 'stale-term', 'too-few-copies', 'expired-id', 'no-space']);

function unlessDefinite(error: unknown): Outcome {
  const outcome = outcomeOf(error);
  return outcome.state === 'refused' && !definite.has(outcome.code)
    ? { state: 'unknown', code: outcome.code }
    : outcome;
}
