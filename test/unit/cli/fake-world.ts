/** A world for the command line in tests: a terminal that remembers, a cluster in memory, real files. */

import { runProgram, type World } from '../../../src/cli/program.js';
import type { Settings } from '../../../src/cli/settings.js';
import type { FileClient } from '../../../src/client/file-client.js';
import type { ClusterSettings } from '../../../src/client/operations.js';
import type { GetOptions, ListOptions, PutOptions, Receipt, ReceivedFile } from '../../../src/client/results.js';
import { DfsError } from '../../../src/core/errors.js';
import { OutputClosed } from '../../../src/core/local-machine.js';
import { systemClock } from '../../../src/io/clock.js';
import { localFiles } from '../../../src/io/local-files.js';

interface Stored {
  readonly bytes: Uint8Array;
  readonly version: string;
  readonly contentType: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

const primary = { id: 'p1', address: '127.0.0.1:7421' };
const backup = { id: 'p2', address: '127.0.0.1:7422' };

async function collect(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Keeps files in memory and answers as the library does. */
export class FakeCluster {
  readonly files = new Map<string, Stored>();
  /** Names whose every call fails with this. */
  readonly failures = new Map<string, DfsError>();
  /** Runs between the pieces of a body that is read. */
  whileReading: () => void = () => undefined;
  health: 'healthy' | 'degraded' | 'unavailable' = 'healthy';
  connectFailure: DfsError | undefined;
  settings: Settings | undefined;
  /** What operators asked for. */
  readonly changes: ClusterSettings[] = [];
  examined: Awaited<ReturnType<World['examine']>> | undefined;
  /** What a checkpoint holds, and how it came out. */
  readonly kept = new Map<string, string>();
  missingSlots: readonly number[] = [];
  checkpoint: object = {};
  #versions = 0;

  put(name: string, text: string | Uint8Array): void {
    this.files.set(name, { bytes: Buffer.from(text), version: this.#version(), contentType: undefined, metadata: {} });
  }

  text(name: string): string | undefined {
    const stored = this.files.get(name);
    return stored === undefined ? undefined : Buffer.from(stored.bytes).toString();
  }

  #version(): string {
    return `7.${++this.#versions}`;
  }

  #find(name: string): Stored {
    const failure = this.failures.get(name);
    if (failure !== undefined) throw failure;
    return this.files.get(name) ?? raise(new DfsError('not-found', `No file is named "${name}"`));
  }

  #receipt(name: string): Receipt {
    const stored = this.files.get(name);
    return {
      ...{ bucket: 'files', name, size: stored?.bytes.length ?? 0, segments: 1, checksum: 'xxh64:0123456789abcdef' },
      ...{ version: stored?.version ?? this.#version(), slot: 3, slotEpoch: 7, primary, backups: [backup] },
      ...{ copies: { durable: 2, wanted: 2 }, degraded: false, attempts: 1, durationMs: 1.5 },
    };
  }

  #stat(name: string, stored: Stored) {
    const time = '2026-01-02T03:04:05.678Z';
    return {
      ...{ bucket: 'files', name, version: stored.version, size: stored.bytes.length, segments: 1 },
      ...{ checksum: 'xxh64:0123456789abcdef', segmentBytes: 4194304, metadata: stored.metadata },
      ...{ createdAt: time, modifiedAt: time },
      ...(stored.contentType === undefined ? {} : { contentType: stored.contentType }),
    };
  }

  client(): FileClient {
    const client = {
      put: async (name: string, source: AsyncIterable<Uint8Array>, options: PutOptions = {}) => {
        const failure = this.failures.get(name);
        const bytes = await collect(source);
        if (failure !== undefined) throw failure;
        if (options.ifAbsent && this.files.has(name)) throw new DfsError('conflict', `"${name}" exists already`);
        const { contentType, metadata = {} } = options;
        this.files.set(name, { bytes, version: this.#version(), contentType, metadata });
        return this.#receipt(name);
      },
      get: async (name: string, options: GetOptions = {}): Promise<ReceivedFile> => {
        const stored = this.#find(name);
        const { start = 0, end = stored.bytes.length } = options.range ?? {};
        const bytes = stored.bytes.subarray(start, end);
        const whileReading = (): void => this.whileReading();
        async function* body(): AsyncIterable<Uint8Array> {
          for (let at = 0; at < bytes.length; at += 4) {
            yield bytes.subarray(at, at + 4);
            whileReading();
            if (options.signal?.aborted) throw new DfsError('cancelled', 'Interrupted');
          }
        }
        const range = { start, end: start + bytes.length };
        return {
          stat: this.#stat(name, stored),
          range,
          acknowledged: true,
          tally: { requests: 1, hedges: 0 },
          body: body(),
          bytes: async () => bytes,
        };
      },
      stat: async (name: string) => this.#stat(name, this.#find(name)),
      setMetadata: async (name: string, metadata: Record<string, string>) => {
        this.files.set(name, { ...this.#find(name), metadata });
        return this.#receipt(name);
      },
      delete: async (name: string) => {
        this.#find(name);
        const receipt = this.#receipt(name);
        this.files.delete(name);
        return receipt;
      },
      list: (options: ListOptions = {}) => this.#list(options),
      locate: async (name: string) => ({
        ...{ bucket: 'files', name, hash: '00ff', slot: 3, slotEpoch: 7, primary, backups: [backup] },
        ...{ exists: this.files.has(name), segments: [] },
      }),
      status: async () => this.#status(),
      bucket: () => client,
      bucketName: 'files',
      checkpoints: { create: async () => this.checkpoint, open: async () => this.#reader() },
      events: async () => [{ seq: 1, at: 'now', epoch: 7, kind: 'peer-up', text: 'p1 \u001b[2J is up', data: {} }],
      operations: {
        changeCluster: async (settings: ClusterSettings) => {
          this.changes.push(settings);
          return { isDryRun: false, isChanged: true, epoch: 8, moves: { copies: 0 } };
        },
      },
      close: async () => undefined,
    };
    return client as unknown as FileClient;
  }

  #reader() {
    const { kept, missingSlots } = this;
    async function* files({ prefix = '' }: { prefix?: string }) {
      for (const [name, text] of kept) if (name.startsWith(prefix)) yield { bucket: 'files', name, size: text.length };
    }
    const open = async ({ name }: { name: string }) => {
      const text = kept.get(name) ?? raise(new DfsError('not-found', `"${name}" is not in the checkpoint`));
      const stored = { bytes: Buffer.from(text), version: '1.1', contentType: undefined, metadata: {} };
      return {
        stat: this.#stat(name, stored),
        body: (async function* () {
          yield stored.bytes;
        })(),
      };
    };
    return { files, open, missingSlots };
  }

  async *#list({ prefix = '', limit = 1000 }: ListOptions) {
    const names = [...this.files.keys()].filter((name) => name.startsWith(prefix)).sort();
    for (const name of names.slice(0, limit)) {
      const { createdAt: _, ...entry } = this.#stat(name, this.#find(name));
      yield entry;
    }
  }

  #status() {
    const { health } = this;
    const slots = { primarySlots: 8, backupSlots: 8, joiningSlots: 0 };
    const sizes = { files: 1, bytes: 2, freeBytes: 3, lastHeardMs: 4 };
    const peer = { ...primary, zone: 'a', weight: 1, state: 'up', storeId: 'ab', incarnation: 1, ...slots, ...sizes };
    return {
      ...{ clusterId: 'c0ffee', epoch: 7, health, reasons: health === 'healthy' ? [] : ['p2 is down'] },
      ...{ replicas: 2, minInSync: 1, uptimeSeconds: 61, files: 1, bytes: { logical: 1, stored: 2 }, peers: [peer] },
      ...{ master: { address: '127.0.0.1:7420' }, slots: { total: 16, whole: 16, degraded: 0, unavailable: 0 } },
      repair: { slotsLeft: 0, bytesLeft: 0, bytesPerSecond: 0, etaSeconds: null, failing: [] },
      moves: { slotsLeft: 0, isPaused: false },
      checkpoints: { count: 0, keptBytes: 0 },
    };
  }
}

export function raise(error: Error): never {
  throw error;
}

export interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  /** Somebody sits there and answers every question so. */
  readonly answer?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly config?: Readonly<Record<string, unknown>>;
  /** The reader of stdout goes away after so many writes. */
  readonly closeAfterWrites?: number;
  /** Given the function that interrupts, as Ctrl-C does. */
  readonly onStart?: (interrupt: () => void) => void;
}

/** Runs `dfs` with these arguments against the cluster in memory. */
export async function runDfs(cluster: FakeCluster, argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const sink = (into: Buffer[], writesMax = Number.POSITIVE_INFINITY) => ({
    ...{ isTerminal: false, isColourful: false, columns: 80 },
    async write(content: string | Uint8Array) {
      if (into.length >= writesMax) throw new OutputClosed('gone');
      into.push(Buffer.from(content));
    },
  });
  const world: World = {
    terminal: {
      output: sink(stdout, options.closeAfterWrites),
      notes: sink(stderr),
      input: {
        isTerminal: options.answer !== undefined,
        async *read() {
          yield Buffer.from(options.stdin ?? '');
        },
      },
      ask: async () => options.answer ?? raise(new Error('Nobody is there to be asked')),
      startLiveLine: async () => ({ show: () => undefined, stop: () => undefined }),
      onInterrupt(handler) {
        options.onStart?.(handler);
        return () => undefined;
      },
    },
    files: localFiles,
    processes: {
      start: () => raise(new Error('No process is started in unit tests')),
      run: () => raise(new Error('No process is run in unit tests')),
      ownCommand: 'dfs',
    },
    limitsOf: () => raise(new Error('No machine is measured in unit tests')),
    clock: systemClock,
    environment: options.environment ?? {},
    version: '1.2.3',
    loadConfig: async () => options.config ?? {},
    freePorts: async () => [],
    examine: async () => cluster.examined ?? raise(new Error('This cluster cannot be examined')),
    async connect(settings) {
      cluster.settings = settings;
      if (cluster.connectFailure !== undefined) throw cluster.connectFailure;
      return cluster.client();
    },
  };
  const exitCode = await runProgram(argv, world);
  return { exitCode, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}
