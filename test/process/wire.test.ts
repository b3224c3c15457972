/** Whatever comes in over a real port gets its stated answer, and costs no memory (docs/wire-format.md). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { refuse } from '../../src/core/errors.js';
import { limits } from '../../src/core/limits.js';
import { messages } from '../../src/protocol/messages.js';
import { patterned, type RawFrame, rawFrame } from '../unit/protocol/raw-frames.js';
import { fastClock, hello, helloHeader, RawCaller, until, WireServer } from './wire-server.js';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const key = (text: string): string => (0xa0 + text.length).toString(16) + Buffer.from(text).toString('hex');
const uploadId = `c410${'00'.repeat(16)}`;

/** A get-segment whose fields are msgpack given as hex. */
function getSegment(fields: Record<string, string> = {}, more: RawFrame = {}): RawFrame {
  const good = { slot: '01', bucket: key('files'), name: key('a'), uploadId, index: '01', start: '00', end: '01' };
  const pairs = Object.entries({ ...good, ...fields }).filter(([, value]) => value !== 'missing');
  const header = hex((0x80 + pairs.length).toString(16) + pairs.map(([name, value]) => key(name) + value).join(''));
  return { kind: messages['get-segment'].kind, requestId: 7, header, ...more };
}

/** The same with a payload, which a server must take in. */
function withPayload(payload: Uint8Array, more: RawFrame = {}): RawFrame {
  return getSegment({}, { payload, ...more });
}

const segmentReply = { size: 1, offset: 0, sums: new Uint8Array(0) };

let server: WireServer;

beforeEach(async () => {
  server = new WireServer();
  await server.start();
});

afterEach(() => server.stop());

type Row = readonly [what: string, bytes: Uint8Array, reason: RegExp];

const closing: readonly Row[] = [
  ['another magic', rawFrame(getSegment({}, { magic: 0xdf646600 })), /not a dfs frame/],
  ['an unknown version', rawFrame(getSegment({}, { version: 9 })), /version 9/],
  ['a header length of 0', rawFrame(getSegment({}, { headerLength: 0 })), /no header/],
  ['a header length of 2^32-1', rawFrame(getSegment({}, { headerLength: 2 ** 32 - 1 })), /above its limit/],
  ['a payload length of 2^32-1', rawFrame(getSegment({}, { payloadLength: 2 ** 32 - 1 })), /above its limit/],
  ['a payload one byte above the limit', rawFrame(getSegment({}, { payloadLength: 2 ** 24 + 1 })), /above its limit/],
  ['a wrong checksum of head and header', rawFrame(getSegment({}, { headChecksum: 7n })), /match its checksum/],
  ['an unknown frame type', rawFrame(getSegment({}, { type: 99 })), /frame type 99/],
  ['a longer payload', rawFrame(withPayload(patterned(100), { payloadLength: 90, payloadFold: 1n })), /dfs frame/],
  ['a payload without credit', rawFrame(withPayload(patterned(100_000))), /0 bytes of credit/],
  ['an answer to a request never made', rawFrame({ type: 'reply', kind: 2, requestId: 5 }), /never made/],
  ['a refusal of a request never made', rawFrame({ type: 'refusal', kind: 2, requestId: 5 }), /never made/],
  ['a keep-alive with a payload', rawFrame({ type: 'keep-alive', payload: patterned(9) }), /with a payload/],
  ['a list claiming 2^31 entries', rawFrame(getSegment({ slot: 'dd80000000' })), /entries/],
  ['a list claiming 2^32-1 entries', rawFrame(getSegment({ slot: 'ddffffffff' })), /entries/],
  ['nesting of 10,000', rawFrame(getSegment({ slot: `${'91'.repeat(10_000)}c0` })), /nested deeper/],
  ['an extension type', rawFrame(getSegment({ slot: 'd6ff00000000' })), /extension/],
  ['a __proto__ key', rawFrame(getSegment({ ['__proto__']: '80', slot: `81${key('__proto__')}80` })), /__proto__/],
  ['a header that is a list', rawFrame(getSegment({}, { header: hex('90') })), /not a map/],
  ['plain text', Buffer.from('GET / HTTP/1.1\r\nHost: example.com\r\n\r\n'), /not a dfs frame/],
  ['a TLS hello', hex(`16030100a5010000a10303 ${'5a'.repeat(60)}`), /not a dfs frame/],
];

describe('bytes that break the protocol close the connection, with a reason in the log', () => {
  test.each(closing)('%s', async (_, bytes, reason) => {
    const caller = await RawCaller.greeted(server.address);
    caller.write(bytes);
    await caller.closed();
    expect(server.closeReasons[0]).toMatch(reason);
    expect(server.log.warnings()[0]).toMatch(reason);
    expect(server.served).toHaveLength(0);
  });

  test.each(closing)('%s, as the first bytes ever', async (_, bytes) => {
    const caller = await RawCaller.connect(server.address);
    caller.write(bytes);
    await caller.closed();
    expect(server.log.warnings()).toHaveLength(1);
    expect(server.served).toHaveLength(0);
  });

  test('the same request id twice', async () => {
    const caller = await RawCaller.greeted(server.address);
    server.serve = () => new Promise(() => undefined);
    caller.write(Buffer.concat([rawFrame(getSegment()), rawFrame(getSegment())]));
    await caller.closed();
    expect(server.closeReasons[0]).toMatch(/used twice/);
    expect(server.served).toHaveLength(1);
    expect(server.served[0]?.signal.aborted).toBe(true);
  });

  test('a payload shorter than said: what follows is taken for it, and then makes no sense', async () => {
    const caller = await RawCaller.greeted(server.address);
    const short = rawFrame(withPayload(patterned(100), { payloadLength: 110, payloadFold: 1n }));
    caller.write(Buffer.concat([short, rawFrame(getSegment({}, { requestId: 8 }))]));
    await caller.closed();
    expect(server.closeReasons[0]).toMatch(/not a dfs frame/);
    expect(server.served).toHaveLength(0);
  });

  test('more payload than was granted', async () => {
    const caller = await RawCaller.greeted(server.address);
    caller.write(rawFrame({ type: 'ask-credit', kind: 15, requestId: 7, header: { bytes: 100_000 } }));
    expect(await caller.answerTo(7)).toMatchObject({ type: 'credit' });
    caller.write(rawFrame(withPayload(patterned(100_001))));
    await caller.closed();
    expect(server.closeReasons[0]).toMatch(/100001 bytes came with 100000/);
    expect(server.pool.usedBytes).toBe(0);
  });

  test('anything but hello first', async () => {
    const caller = await RawCaller.connect(server.address);
    caller.write(rawFrame(getSegment()));
    await caller.closed();
    expect(server.log.warnings()[0]).toMatch(/first frame was not hello/);
  });
});

describe('a frame cut at each byte', () => {
  const frame = rawFrame(withPayload(patterned(20)));

  test('and nothing after it serves nothing', async () => {
    for (let cut = 0; cut < frame.length; cut++) {
      const caller = await RawCaller.greeted(server.address);
      caller.write(frame.subarray(0, cut));
      caller.socket.end();
      await caller.closed();
    }
    await until(() => server.closeReasons.length === frame.length);
    expect(server.served).toHaveLength(0);
  });

  test('and the rest a moment later is served', async () => {
    const caller = await RawCaller.greeted(server.address);
    for (let cut = 1; cut < frame.length; cut++) {
      const again = rawFrame(withPayload(patterned(20), { requestId: 100 + cut }));
      caller.write(again.subarray(0, cut));
      await new Promise(setImmediate);
      caller.write(again.subarray(cut));
      expect(await caller.answerTo(100 + cut)).toMatchObject({ type: 'reply' });
    }
    caller.end();
  });
});

const refused: readonly (readonly [what: string, frame: RawFrame, code: string, message: RegExp])[] = [
  ['a missing field', getSegment({ name: 'missing' }), 'invalid', /Field name/],
  ['a mistyped field', getSegment({ slot: key('one') }), 'invalid', /Field slot/],
  ['nil for a field', getSegment({ slot: 'c0' }), 'invalid', /Field slot/],
  ['NaN as a size', getSegment({ end: 'cb7ff8000000000000' }), 'invalid', /Field end/],
  ['-0 as a size', getSegment({ end: 'cb8000000000000000' }), 'invalid', /Field end/],
  ['infinity as a size', getSegment({ end: 'cb7ff0000000000000' }), 'invalid', /Field end/],
  ['a fraction as a size', getSegment({ end: 'cb3ff8000000000000' }), 'invalid', /Field end/],
  ['a negative size', getSegment({ end: 'ff' }), 'invalid', /Field end/],
  ['2^53 as a size', getSegment({ end: 'cf0020000000000000' }), 'invalid', /Field end/],
  ['2^64-1 as a size', getSegment({ end: 'cfffffffffffffffff' }), 'invalid', /Field end/],
  ['a name above 1024 bytes', getSegment({ name: `da0401${'61'.repeat(1025)}` }), 'invalid', /Field name/],
  ['an upload id of 15 bytes', getSegment({ uploadId: `c40f${'00'.repeat(15)}` }), 'invalid', /uploadId/],
  ['a deadline that is no number', getSegment({ d: key('x') }), 'invalid', /Field d/],
  ['a payload with a wrong checksum', withPayload(patterned(100), { payloadFold: 1n }), 'integrity', /damaged/],
  ['an unknown kind', { ...getSegment(), kind: 999 }, 'unsupported', /kind 999/],
  ['kind 0', { ...getSegment(), kind: 0 }, 'unsupported', /kind 0/],
  ['hello again', { ...hello, requestId: 7 }, 'invalid', /once/],
  [
    'credit for too much',
    { type: 'ask-credit', kind: 15, requestId: 7, header: { bytes: 2 ** 24 + 1 } },
    'invalid',
    /bytes/,
  ],
  [
    'credit for an unknown kind',
    { type: 'ask-credit', kind: 999, requestId: 7, header: { bytes: 9 } },
    'unsupported',
    /999/,
  ],
];

describe('a request that asks for what cannot be is refused, and the connection goes on', () => {
  test.each(refused)('%s', async (_, frame, code, message) => {
    const caller = await RawCaller.greeted(server.address);
    caller.write(rawFrame(frame));
    const answer = await caller.answerTo(7);
    expect(answer).toMatchObject({ type: 'refusal', header: { code, message: expect.stringMatching(message) } });
    expect(server.served).toHaveLength(0);
    caller.write(rawFrame(getSegment({}, { requestId: 8 })));
    expect(await caller.answerTo(8)).toMatchObject({ type: 'reply' });
    caller.end();
  });

  const foreign = Object.entries(messages).filter(([, { from }]) => !(from as readonly string[]).includes('client'));
  test.each(foreign.map(([name, { kind }]) => [name, kind] as const))('a client sending %s', async (_, kind) => {
    const caller = await RawCaller.greeted(server.address);
    caller.write(rawFrame({ kind, requestId: 7, header: {} }));
    expect(await caller.answerTo(7)).toMatchObject({ type: 'refusal', header: { code: 'denied' } });
    caller.end();
  });
});

describe('what is merely unusual is served', () => {
  test.each<readonly [string, RawFrame]>([
    ['an unknown extra field', getSegment({ colour: key('blue') })],
    ['numbers in their widest form', getSegment({ slot: 'cf0000000000000001', start: 'cb0000000000000000' })],
    ['a field twice', getSegment({}, { header: doubled() })],
    ['a cancel of a request never made', { type: 'cancel', requestId: 99 }],
    ['credit nobody asked for', { type: 'credit', requestId: 99 }],
    ['an answer after the request was given up', { type: 'keep-alive' }],
  ])('%s', async (_, frame) => {
    const caller = await RawCaller.greeted(server.address);
    caller.write(Buffer.concat([rawFrame(frame), rawFrame(getSegment({}, { requestId: 8 }))]));
    expect(await caller.answerTo(8)).toMatchObject({ type: 'reply' });
    if ((frame.type ?? 'request') === 'request') expect(await caller.answerTo(7)).toMatchObject({ type: 'reply' });
    caller.end();
  });
});

function doubled(): Uint8Array {
  const good = getSegment().header as Uint8Array;
  return Buffer.concat([Buffer.of(0x88), good.subarray(1), hex(`${key('slot')}02`)]);
}

describe('hello', () => {
  test('of another cluster is refused, and nothing sent right behind it is served', async () => {
    server.onHello = () => refuse('wrong-cluster', 'Not this cluster', { advice: 'Look at --master' });
    const caller = await RawCaller.connect(server.address);
    caller.write(Buffer.concat([rawFrame(hello), rawFrame(getSegment())]));
    await caller.closed();
    expect(caller.frames).toHaveLength(1);
    expect(caller.frames[0]?.header).toEqual({
      code: 'wrong-cluster',
      message: 'Not this cluster',
      advice: 'Look at --master',
    });
    expect(server.served).toHaveLength(0);
  });

  test.each<readonly [string, object, string, RegExp]>([
    ['of another protocol version', { ...helloHeader, protocol: 2 }, 'wrong-version', /speaks protocol 1, the other 2/],
    ['of an unknown role', { ...helloHeader, role: 'admin' }, 'invalid', /Field role/],
    ['without a role', { ...helloHeader, role: null }, 'invalid', /Field role/],
    ['with a generation below 0', { ...helloHeader, generation: -1 }, 'invalid', /Field generation/],
  ])('%s is refused and the connection closed', async (_, header, code, message) => {
    const caller = await RawCaller.connect(server.address);
    caller.write(Buffer.concat([rawFrame({ ...hello, header }), rawFrame(getSegment())]));
    await caller.closed();
    expect(caller.frames).toHaveLength(1);
    expect(caller.frames[0]).toMatchObject({ type: 'refusal', requestId: 1, header: { code } });
    expect(caller.frames[0]?.header).toMatchObject({ message: expect.stringMatching(message) });
    expect(server.served).toHaveLength(0);
  });
});

describe('silence', () => {
  let fast: WireServer;
  beforeAll(async () => {
    fast = new WireServer(fastClock(40));
    await fast.start();
  });
  afterAll(() => fast.stop());

  test('before hello ends the connection', async () => {
    const caller = await RawCaller.connect(fast.address);
    await caller.closed();
    expect(fast.closeReasons.at(-1)).toMatch(/No hello/);
  });

  test('after one byte less than announced ends the connection', async () => {
    const caller = await RawCaller.greeted(fast.address);
    caller.write(rawFrame(withPayload(patterned(100))).subarray(0, -1));
    await caller.closed();
    expect(fast.closeReasons.at(-1)).toMatch(/Nothing was heard/);
    expect(fast.served).toHaveLength(0);
  });

  test('after credit was granted gives the credit back', async () => {
    const caller = await RawCaller.greeted(fast.address);
    caller.write(rawFrame({ type: 'ask-credit', kind: 15, requestId: 7, header: { bytes: 1_000_000 } }));
    await caller.answerTo(7);
    expect(fast.pool.usedBytes).toBe(1_000_000);
    const alive = setInterval(() => caller.write(rawFrame({ type: 'keep-alive' })), 50);
    await caller.closed();
    clearInterval(alive);
    expect(fast.closeReasons.at(-1)).toMatch(/granted upload/);
    expect(fast.pool.usedBytes).toBe(0);
  });

  test('and one byte a second gives way sooner while others wait for credit', async () => {
    const slow = await RawCaller.greeted(fast.address);
    const bytes = limits.framePayloadBytesMax;
    for (const requestId of [7, 8, 9, 10]) {
      slow.write(rawFrame({ type: 'ask-credit', kind: 15, requestId, header: { bytes } }));
      await slow.answerTo(requestId);
    }
    slow.write(rawFrame(getSegment({}, { payload: patterned(1), payloadLength: bytes })));
    const trickle = setInterval(() => slow.write(Buffer.of(0)), 25);
    const other = await RawCaller.greeted(fast.address);
    other.write(rawFrame({ type: 'ask-credit', kind: 15, requestId: 7, header: { bytes: 1_000_000 } }));
    expect(await other.answerTo(7)).toMatchObject({ type: 'credit' });
    clearInterval(trickle);
    await slow.closed();
    expect(fast.closeReasons).toContain('Next to nothing of a granted upload arrived for 1000 ms');
    other.end();
  });

  test('of a reader that takes no answers ends the connection, with bounded memory until then', async () => {
    const megabyte = patterned(1024 * 1024);
    fast.serve = async (request) => {
      await request.replyRoom(megabyte.length);
      return { header: { size: 1, offset: 0, sums: Buffer.of() }, payload: Buffer.from(megabyte) };
    };
    const before = process.memoryUsage().arrayBuffers;
    const caller = await RawCaller.greeted(fast.address);
    caller.socket.pause();
    for (let requestId = 10; requestId < 500; requestId++) caller.write(rawFrame(getSegment({}, { requestId })));
    const alive = setInterval(() => caller.write(rawFrame({ type: 'keep-alive' })), 50);
    await until(() => fast.served.length > 400);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * 1024 * 1024);
    await until(() => /Nothing was taken/.test(fast.closeReasons.at(-1) ?? ''));
    clearInterval(alive);
    caller.end();
  });
});

describe('a flood', () => {
  test('of small payloads with stuck handlers stops the reading', async () => {
    const answers: (() => void)[] = [];
    server.serve = () =>
      new Promise((resolve) => answers.push(() => resolve({ header: { size: 1, offset: 0, sums: Buffer.of() } })));
    const caller = await RawCaller.greeted(server.address);
    const payload = patterned(60_000);
    for (let requestId = 10; requestId < 1000; requestId++) caller.write(rawFrame(withPayload(payload, { requestId })));
    await until(() => server.pool.isSmallFull);
    const reached = server.pool.smallBytes;
    expect(reached).toBeLessThan(33 * 1024 * 1024);
    expect(caller.socket.writableLength).toBeGreaterThan(0);
    while (server.served.length < 990) {
      for (const answer of answers.splice(0)) answer();
      await new Promise(setImmediate);
    }
    for (const answer of answers.splice(0)) answer();
    await until(() => server.pool.smallBytes === 0);
    expect(caller.isClosed).toBe(false);
    caller.end();
  });

  test('of requests with stuck handlers stops the reading at the limit', async () => {
    const answers: (() => void)[] = [];
    server.serve = () => new Promise((resolve) => answers.push(() => resolve({ header: segmentReply })));
    const caller = await RawCaller.greeted(server.address);
    const count = limits.requestsInFlightMax + 200;
    for (let requestId = 10; requestId < 10 + count; requestId++) caller.write(rawFrame(getSegment({}, { requestId })));
    await until(() => server.served.length === limits.requestsInFlightMax);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.served).toHaveLength(limits.requestsInFlightMax);
    for (const answer of answers.splice(0)) answer();
    await until(() => server.served.length === count);
    caller.end();
  });

  test('of requests whose answers nobody takes stops the reading', async () => {
    server.serve = async () => ({ header: segmentReply, payload: patterned(60_000) });
    const caller = await RawCaller.greeted(server.address);
    caller.socket.pause();
    for (let requestId = 10; requestId < 3000; requestId++) caller.write(rawFrame(getSegment({}, { requestId })));
    await until(() => server.served.length > 250);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(server.served.length).toBeLessThan(1000); // 16 MiB here, and what the two sockets hold
    caller.socket.resume();
    await until(() => server.served.length === 2990);
    caller.end();
  });

  test('of requests for credit is refused beyond a limit', async () => {
    await server.pool.acquire(64 * 1024 * 1024);
    const caller = await RawCaller.greeted(server.address);
    for (let requestId = 10; requestId <= 10 + limits.requestsInFlightMax; requestId++) {
      caller.write(rawFrame({ type: 'ask-credit', kind: 15, requestId, header: { bytes: 100_000 } }));
    }
    const answer = await caller.answerTo(10 + limits.requestsInFlightMax);
    expect(answer).toMatchObject({ type: 'refusal', header: { code: 'busy' } });
    expect(caller.frames).toHaveLength(2); // hello's answer and this one
    caller.end();
  });

  test('of broken connections leaves the memory flat', async () => {
    const round = async (): Promise<void> => {
      for (const [, bytes] of closing) {
        const caller = await RawCaller.greeted(server.address);
        caller.write(bytes);
        await caller.closed();
      }
      server.log.lines.length = 0;
    };
    for (let time = 0; time < 10; time++) await round();
    const before = process.memoryUsage().rss;
    for (let time = 0; time < 30; time++) await round();
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });
});
