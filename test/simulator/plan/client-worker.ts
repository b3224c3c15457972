/**
 * One simulated client at work: what each step of its plan means in calls, and what it says of the answers.
 */
import type { PutOptions, Source } from '../../../src/client/results.js';
import { DfsError, isRefusal } from '../../../src/core/errors.js';
import type { Action, Outcome } from '../../checker/history.js';
import { makeBody } from '../../failover/body.js';
import type { SimClient } from '../sim-client.js';
import type { World } from '../world/virtual-clock.js';
import type { Clients, VersionSeen } from './clients.js';
import { DirectCaller } from './direct-caller.js';
import { OddCalls } from './odd-calls.js';
import { wish } from './operator.js';
import { outcomeOf, seen } from './outcomes.js';
import type { ClientAction } from './plan.js';
import { Stranger } from './stranger.js';

/** The least there may be, so that files of several segments stay small. */
/** What clients cut their files into. */
export const segmentBytes = 1024 * 1024;
/** Replaced bytes that are kept for so long outlive every reader. */
const longGraceMs = 60_000;

export class Worker {
  readonly #clients: Clients;
  readonly name: string;
  readonly at: SimClient;
  readonly #direct: DirectCaller;
  readonly #odd = new OddCalls(this);
  #stranger: Stranger | undefined;
  #count = 0;

  constructor(clients: Clients, name: string, at: SimClient) {
    this.#clients = clients;
    this.name = name;
    this.at = at;
    this.#direct = new DirectCaller(at.cluster, at.host);
  }

  get world(): World {
    return this.at.cluster.world;
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.world.schedule(delayMs, resolve));
  }

  versionLastSeen(name: string): string | undefined {
    return this.#clients.versionLastSeen(name);
  }

  /** It was answered as it should be, by what leaves no trace in the history. */
  answered(): void {
    this.#clients.onAnswered(this.name);
  }

  /** What a client does that does not know that there is no peer yet. */
  async beEarly(name: string): Promise<void> {
    const status = this.look(() => this.at.client.status().then(() => []));
    const looks = [status, this.#list(), this.#stat(name), this.#lookAround(name)];
    const put = this.do(name, { kind: 'put', sizeBytes: 100 });
    await Promise.all([...looks, put]);
  }

  async do(name: string, action: ClientAction): Promise<void> {
    this.#count++;
    switch (action.kind) {
      case 'list':
        return this.#list();
      case 'stat':
        return this.#stat(name);
      case 'get-range':
        return this.#getRange(name, action);
      case 'look-around':
        return this.#lookAround(name);
      case 'restart':
        return this.at.restart();
      case 'get-metadata':
        return this.record(name, { kind: 'get' }, () => this.#getMetadata(name));
      case 'set-metadata':
        return this.#setMetadata(name);
      case 'put-metadata':
        return this.put(name, {}, (value) => this.#putMetadata(name, value));
      case 'get':
        return this.record(name, { kind: 'get' }, () => this.#get(name));
      case 'get-from-the-first':
        return this.record(name, { kind: 'get' }, () => this.#direct.getFromTheFirst(name));
      case 'delete': {
        const ifVersion = this.#conditionOf(name, action.condition);
        const condition = ifVersion === undefined ? {} : { ifVersion };
        return this.record(name, { kind: 'delete', ...condition }, () => this.#delete(name, condition));
      }
      case 'put-twice':
        return this.put(name, {}, (value) => this.#direct.putTwice(name, value, action.againAfterMs));
      case 'put-other':
        return this.#putOther(name);
      case 'operate':
        await wish(this.at.client, this.at.cluster, action.wish);
        return this.answered();
      case 'odd':
        return this.#odd.do(action.how, name, action.chance);
      case 'intrude':
        return this.#intrude(action);
      case 'upload':
        return this.put(name, {}, (value) => this.send(name, this.#stallingSource(name, value, action), {}));
      case 'put': {
        const ifVersion = this.#conditionOf(name, action.condition);
        const condition = {
          ...(ifVersion === undefined ? {} : { ifVersion }),
          ...(action.condition === 'if-absent' ? { ifAbsent: true } : {}),
        };
        const { sizeBytes, deadlineMs } = action;
        const options = { ...condition, ...(deadlineMs === undefined ? {} : { deadlineMs }) };
        return this.put(name, condition, (value) => this.send(name, makeBody({ name, value, sizeBytes }), options));
      }
    }
  }

  #conditionOf(name: string, condition: string | undefined): string | undefined {
    return condition === 'if-last-seen' ? this.versionLastSeen(name) : undefined;
  }

  /** A put of a value that no other has. */
  put(
    name: string,
    condition: { ifVersion?: string; ifAbsent?: boolean },
    perform: (value: string) => Promise<Outcome>,
  ): Promise<void> {
    const value = `${this.name}:${this.#count}`;
    return this.record(name, { kind: 'put', value, ...condition }, () => perform(value));
  }

  async #intrude({ as, chance }: ClientAction & { kind: 'intrude' }): Promise<void> {
    this.#stranger ??= new Stranger(this.at.cluster, this.at.host.name.replace(/^10\.0\.1\./, '10.0.2.'));
    await this.#stranger.intrude(as, chance);
    this.answered();
  }

  async #putOther(name: string): Promise<void> {
    const values = [`${this.name}:${this.#count}`, `${this.name}:${this.#count}-other`] as const;
    const calledMs = this.world.nowMs;
    const outcomes = await this.#direct.putOther(name, values);
    outcomes.forEach((outcome, at) => {
      const action = { kind: 'put', value: values[at] ?? '' } as const;
      this.#clients.onDone({ worker: this.name, name, action, calledMs, returnedMs: this.world.nowMs, outcome });
    });
  }

  async record(name: string, action: Action, perform: () => Promise<Outcome>): Promise<void> {
    const calledMs = this.world.nowMs;
    const outcome = await perform().catch(outcomeOf);
    this.#clients.onDone({ worker: this.name, name, action, calledMs, returnedMs: this.world.nowMs, outcome });
  }

  async #get(name: string): Promise<Outcome> {
    const { client, cluster } = this.at;
    try {
      const file = await client.get(name);
      return seen(name, await file.bytes(), file.stat.version);
    } catch (error) {
      const isSwept = isRefusal(error, 'gone') && error.message.includes('its bytes are gone');
      const { replacedGraceMs = 0 } = cluster.options;
      // Of bytes that nobody can read just now a client cannot tell why.
      const areSwept = isSwept && !cluster.hasRotted;
      if (areSwept && replacedGraceMs >= longGraceMs) {
        this.world.complaints.push(`${name}: bytes went under a reader, ${replacedGraceMs} ms before their time`);
      }
      throw error;
    }
  }

  async #delete(name: string, condition: { ifVersion?: string }): Promise<Outcome> {
    const { version, slotEpoch, copies } = await this.at.client.delete(name, condition);
    return { state: 'done', version, receipt: { slotEpoch, durable: copies.durable } };
  }

  async send(name: string, source: Source, options: PutOptions): Promise<Outcome> {
    const all = { ...options, segmentBytes };
    const { version, slotEpoch, copies, segments } = await this.at.client.put(name, source, all);
    const receipt = { slotEpoch, durable: copies.durable };
    return { state: 'done', version, ...(segments === 1 ? { receipt } : {}) };
  }

  async *#stallingSource(
    name: string,
    value: string,
    { sizeBytes, stallAtBytes, stallMs, isAbandoned }: ClientAction & { kind: 'upload' },
  ): AsyncGenerator<Uint8Array> {
    const body = makeBody({ name, value, sizeBytes });
    yield body.subarray(0, stallAtBytes);
    await this.sleep(stallMs);
    if (isAbandoned) throw new DfsError('cancelled', 'The source was lost');
    yield body.subarray(stallAtBytes);
  }

  /** A list is of no one moment, but each entry was the current one at some moment of the call. */
  #list(): Promise<void> {
    return this.look(async () => {
      const versions = new Map<string, string>();
      for await (const { name, version } of this.at.client.list()) versions.set(name, version);
      const names = [...versions.keys()];
      if (names.some((name, at) => at > 0 && name <= (names[at - 1] ?? ''))) {
        this.world.complaints.push(`A list is not in order: ${names.join(', ')}`);
      }
      return this.#clients.names.map((name) => ({ name, version: versions.get(name) }));
    });
  }

  #stat(name: string): Promise<void> {
    return this.look(async () => {
      const stat = await this.at.client.stat(name).catch(undefinedIfAbsent);
      return [{ name, version: stat?.version }];
    });
  }

  #getRange(name: string, { start, end }: ClientAction & { kind: 'get-range' }): Promise<void> {
    return this.look(async () => {
      const file = await this.at.client.get(name, { range: { start, end } }).catch(undefinedIfAbsent);
      if (file === undefined) return [{ name, version: undefined }];
      const { version, size } = file.stat;
      return [{ name, version, part: { start, bytes: await file.bytes(), sizeBytes: size } }];
    });
  }

  /** What is asked for by people, and says nothing about contents. */
  #lookAround(name: string): Promise<void> {
    return this.look(async () => {
      const { client } = this.at;
      await client.locate(name);
      await client.status();
      await client.events({ limit: 10 });
      const file = await client.get(name, { consistency: 'any' }).catch(undefinedIfAbsent);
      await file?.bytes();
      return [];
    });
  }

  /** A call that shows versions, each current at some moment of it. */
  async look(call: () => Promise<readonly Omit<VersionSeen, 'worker' | 'calledMs' | 'returnedMs'>[]>): Promise<void> {
    const calledMs = this.world.nowMs;
    try {
      const seen = await call();
      const when = { worker: this.name, calledMs, returnedMs: this.world.nowMs };
      for (const each of seen) this.#clients.onVersionSeen({ ...each, ...when });
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
      this.at.cluster.trace?.(`    ${this.name} looks: ${error.code}`);
    }
  }

  // --- Names whose metadata is what counts ---------------------------------------------------------------------------

  async #getMetadata(name: string): Promise<Outcome> {
    const { version, metadata } = await this.at.client.stat(name);
    return { state: 'done', value: metadata.value ?? '', version };
  }

  async #putMetadata(name: string, value: string): Promise<Outcome> {
    const body = makeBody({ name, value: 'whatever', sizeBytes: 100 });
    const { version } = await this.at.client.put(name, body, { metadata: { value }, segmentBytes });
    return { state: 'done', version };
  }

  /** Of a file that does not exist nothing can be set: that is seen like a get. */
  async #setMetadata(name: string): Promise<void> {
    const value = `${this.name}:${this.#count}`;
    const calledMs = this.world.nowMs;
    const outcome = await this.at.client
      .setMetadata(name, { value })
      .then(({ version }): Outcome => ({ state: 'done', version }), outcomeOf);
    const action: Action = outcome.state === 'absent' ? { kind: 'get' } : { kind: 'put', value };
    this.#clients.onDone({ worker: this.name, name, action, calledMs, returnedMs: this.world.nowMs, outcome });
  }
}

function undefinedIfAbsent(error: unknown): undefined {
  if (!isRefusal(error, 'not-found')) throw error;
}
