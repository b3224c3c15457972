/**
 * Clients that write, read and delete a few names and remember what they were told, in the form the checker reads.
 */
import type { FileClient } from '../../src/client/file-client.js';
import { DfsError } from '../../src/core/errors.js';
import type { Action, Operation, Outcome } from '../checker/history.js';
import { makeBody, valueOfBody } from '../failover/body.js';
import type { SimCluster } from './cluster.js';
import type { World } from './virtual-clock.js';

export interface WorkloadOptions {
  readonly writers: number;
  readonly readers: number;
  readonly names: readonly string[];
  /** Longest pause of a worker between two operations. */
  readonly thinkMs: number;
  readonly sizes?: readonly number[];
  /** How long a call may take. */
  readonly timeoutMs?: number;
}

/** The least there may be, so that files of several segments stay small. */
const segmentBytes = 1024 * 1024;

export class Workload {
  readonly operations: Operation[] = [];
  readonly #cluster: SimCluster;
  readonly #options: WorkloadOptions;
  readonly #lastSeen = new Map<string, string>();
  #isStopping = false;
  #working = 0;

  constructor(cluster: SimCluster, options: WorkloadOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  get world(): World {
    return this.#cluster.world;
  }

  async start(): Promise<void> {
    const { writers, readers } = this.#options;
    const workers = [
      ...Array.from({ length: writers }, (_, at) => `w${at}`),
      ...Array.from({ length: readers }, (_, at) => `r${at}`),
    ];
    for (const worker of workers) {
      const { client } = await this.#cluster.client();
      this.#working++;
      this.#work(worker, client).then(
        () => this.#working--,
        (error: unknown) => this.world.complaints.push(`Worker ${worker} failed: ${(error as Error).stack}`),
      );
    }
  }

  /** Lets what is under way end. */
  async stop(limitMs = 60_000): Promise<void> {
    this.#isStopping = true;
    await this.world.runUntil(() => this.#working === 0, limitMs);
    if (this.#working > 0) this.world.complaints.push(`${this.#working} workers did not end`);
  }

  /** Reads every name once more. */
  async readAll(): Promise<void> {
    const { client } = await this.#cluster.client();
    for (const name of this.#options.names) {
      await this.world.until(this.#record('last', client, { name, action: { kind: 'get' } }), 60_000);
    }
  }

  async #work(worker: string, client: FileClient): Promise<void> {
    const { world } = this;
    for (let count = 1; !this.#isStopping; count++) {
      await new Promise<void>((resolve) => world.schedule(world.chance.between(0, this.#options.thinkMs), resolve));
      const name = world.chance.pick(this.#options.names);
      const action: Action = worker.startsWith('w') ? this.#pickWrite(name, `${worker}:${count}`) : { kind: 'get' };
      await this.#record(worker, client, { name, action });
    }
  }

  #pickWrite(name: string, value: string): Action {
    const { world } = this;
    const ifVersion = this.#lastSeen.get(name);
    const chance = world.chance.between(0, 1);
    if (chance < 0.15) return { kind: 'delete' };
    if (chance < 0.18 && ifVersion !== undefined) return { kind: 'delete', ifVersion };
    if (chance < 0.3 && ifVersion !== undefined) return { kind: 'put', value, ifVersion };
    if (chance < 0.36) return { kind: 'put', value, ifAbsent: true };
    return { kind: 'put', value };
  }

  async #record(worker: string, client: FileClient, task: { name: string; action: Action }): Promise<void> {
    const calledMs = this.world.nowMs;
    const outcome = await this.#perform(client, task.name, task.action).catch(outcomeOf);
    const operation = { worker, ...task, calledMs, returnedMs: this.world.nowMs, outcome };
    this.operations.push(operation);
    this.#cluster.trace(`    ${worker} ${task.name} ${JSON.stringify(task.action)} → ${JSON.stringify(outcome)}`);
    if (outcome.state === 'done' && outcome.version !== undefined && task.action.kind !== 'delete') {
      this.#lastSeen.set(task.name, outcome.version);
    }
  }

  async #perform(client: FileClient, name: string, action: Action): Promise<Outcome> {
    const { timeoutMs = 10_000, sizes = [100] } = this.#options;
    if (action.kind === 'get') {
      const file = await client.get(name, { timeoutMs });
      const bytes = await file.bytes();
      try {
        return { state: 'done', value: valueOfBody(bytes, name), version: file.stat.version };
      } catch (error) {
        return { state: 'corrupt', complaint: `${(error as Error).message} (version ${file.stat.version})` };
      }
    }
    const condition = action.ifVersion === undefined ? {} : { ifVersion: action.ifVersion };
    if (action.kind === 'delete') {
      const { version, slotEpoch, copies } = await client.delete(name, { ...condition, timeoutMs });
      return { state: 'done', version, receipt: { slotEpoch, durable: copies.durable } };
    }
    const body = makeBody({ name, value: action.value, sizeBytes: this.world.chance.pick(sizes) });
    const ifAbsent = action.ifAbsent ? { ifAbsent: true } : {};
    const { version, slotEpoch, copies, segments } = await client.put(name, body, {
      ...condition,
      ...ifAbsent,
      segmentBytes,
      timeoutMs,
    });
    const receipt = { slotEpoch, durable: copies.durable };
    return { state: 'done', version, ...(segments === 1 ? { receipt } : {}) };
  }
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof DfsError)) throw error;
  if (error.code === 'not-found') return { state: 'absent' };
  if (error.code === 'conflict') return { state: 'conflict' };
  return { state: error.code === 'unknown-outcome' ? 'unknown' : 'refused', code: error.code };
}
