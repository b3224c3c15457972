/**
 * A simulated machine: a disk, clocks of its own, and at most one process that may crash, pause, fail and start again.
 */
import type { Environment, Log } from '../../../src/core/environment.js';
import { DaemonStop, isRefusal, StorageFailure } from '../../../src/core/errors.js';
import type { Probe } from '../../../src/core/probe.js';
import type { Seeded } from '../../contract/seeded.js';
import type { DiskWorld } from './disk-world.js';
import { MemoryDisk } from './memory-disk.js';
import type { SimNetwork } from './network.js';
import { SimProcess, type World } from './virtual-clock.js';

export type Trace = (line: string) => void;

export interface Stores {
  readonly disk: MemoryDisk;
  readonly world: DiskWorld;
}

export interface Started {
  /** Ends as on SIGTERM. */
  stop(): Promise<void>;
}

/** What runs on a host: called anew at every start. */
export type Program = (environment: Environment, stores: Stores, onFatal: (error: unknown) => void) => Promise<Started>;

/** How crowded a host's processors may be. */
const pressures = [0, 0.05, 1, undefined] as const;

export const usualSyncMs = { leastMs: 0.2, mostMs: 3 };
/** From memory, while the disk is as usual; a slow one reads slowly too. */
const quickReadMs = 0.05;

export interface HostOptions {
  readonly name: string;
  readonly program: Program;
  readonly trace: Trace | undefined;
  /** Looks on at the named points that a process reaches. */
  readonly probeOf?: (process: SimProcess) => Probe;
  /** Whether an operator follows the advice of a program that refused to run, and empties its folder. */
  mayBeEmptied?(error: unknown): boolean;
}

export class SimHost {
  readonly name: string;
  readonly disk = new MemoryDisk();
  readonly network: SimNetwork;
  readonly #program: Program;
  readonly #trace: Trace | undefined;
  readonly #probeOf: HostOptions['probeOf'];
  readonly #mayBeEmptied: (error: unknown) => boolean;
  readonly #chance: Seeded;
  readonly #rate: number;
  /** How crowded its processors are. */
  readonly #cpuPressure: number | undefined;
  /** How wrong its wall clock is: may be set at any time. */
  wallAheadMs: number;
  /** How long the disk takes to sync. */
  syncMs = usualSyncMs;
  /** Of the bytes of files, when that is something else. */
  fileSyncMs: typeof usualSyncMs | undefined;
  #process: SimProcess | undefined;
  #stopping: SimProcess | undefined;
  #started: Started | undefined;
  #environment: Environment | undefined;
  #starts = 0;
  /** Its process ended without being told to, and was not started since. */
  endedByItself = false;
  /** Its program may refuse to go on, with a sentence for the operator: no bug while this is set. */
  mayRefuseToRun = false;

  constructor(network: SimNetwork, options: HostOptions) {
    this.network = network;
    this.name = options.name;
    this.#program = options.program;
    this.#trace = options.trace;
    this.#probeOf = options.probeOf;
    this.#mayBeEmptied = (error) => options.mayBeEmptied?.(error) === true;
    const chance = network.world.stream(options.name);
    this.#chance = chance;
    this.#rate = chance.between(0.98, 1.02);
    this.wallAheadMs = chance.between(-60_000, 60_000);
    this.#cpuPressure = pressures[network.world.stream(`${options.name} processors`).below(pressures.length)];
  }

  get world(): World {
    return this.network.world;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** How often it was started. */
  get starts(): number {
    return this.#starts;
  }

  /** What its process lives in; undefined while none runs. */
  get environment(): Environment | undefined {
    return this.isRunning ? this.#environment : undefined;
  }

  /** Was told to stop, and runs on for a moment. */
  get isStopping(): boolean {
    return this.#process !== undefined && this.#process === this.#stopping;
  }

  get isPaused(): boolean {
    return this.#process?.isPaused === true;
  }

  start(): void {
    if (this.#process !== undefined) return;
    this.endedByItself = false;
    this.network.hostUp(this.name);
    const number = ++this.#starts;
    const process = new SimProcess(this.world, {
      name: `${this.name}#${number}`,
      rate: this.#rate,
      wallAheadMs: () => this.wallAheadMs,
      onFailed: (error) => this.#onFailed(process, error),
    });
    this.#process = process;
    const onFatal = (error: unknown): void => this.#onFailed(process, error);
    const environment = this.#environmentOf(process);
    this.#environment = environment;
    const stores = { disk: this.disk, world: this.#diskWorldOf(process) };
    this.#trace?.(`${process.name} starts`);
    this.#program(environment, stores, onFatal).then((started) => {
      if (this.#process === process) this.#started = started;
    }, onFatal);
  }

  /** SIGKILL, or with `isHost` as if its power was cut. */
  crash(options: { isHost?: boolean } = {}): void {
    const { isHost = false } = options;
    if (this.#process === undefined && !isHost) return;
    this.#trace?.(`${this.#process?.name ?? this.name} crashes${isHost ? ' with its host' : ''}`);
    if (isHost) this.network.hostDown(this.name);
    this.#end(this.#process, { isPowerCut: isHost });
  }

  /** SIGTERM; resolves when the process has ended. */
  async stop(): Promise<void> {
    const process = this.#process;
    if (process === undefined) return;
    this.#trace?.(`${process.name} is told to stop`);
    this.#stopping = process;
    // As src/main/daemon.ts: what cannot be written down at the end is told, and the process ends all the same.
    await this.#started?.stop().catch((error: unknown) => this.#onFailed(process, error));
    if (this.#process === process) this.#end(process);
  }

  pause(): void {
    this.#trace?.(`${this.name} is paused`);
    this.#process?.pause();
  }

  resume(): void {
    if (this.isPaused) this.#trace?.(`${this.name} goes on`);
    this.#process?.resume();
  }

  /** Replaces the data folder by an empty one; the process must not run. */
  wipe(): void {
    this.#trace?.(`${this.name} is wiped`);
    this.disk.wipe();
  }

  #end(process: SimProcess | undefined, { isPowerCut = false } = {}): void {
    this.#process = undefined;
    this.#started = undefined;
    process?.die();
    this.disk.crash(() => this.#chance.between(0, 1), { isPowerCut, nowMs: this.world.nowMs });
  }

  #onFailed(process: SimProcess, error: unknown): void {
    if (process.isDead) return;
    this.#trace?.(`${process.name} ends by itself: ${String(error)}`);
    const isOfDisk = error instanceof StorageFailure || isRefusal(error, 'no-space');
    const isRefused = error instanceof DaemonStop || isRefusal(error, 'removed');
    const isEmptied = this.#mayBeEmptied(error);
    const isExpected = isEmptied || (this.mayRefuseToRun && isRefused);
    if (!isOfDisk && !isExpected) this.world.complaints.push(`${process.name} ended by itself: ${describe(error)}`);
    this.#end(process);
    if (isEmptied) this.wipe();
    this.endedByItself = true;
  }

  #environmentOf(process: SimProcess): Environment {
    return {
      clock: process.clock,
      random: {
        bytes: (count) => this.#chance.bytes(count),
        fraction: () => this.#chance.between(0, 1),
      },
      network: this.network.of(this.name, process),
      log: this.#logOf(process),
      cpuPressure: () => this.#cpuPressure,
      ...(this.#probeOf && { probe: this.#probeOf(process) }),
    };
  }

  #between({ leastMs, mostMs }: typeof usualSyncMs): number {
    return this.#chance.between(leastMs, mostMs);
  }

  #diskWorldOf(process: SimProcess): DiskWorld {
    return {
      after: (delayMs, onEnd) => void this.world.schedule(delayMs, onEnd, { process }),
      syncMs: () => this.#between(this.syncMs),
      fileSyncMs: () => this.#between(this.fileSyncMs ?? this.syncMs),
      readMs: () => (this.syncMs === usualSyncMs ? quickReadMs : this.#chance.between(0, this.syncMs.mostMs)),
      fraction: () => this.#chance.between(0, 1),
      wallMs: () => process.clock.wallMs(),
      nowMs: () => this.world.nowMs,
      isDead: () => process.isDead,
    };
  }

  #logOf(process: SimProcess): Log {
    const write =
      (level: string) =>
      (fields: object, message: string): void => {
        this.#trace?.(`${process.name} ${level} ${message} ${JSON.stringify(fields)}`);
      };
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
