/**
 * Clients that do what a plan says and remember what they were told, in the form the checker reads.
 */
import type { PointName } from '../../../src/core/probe.js';
import { isAnswered, type Operation } from '../../checker/history.js';
import { makeBody } from '../../failover/body.js';
import type { SimCluster } from '../cluster.js';
import { readTaken, removeAll } from './checkpoints.js';
import { Worker } from './client-worker.js';
import { twoAttempts } from './direct-caller.js';
import { undoWishes } from './operator.js';
import { type ClientAction, type ClientPlan, type ClientStep, isMetadataName, type Setting } from './plan.js';

/** Whoever has asked so often should have been answered once. */
const oftenSteps = 20;
/** Of the link of a slow client: 4 Mbit/s. */
const slowBytesPerMs = 500;
const lastReader = 'last';
/** A point that nobody reaches for so long is waited for no more. */
const reachedWithinMs = 3000;

export class Clients {
  readonly #operations: Operation[] = [];
  /** Versions whose contents other operations tell. */
  readonly #versionsSeen: VersionSeen[] = [];
  readonly #cluster: SimCluster;
  readonly #plans: readonly ClientPlan[];
  readonly names: readonly string[];
  readonly #lastSeen = new Map<string, string>();
  readonly #working = new Set<string>();
  readonly #steps = new Map<string, number>();
  readonly #answered = new Set<string>();
  readonly #early = new Map<string, { readonly worker: Worker; readonly isOver: Promise<void> }>();
  #isStopping = false;

  constructor(cluster: SimCluster, plans: readonly ClientPlan[]) {
    this.#cluster = cluster;
    this.#plans = plans;
    this.names = [...new Set(plans.flatMap(({ steps }) => steps.map(({ name }) => name)))];
  }

  /** Those that come before the first peer: each asks for something, which it gets when there are peers. */
  async startEarly(): Promise<void> {
    for (const plan of this.#plans.filter(({ isEarly }) => isEarly === true)) {
      const worker = await this.#newWorker(plan);
      const isOver = worker.beEarly(plan.steps[0]?.name ?? 'name-0');
      this.#early.set(plan.worker, { worker, isOver });
    }
    if (this.#early.size > 0) await this.#cluster.world.runFor(20);
  }

  async #newWorker(plan: ClientPlan): Promise<Worker> {
    const client = await this.#cluster.client(plan.timeoutMs);
    if (plan.isSlow) this.#cluster.network.slowDown(client.host.name, slowBytesPerMs);
    return new Worker(this, plan.worker, client);
  }

  async start(): Promise<void> {
    for (const plan of this.#plans) {
      const early = this.#early.get(plan.worker);
      const worker = early?.worker ?? (await this.#newWorker(plan));
      this.#working.add(plan.worker);
      this.#work(worker, plan.steps, early?.isOver).then(
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

  /** What operators asked for is taken back: what follows must become whole. */
  async undoWishes(setting: Setting): Promise<void> {
    const hasOperator = this.#plans.some(({ steps }) => steps.some(({ action }) => action.kind === 'operate'));
    if (!hasOperator) return;
    const { client } = await this.#cluster.client();
    await this.#cluster.world.until(undoWishes(client, this.#cluster, setting), 60_000);
  }

  /** Reads what checkpoints have, and removes them. */
  async readCheckpoints(): Promise<void> {
    if (this.#cluster.taken.length === 0 && !this.#cluster.joined.some(({ disk }) => disk.copies.names.length > 0))
      return;
    const { client } = await this.#cluster.client();
    for (const each of await readTaken(client, this.#cluster, this.names)) this.onDone(each);
    await removeAll(client, this.#cluster);
  }

  /** Reads every name once more, by a client of its own. */
  async readAll(): Promise<void> {
    const last = new Worker(this, lastReader, await this.#cluster.client());
    for (const name of this.names) {
      const kind = isMetadataName(name) ? 'get-metadata' : 'get';
      await this.#cluster.world.until(last.do(name, { kind }), 60_000);
    }
  }

  /** All that was answered, in order of the answers; of the versions seen, those whose content is known by now. */
  get operations(): readonly Operation[] {
    const values = new Map<string, string>();
    for (const { name, action, outcome } of this.#operations) {
      if (outcome.state !== 'done' || outcome.version === undefined) continue;
      const value = action.kind === 'put' ? action.value : outcome.value;
      if (value !== undefined) values.set(`${name} ${outcome.version}`, value);
    }
    const seen = this.#versionsSeen.flatMap(({ version, part, ...call }): Operation[] => {
      const told = { ...call, action: { kind: 'get' } } as const;
      if (version === undefined) return [{ ...told, outcome: { state: 'absent' } }];
      const value = values.get(`${call.name} ${version}`);
      if (value === undefined) return [];
      const complaint = part === undefined ? undefined : partComplaint(call.name, value, part);
      if (complaint !== undefined) return [{ ...told, outcome: { state: 'corrupt', complaint } }];
      return [{ ...told, outcome: { state: 'done', version, value } }];
    });
    return [...this.#operations, ...seen];
  }

  /** A version was seen, and perhaps a part of the content, but not what it is. */
  onVersionSeen(seen: VersionSeen): void {
    this.#versionsSeen.push(seen);
    this.onAnswered(seen.worker);
  }

  /**
   * Names that could not be read when everything was whole again. `isLost` is asked with the larger of what was stored
   * under the name: segments of a large file are in other slots than the name.
   */
  unreadComplaints(isLost: (name: string, sizeBytes: number) => boolean): string[] {
    const sizes = new Map<string, number>();
    for (const { name, action } of this.#plans.flatMap(({ steps }) => steps)) {
      const sizeBytes = 'sizeBytes' in action ? action.sizeBytes : 0;
      sizes.set(name, Math.max(sizes.get(name) ?? 0, sizeBytes));
    }
    const last = this.#operations.filter(({ worker }) => worker === lastReader);
    const isUnread = (operation: Operation): boolean =>
      !isAnswered(operation) && !isLost(operation.name, sizes.get(operation.name) ?? 0);
    const unread = last.filter(isUnread);
    return unread.map(({ name, outcome }) => `${name} cannot be read in the end: ${JSON.stringify(outcome)}`);
  }

  /** Clients that asked often, each time for as long as a client does, and were never answered. */
  idleComplaints(): string[] {
    return [...this.#steps]
      .filter(([worker, count]) => count >= oftenSteps && !this.#answered.has(worker))
      .map(([worker, count]) => `Client ${worker} was never answered in ${count} steps`);
  }

  onAnswered(worker: string): void {
    this.#answered.add(worker);
  }

  versionLastSeen(name: string): string | undefined {
    return this.#lastSeen.get(name);
  }

  onDone(operation: Operation): void {
    const { worker, name, action, outcome } = operation;
    this.#operations.push(operation);
    const isOfTwo = outcome.state === 'unknown' && outcome.code === twoAttempts;
    if (isAnswered(operation) || isOfTwo) this.onAnswered(worker);
    this.#cluster.trace?.(`    ${worker} ${name} ${JSON.stringify(action)} → ${JSON.stringify(outcome)}`);
    if (outcome.state === 'done' && outcome.version !== undefined && action.kind !== 'delete') {
      this.#lastSeen.set(name, outcome.version);
    }
  }

  #reached(point: PointName): Promise<void> {
    const { points, world } = this.#cluster;
    return new Promise((resolve) => {
      points.arm({ point, skip: 0, act: () => void world.schedule(0, resolve) });
      world.schedule(reachedWithinMs, resolve);
    });
  }

  async #work(worker: Worker, steps: readonly ClientStep[], isOverBefore?: Promise<void>): Promise<void> {
    await isOverBefore;
    for (const { afterMs, at, name, action } of steps) {
      await worker.sleep(afterMs);
      if (at !== undefined) await this.#reached(at);
      if (this.#isStopping) return;
      if (isPatient(action)) this.#steps.set(worker.name, (this.#steps.get(worker.name) ?? 0) + 1);
      this.#cluster.trace?.(`    ${worker.name} begins ${action.kind} of ${name}`);
      await worker.do(name, action);
    }
  }
}

/** Whoever asks one peer, once, may be refused each time for as long as there are faults. */
function isPatient({ kind }: ClientAction): boolean {
  return kind !== 'get-from-the-first';
}

export interface VersionSeen extends Pick<Operation, 'worker' | 'name' | 'calledMs' | 'returnedMs'> {
  /** Undefined: there was no such file. */
  readonly version: string | undefined;
  readonly part?: Part;
}

/** Bytes of a file from `start` on. */
export interface Part {
  readonly start: number;
  readonly bytes: Uint8Array;
  /** Of the whole file. */
  readonly sizeBytes: number;
}

function partComplaint(name: string, value: string, { start, bytes, sizeBytes }: Part): string | undefined {
  const expected = makeBody({ name, value, sizeBytes }).subarray(start, start + bytes.length);
  return Buffer.compare(expected, bytes) === 0 ? undefined : `Other bytes from ${start} on than ${value} has`;
}
