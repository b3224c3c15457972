import { expect, test } from 'vitest';
import { Bench, type BenchRow } from '../../../src/cli/bench-runs.js';
import type { FileClient } from '../../../src/client/file-client.js';
import { DfsError } from '../../../src/core/errors.js';

/** Each call takes a millisecond of this clock. */
class MemoryClient {
  readonly files = new Map<string, Uint8Array>();
  nowMs = 0;
  putCount = 0;
  /** What is read instead of what was stored. */
  spoil = (bytes: Uint8Array): Uint8Array => bytes;

  async put(name: string, source: Uint8Array | Iterable<Uint8Array>): Promise<void> {
    this.nowMs += 1;
    this.putCount += 1;
    const pieces = source instanceof Uint8Array ? [source] : source;
    this.files.set(name, Buffer.concat(Array.from(pieces, (piece) => piece.slice())));
  }

  async get(name: string) {
    this.nowMs += 1;
    const bytes = this.spoil(this.files.get(name) ?? new Uint8Array());
    return { bytes: async () => bytes, body: [bytes] };
  }

  async delete(name: string): Promise<void> {
    this.nowMs += 1;
    this.files.delete(name);
  }

  async *list({ prefix }: { prefix: string }) {
    this.nowMs += 1;
    for (const name of [...this.files.keys()]) if (name.startsWith(prefix)) yield { name };
  }
}

function benchOver(client: MemoryClient, signal = new AbortController().signal) {
  const clock = { monotonicMs: () => client.nowMs, wallMs: () => 0, after: () => ({ cancel: () => undefined }) };
  const sendAlone = (name: string, bytes: Uint8Array): Promise<void> => client.put(name, bytes);
  const connect = async (): Promise<FileClient> => client as unknown as FileClient;
  return new Bench(client as unknown as FileClient, clock, 'bench/', {
    ...{ sizes: [100, 0], inFlight: [1, 4], clients: [2, 3], files: 10, largeBytes: 2_500_000, runs: 2 },
    ...{ signal, connect, sendAlone },
  });
}

test('each row is measured so often as asked, after a run that does not count', async () => {
  const client = new MemoryClient();
  const rows: BenchRow[] = [];
  await benchOver(client).run(async (row) => void rows.push(row));
  const alone = rows.filter(({ inFlight }) => inFlight === 1);
  expect(alone.map(({ work, sizeBytes }) => `${work} ${sizeBytes}`)).toEqual([
    ...['put 100', 'get 100', 'mixed 100', 'delete 100', 'put 0', 'get 0', 'mixed 0', 'delete 0'],
  ]);
  const many = rows.filter(({ clients }) => clients !== undefined);
  expect(many.map(({ work, sizeBytes, clients, inFlight }) => [work, sizeBytes, clients, inFlight])).toEqual([
    ...[
      ['put', 0, 2, 2],
      ['get', 0, 2, 2],
      ['put', 0, 3, 3],
      ['get', 0, 3, 3],
    ],
  ]);
  expect(alone[0]).toMatchObject({ perSecond: { min: 1000, median: 1000, max: 1000 }, p50Ms: 1, p99Ms: 1 });
  const others = rows.filter(({ inFlight }) => inFlight === undefined);
  expect(others.map(({ work }) => work)).toEqual(['send', 'receive', 'list', 'start']);
  expect(others.at(-2)?.perSecond.median).toBe(10_000);
  // Four rows of small files, each three times, and half of the mixed ones; two of many clients; a large file, three
  // times; the listing's; processes, three times.
  expect(client.putCount).toBe(4 * 3 * 15 + 2 * 3 * 10 + 3 + 10 + 3);
});

test('what was stored is removed again', async () => {
  const client = new MemoryClient();
  await client.put('mine', new Uint8Array(1));
  const bench = benchOver(client);
  await bench.run(async () => undefined);
  await bench.cleanUp();
  expect([...client.files.keys()]).toEqual(['mine']);
});

test.each([
  [
    'a small file with another byte',
    (bytes: Uint8Array) => (bytes.length === 100 ? bytes.map((byte) => byte ^ 1) : bytes),
  ],
  ['a large file that ends early', (bytes: Uint8Array) => bytes.subarray(0, 2_000_000)],
])('%s is no result', async (_title, spoil) => {
  const client = new MemoryClient();
  client.spoil = spoil;
  await expect(benchOver(client).run(async () => undefined)).rejects.toThrow(DfsError);
});
