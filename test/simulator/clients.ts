/**
 * Clients that do what a plan says and remember what they were told, in the form the checker reads.
 */
import type { FileClient } from '../../src/client/file-client.js';
import { DfsError } from '../../src/core/errors.js';
import type { Action, Operation, Outcome } from '../checker/history.js';
import { makeBody } from '../failover/body.js';
import type { SimCluster } from './cluster.js';
import { DirectCaller } from './direct-caller.js';
import { outcomeOf, seen } from './outcomes.js';
import type { ClientAction, ClientPlan, ClientStep } from './plan.js';
import type { SimHost } from './sim-host.js';

/** The least there may be, so that files of several segments stay small. */
const segmentBytes = 1024 * 1024;
const timeoutMs = 10_000;

export class Clients {
  readonly #operations: Operation[] = [];
  /** Names seen in lists, whose contents other operations tell. */
  readonly #listed: Listed[] = [];
  readonly #cluster: SimCluster;
  readonly #plans: readonly ClientPlan[];
  readonly names: readonly string[];
  readonly #lastSeen = new Map<string, string>();
  readonly #working = new Set<string>();
  #isStopping = false;

  constructor(cluster: SimCluster, plans: readonly ClientPlan[]) {
    this.#cluster = cluster;
    this.#plans = plans;
    this.names = [...new Set(plans.flatMap(({ steps }) => steps.map(({ name }) => name)))];
  }

  async start(): Promise<void> {
    for (const plan of this.#plans) {
      const { client, host } = await this.#cluster.client();
      const worker = new Worker(this, plan.worker, { client, host, cluster: this.#cluster });
      this.#working.add(plan.worker);
      this.#work(worker, plan.steps).then(
        () => this.#working.delete(plan.worker),
        (error: unknown) =>
          this.#cluster.world.complaints.push(`Client ${plan.worker} failed: ${(error as Error).stack}`),
      );
    }
  }

  /** Lets what is under way end. */
  async stop(limitMs = 60_000): Promise<void> {
    this.#isStopping = true;
    const { world } = this.#cluster;
    await world.runUntil(() => this.#working.size === 0, limitMs);
    for (const worker of this.#working) world.complaints.push(`Client ${worker} did not end within ${limitMs} ms`);
  }

  /** Reads every name once more, by a client of its own. */
  async readAll(): Promise<void> {
    const { client, host } = await this.#cluster.client();
    const last = new Worker(this, 'last', { client, host, cluster: this.#cluster });
    for (const name of this.names) await this.#cluster.world.until(last.do(name, { kind: 'get' }), 60_000);
  }

  /** All that was answered, in order of the answers; of what lists told, that whose content is known by now. */
  get operations(): readonly Operation[] {
    const values = new Map<string, string>();
    for (const { name, action, outcome } of this.#operations) {
      if (outcome.state !== 'done' || outcome.version === undefined) continue;
      const value = action.kind === 'put' ? action.value : outcome.value;
      if (value !== undefined) values.set(`${name} ${outcome.version}`, value);
    }
    const listed = this.#listed.flatMap(({ version, ...call }): Operation[] => {
      const told = { ...call, action: { kind: 'get' } } as const;
      if (version === undefined) return [{ ...told, outcome: { state: 'absent' } }];
      const value = values.get(`${call.name} ${version}`);
      return value === undefined ? [] : [{ ...told, outcome: { state: 'done', version, value } }];
    });
    return [...this.#operations, ...listed];
  }

  /** What a list said of every name; `versions` of those that were in it. */
  onListed(call: Pick<Operation, 'worker' | 'calledMs' | 'returnedMs'>, versions: ReadonlyMap<string, string>): void {
    for (const name of this.names) this.#listed.push({ ...call, name, version: versions.get(name) });
  }

  versionLastSeen(name: string): string | undefined {
    return this.#lastSeen.get(name);
  }

  onDone(operation: Operation): void {
    const { worker, name, action, outcome } = operation;
    this.#operations.push(operation);
    this.#cluster.trace?.(`    ${worker} ${name} ${JSON.stringify(action)} → ${JSON.stringify(outcome)}`);
    if (outcome.state === 'done' && outcome.version !== undefined && action.kind !== 'delete') {
      this.#lastSeen.set(name, outcome.version);
    }
  }

  async #work(worker: Worker, steps: readonly ClientStep[]): Promise<void> {
    for (const { afterMs, name, action } of steps) {
      await worker.sleep(afterMs);
      if (this.#isStopping) return;
      await worker.do(name, action);
    }
  }
}

interface Listed extends Pick<Operation, 'worker' | 'name' | 'calledMs' | 'returnedMs'> {
  /** Undefined: it was not in the list. */
  readonly version: string | undefined;
}

interface WorkerParts {
  readonly client: FileClient;
  readonly host: SimHost;
  readonly cluster: SimCluster;
}

/** One client and what it is doing. */
class Worker {
  readonly #clients: Clients;
  readonly #name: string;
  readonly #parts: WorkerParts;
  readonly #direct: DirectCaller;
  #count = 0;

  constructor(clients: Clients, name: string, parts: WorkerParts) {
    this.#clients = clients;
    this.#name = name;
    this.#parts = parts;
    this.#direct = new DirectCaller(parts.cluster, parts.host);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.cluster.world.schedule(delayMs, resolve));
  }

  async do(name: string, action: ClientAction): Promise<void> {
    this.#count++;
    switch (action.kind) {
      case 'list':
        return this.#list();
      case 'get':
        return this.#record(name, { kind: 'get' }, () => this.#get(name));
      case 'get-from-the-first':
        return this.#record(name, { kind: 'get' }, () => this.#direct.getFromTheFirst(name));
      case 'delete': {
        const ifVersion = this.#conditionOf(name, action.condition);
        const condition = ifVersion === undefined ? {} : { ifVersion };
        return this.#record(name, { kind: 'delete', ...condition }, () => this.#delete(name, condition));
      }
      case 'put-twice':
        return this.#put(name, {}, (value) => this.#direct.putTwice(name, value, action.againAfterMs));
      case 'upload':
        return this.#put(name, {}, (value) => this.#send(name, this.#stallingSource(name, value, action), {}));
      case 'put': {
        const ifVersion = this.#conditionOf(name, action.condition);
        const condition = {
          ...(ifVersion === undefined ? {} : { ifVersion }),
          ...(action.condition === 'if-absent' ? { ifAbsent: true } : {}),
        };
        const { sizeBytes } = action;
        return this.#put(name, condition, (value) => this.#send(name, makeBody({ name, value, sizeBytes }), condition));
      }
    }
  }

  #conditionOf(name: string, condition: string | undefined): string | undefined {
    return condition === 'if-last-seen' ? this.#clients.versionLastSeen(name) : undefined;
  }

  #put(
    name: string,
    condition: { ifVersion?: string; ifAbsent?: boolean },
    perform: (value: string) => Promise<Outcome>,
  ): Promise<void> {
    const value = `${this.#name}:${this.#count}`;
    return this.#record(name, { kind: 'put', value, ...condition }, () => perform(value));
  }

  async #record(name: string, action: Action, perform: () => Promise<Outcome>): Promise<void> {
    const { world } = this.#parts.cluster;
    const calledMs = world.nowMs;
    const outcome = await perform().catch(outcomeOf);
    this.#clients.onDone({ worker: this.#name, name, action, calledMs, returnedMs: world.nowMs, outcome });
  }

  async #get(name: string): Promise<Outcome> {
    const file = await this.#parts.client.get(name, { timeoutMs });
    return seen(name, await file.bytes(), file.stat.version);
  }

  async #delete(name: string, condition: { ifVersion?: string }): Promise<Outcome> {
    const { version, slotEpoch, copies } = await this.#parts.client.delete(name, { ...condition, timeoutMs });
    return { state: 'done', version, receipt: { slotEpoch, durable: copies.durable } };
  }

  async #send(
    name: string,
    source: Uint8Array | AsyncIterable<Uint8Array>,
    condition: { ifVersion?: string; ifAbsent?: boolean },
  ): Promise<Outcome> {
    const options = { ...condition, segmentBytes, timeoutMs };
    const { version, slotEpoch, copies, segments } = await this.#parts.client.put(name, source, options);
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
  async #list(): Promise<void> {
    const { client, cluster } = this.#parts;
    const calledMs = cluster.world.nowMs;
    const versions = new Map<string, string>();
    try {
      for await (const { name, version } of client.list({ timeoutMs })) versions.set(name, version);
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
      cluster.trace?.(`    ${this.#name} lists: ${error.code}`);
      return;
    }
    const names = [...versions.keys()];
    this.#clients.onListed({ worker: this.#name, calledMs, returnedMs: cluster.world.nowMs }, versions);
    if (names.some((name, at) => at > 0 && name <= (names[at - 1] ?? ''))) {
      cluster.world.complaints.push(`A list is not in order: ${names.join(', ')}`);
    }
  }
}
