/**
 * Calls that the client library must refuse, each with the code that says why. None of them may leave anything behind:
 * what they would store is no body that a client writes, so that whoever read it would complain.
 */
import type { FileClient } from '../../../src/client/file-client.js';
import type { Source } from '../../../src/client/results.js';
import type { ErrorCode } from '../../../src/core/errors.js';

interface Misuse {
  readonly code: ErrorCode;
  readonly call: (client: FileClient, name: string) => Promise<unknown>;
}

const rubbish = Buffer.from('what nobody should ever read');
const segmentBytes = 1024 * 1024;
const loneSurrogate = '\ud800';

function invalid(call: Misuse['call']): Misuse {
  return { code: 'invalid', call };
}

/** A source that is not what it was said to be. */
function failed(source: () => Source, size: number): Misuse {
  return { code: 'failed', call: (client, name) => client.put(name, source(), { size, segmentBytes }) };
}

function* pieces(count: number): Generator<Uint8Array> {
  for (let piece = 0; piece < count; piece++) yield new Uint8Array(400_000);
}

async function all(entries: AsyncIterable<unknown>): Promise<void> {
  for await (const entry of entries) if (entry === undefined) return;
}

export const misuses: readonly Misuse[] = [
  invalid((client, name) => client.put(name, rubbish, { contentType: 'x'.repeat(256) })),
  invalid((client, name) => client.put(name, rubbish, { contentType: loneSurrogate })),
  invalid((client, name) => client.put(name, rubbish, { metadata: { [loneSurrogate]: '' } })),
  invalid((client, name) => client.put(name, rubbish, { metadata: { number: 5 as unknown as string } })),
  invalid((client, name) => client.put(name, rubbish, { metadata: { long: 'x'.repeat(20_000) } })),
  invalid((client, name) => {
    const metadata = Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`key-${at}`, '']));
    return client.put(name, rubbish, { metadata });
  }),
  invalid((client, name) => client.put(name, rubbish, { ifVersion: 'newest' })),
  invalid((client, name) => client.put(name, rubbish, { size: -1 })),
  invalid((client, name) => client.put(name, rubbish, { segmentBytes: 1000 })),
  invalid((client, name) => client.put(name, 5 as unknown as Source)),
  invalid((client, name) => client.put(name, [5 as unknown as string])),
  invalid((client) => client.put('', rubbish)),
  invalid((client) => client.put('n'.repeat(2000), rubbish)),
  invalid(async (client, name) => client.bucket('X!').put(name, rubbish)),
  invalid((client, name) => client.get(name, { range: { start: 5, end: 2 } })),
  invalid((client, name) => client.delete(name, { ifVersion: '1' })),
  invalid((client, name) => client.setMetadata(name, {}, { contentType: 'x'.repeat(256) })),
  invalid((client) => all(client.list({ prefix: loneSurrogate }))),
  failed(() => rubbish, rubbish.length - 1),
  failed(() => rubbish, rubbish.length + 1),
  failed(() => rubbish.toString(), 1),
  { code: 'failed', call: (client, name) => client.put(name, rubbish, { size: 2 ** 43 }) },
  failed(() => pieces(4), 400_000),
  failed(() => pieces(4), 400_000 * 5),
  failed(() => ['text ', 'and more'], 1000),
];
