/**
 * Calls of the client library that are seldom made: given up half-way, misused, many at once, with every option there
 * is; and clients that start with a map of long ago, a torn one, or one of another cluster.
 */
import type { FileClient } from '../../../src/client/file-client.js';
import { cacheFileName, decodeCachedMap, encodeCachedMap } from '../../../src/client/map-cache.js';
import type { Source } from '../../../src/client/results.js';
import { DfsError, type ErrorCode, isRefusal } from '../../../src/core/errors.js';
import { openSession } from '../../../src/protocol/session.js';
import { Seeded } from '../../contract/seeded.js';
import { makeBody } from '../../failover/body.js';
import { masterAddress } from '../cluster.js';
import type { Worker } from './client-worker.js';
import { misuses } from './misuses.js';
import { seen } from './outcomes.js';

/** The library looks so often; and the client's process may have been paused meanwhile. */
const givenUpWithinMs = 6000;
const atOnce = 70;
const otherBucket = 'other-files';

export class OddCalls {
  readonly #worker: Worker;
  /** The client's files as they were at its first odd call. */
  #firstFiles: (() => void) | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** Does one, on this name. */
  async do(how: OddCall, name: string, chanceSeed: number): Promise<void> {
    this.#firstFiles ??= this.#worker.at.host.disk.backUpSmallFiles();
    const chance = new Seeded(chanceSeed);
    const calls: { readonly [H in OddCall]: () => Promise<void> } = {
      'cancel-put': () => this.#cancelledPut(name, chance, 100),
      'cancel-upload': () => this.#cancelledPut(name, chance, chance.pick([90_000, 90_000, 90_000, 1_200_000])),
      'cancel-others': () => this.#cancelledLook(name, chance),
      misuse: () => this.#misuse(name, chance),
      'put-described': () => this.#putDescribed(name, chance),
      'get-described': () => this.#getDescribed(name),
      'list-some': () => this.#listSome(chance),
      'read-any': () => this.#readAny(name),
      'check-copies': () => this.#checkCopies(name),
      'many-at-once': () => this.#manyAtOnce(name),
      'other-bucket': () => this.#otherBucket(name),
      'wait-for-events': () => this.#waitForEvents(chance),
      'start-anew': () => this.#startAnew(chance),
      close: () => this.#close(name, chance),
    };
    await calls[how]();
  }

  get #client(): FileClient {
    return this.#worker.at.client;
  }

  #complain(text: string): void {
    this.#worker.world.complaints.push(text);
  }

  /** Gives the call up after so long; it must then end soon. */
  async #cancelled<T>(afterMs: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { world, at } = this.#worker;
    const controller = new AbortController();
    let cancelledMs: number | undefined;
    const cancel = (): void => {
      cancelledMs = world.nowMs;
      controller.abort();
    };
    const timer = afterMs === 0 ? cancel() : at.host.environment?.clock.after(afterMs, cancel);
    try {
      return await call(controller.signal);
    } finally {
      timer?.cancel();
      const lateMs = world.nowMs - (cancelledMs ?? world.nowMs);
      if (lateMs > givenUpWithinMs) this.#complain(`A call was not given up for ${Math.round(lateMs)} ms`);
    }
  }

  #cancelledPut(name: string, chance: Seeded, sizeBytes: number): Promise<void> {
    const afterMs = chance.pick([0, 0.5, 1, 2, 5, 20, 300]);
    return this.#worker.put(name, {}, (value) =>
      this.#cancelled(afterMs, (signal) => {
        const body = makeBody({ name, value, sizeBytes });
        return this.#worker.send(name, chance.isLikely(0.5) ? body : streamOf(body), { signal });
      }),
    );
  }

  #cancelledLook(name: string, chance: Seeded): Promise<void> {
    const afterMs = chance.pick([0, 0.5, 1, 2, 5]);
    const client = this.#client;
    const calls: readonly ((signal: AbortSignal) => Promise<unknown>)[] = [
      async (signal) => (await client.get(name, { signal })).bytes(),
      (signal) => client.stat(name, { signal }),
      (signal) => client.status({ signal }),
      (signal) => client.locate(name, { signal }),
      (signal) => client.events({ signal, after: Number.MAX_SAFE_INTEGER, waitMs: 500 }),
      async (signal) => {
        for await (const entry of client.list({ signal })) if (entry.name === name) return;
      },
    ];
    return this.#worker.look(async () => {
      await this.#cancelled(afterMs, chance.pick(calls)).catch(unless('not-found'));
      return [];
    });
  }

  /** Refused before anything of it can be seen. */
  async #misuse(name: string, chance: Seeded): Promise<void> {
    const { code, call } = chance.pick(misuses);
    const told = await call(this.#client, name).then(
      () => 'done',
      (error: unknown) => outcomeCode(error),
    );
    this.#worker.answered();
    const mayFailBefore: readonly string[] = ['unavailable', 'timed-out', 'not-found', 'conflict', 'too-few-copies'];
    if (told === code || (told !== 'done' && told !== 'unknown-outcome' && mayFailBefore.includes(told))) return;
    this.#complain(`A misuse of ${name} ended as ${told}, not ${code}: ${call.toString()}`);
  }

  #putDescribed(name: string, chance: Seeded): Promise<void> {
    const sizeBytes = chance.pick([60, 100, 100, 100, 70_000, 70_000, 70_000, 1_100_000]);
    return this.#worker.put(name, {}, async (value) => {
      const body = makeBody({ name, value, sizeBytes });
      const contentType = `text/${value}`;
      let progressBytes = 0;
      const onProgress = (storedBytes: number): void => {
        progressBytes = storedBytes;
      };
      const described = { size: body.length, contentType, metadata: { by: this.#worker.name }, onProgress };
      const outcome = await this.#worker.send(name, chunksOf(body, chance), described);
      if (progressBytes !== body.length) this.#complain(`${name} was stored with a progress of ${progressBytes} bytes`);
      const stat = await this.#client.stat(name).catch(() => undefined);
      if (outcome.state === 'done' && stat?.version === outcome.version && stat?.contentType !== contentType) {
        this.#complain(`${name} has the content type ${stat?.contentType}, not ${contentType}`);
      }
      return outcome;
    });
  }

  #getDescribed(name: string): Promise<void> {
    const ifVersion = this.#worker.versionLastSeen(name);
    const options = { reuseMemory: true, ...(ifVersion === undefined ? {} : { ifVersion }) };
    return this.#worker.record(name, { kind: 'get' }, async () => {
      const file = await this.#client.get(name, options);
      const pieces: Uint8Array[] = [];
      for await (const piece of file.body) pieces.push(new Uint8Array(piece));
      const { version } = file.stat;
      if (ifVersion !== undefined && version !== ifVersion) this.#complain(`${name} is ${version}, not ${ifVersion}`);
      return seen(name, Buffer.concat(pieces), version);
    });
  }

  #listSome(chance: Seeded): Promise<void> {
    const after = `name-${chance.below(3)}`;
    const limit = 1 + chance.below(3);
    return this.#worker.look(async () => {
      const found: { name: string; version: string }[] = [];
      for await (const entry of this.#client.list({ prefix: 'name-', after, limit })) found.push(entry);
      if (found.length > limit || found.some(({ name }) => name <= after || !name.startsWith('name-'))) {
        this.#complain(`${limit} names after ${after} are said to be ${found.map(({ name }) => name).join(', ')}`);
      }
      return found.map(({ name, version }) => ({ name, version }));
    });
  }

  /** Old or not acknowledged, but always what somebody has written. */
  #readAny(name: string): Promise<void> {
    return this.#worker.look(async () => {
      const file = await this.#client.get(name, { consistency: 'any' }).catch(unless('not-found'));
      if (file === undefined) return [];
      const found = seen(name, await file.bytes(), file.stat.version);
      if (found.state === 'corrupt') this.#complain(`${name}, as any replica has it: ${found.complaint}`);
      return [];
    });
  }

  /** As an operator does who suspects a disk: each bad copy is reported to its holder, which repairs it. */
  #checkCopies(name: string): Promise<void> {
    const { environment } = this.#worker.at.host;
    return this.#worker.look(async () => {
      const { segments } = await this.#client.locate(name);
      const stat = await this.#client.stat(name, { consistency: 'any' }).catch(unless('not-found', 'integrity'));
      for (const { index, slot, copies } of segments) {
        for (const { address, state } of copies) {
          if (environment === undefined || (state !== 'damaged' && stat !== undefined)) continue;
          const hello = { role: 'client', generation: 1 } as const;
          const session = await openSession(environment, address, { hello, timeoutMs: 1000 }).catch(() => undefined);
          const uploadId = new Uint8Array(16);
          const header = { slot, bucket: 'files', name, uploadId, index };
          if (index === 0) await session?.request('report-damage', header, { timeoutMs: 1000 }).catch(unless());
          session?.close('The copy was reported');
        }
      }
      return [];
    });
  }

  #manyAtOnce(name: string): Promise<void> {
    return this.#worker.look(async () => {
      const stats = Array.from({ length: atOnce }, () => this.#client.stat(name).catch(unless('not-found')));
      return (await Promise.all(stats)).map((stat) => ({ name, version: stat?.version }));
    });
  }

  /** The same name in another bucket is another file. */
  #otherBucket(name: string): Promise<void> {
    const inOther = `other ${name}`;
    return this.#worker.look(async () => {
      const client = this.#client.bucket(otherBucket);
      await client.put(name, makeBody({ name: inOther, value: this.#worker.name, sizeBytes: 100 }));
      const found = seen(inOther, await (await client.get(name)).bytes(), '');
      if (found.state === 'corrupt') this.#complain(`${name} in ${otherBucket}: ${found.complaint}`);
      return [];
    });
  }

  #waitForEvents(chance: Seeded): Promise<void> {
    return this.#worker.look(async () => {
      const [last] = (await this.#client.events({ limit: 1000 })).slice(-1);
      const after = last?.seq ?? 0;
      const events = await this.#client.events({ after, waitMs: chance.pick([50, 1000]), limit: 5 });
      if (events.some(({ seq }) => seq <= after)) this.#complain(`An event after ${after} has an older number`);
      return [];
    });
  }

  /** Closed while calls are under way: each must end; then a new process starts. */
  async #close(name: string, chance: Seeded): Promise<void> {
    const { at } = this.#worker;
    const client = this.#client;
    const calls = [
      this.#worker.put(name, {}, (value) => this.#worker.send(name, makeBody({ name, value, sizeBytes: 100 }), {})),
      this.#readAny(name),
    ];
    await this.#worker.sleep(chance.pick([0, 0.5, 2]));
    await client.close();
    await Promise.all([...calls, this.#worker.look(() => client.stat(name).then(() => []))]);
    await at.restart();
  }

  /** Its process ends, and starts again with other than what it had cached. */
  async #startAnew(chance: Seeded): Promise<void> {
    const { at } = this.#worker;
    await at.restart(async (files) => {
      const file = cacheFileName([masterAddress]);
      const cached = await files.read(file);
      const kind = chance.pick(['first', 'torn', 'foreign', 'none']);
      if (kind === 'first') this.#firstFiles?.();
      else if (kind === 'none' || cached === undefined) await files.replace(file, new Uint8Array(0));
      else if (kind === 'torn') await files.replace(file, cached.subarray(0, chance.below(cached.length)));
      else await files.replace(file, foreign(cached));
    });
  }
}

/** The map of a cluster that had the same addresses before. */
function foreign(file: Uint8Array): Uint8Array {
  const cached = decodeCachedMap(file);
  if (cached === undefined) return file;
  return encodeCachedMap({ ...cached, map: { ...cached.map, clusterId: 'another', epoch: cached.map.epoch + 100 } });
}

/** As Node's streams are: it can be destroyed. */
function streamOf(body: Uint8Array): Source & { destroy(): void } {
  let isDestroyed = false;
  return {
    async *[Symbol.asyncIterator]() {
      for (let start = 0; start < body.length && !isDestroyed; start += 300_000) {
        yield body.subarray(start, start + 300_000);
      }
      if (isDestroyed) throw new Error('The stream was destroyed');
    },
    destroy: () => {
      isDestroyed = true;
    },
  };
}

function* chunksOf(body: Uint8Array, chance: Seeded): Generator<Uint8Array> {
  for (let start = 0; start < body.length; ) {
    const end = start + 1 + chance.below(body.length - start);
    yield body.subarray(start, end);
    start = end;
  }
}

function unless(...codes: readonly ErrorCode[]): (error: unknown) => undefined {
  return (error) => {
    if (!isRefusal(error, ...codes)) throw error;
  };
}

function outcomeCode(error: unknown): string {
  if (!(error instanceof DfsError)) throw error;
  return error.code;
}

export const oddCalls = [
  'cancel-put',
  'cancel-upload',
  'cancel-others',
  'misuse',
  'misuse',
  'put-described',
  'get-described',
  'list-some',
  'read-any',
  'read-any',
  'read-any',
  'check-copies',
  'check-copies',
  'many-at-once',
  'other-bucket',
  'wait-for-events',
  'start-anew',
  'close',
] as const;

export type OddCall = (typeof oddCalls)[number];
