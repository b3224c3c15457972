/** Frames arrive whole whatever the pieces, and nothing malformed gets through. */
import { describe, expect, test } from 'vitest';
import { blockSums } from '../../../src/core/checksum.js';
import type { Frame } from '../../../src/core/network.js';
import { packPlain } from '../../../src/protocol/codec.js';
import { FrameDecoder, frameHeadBytes, WireViolation, writeHead } from '../../../src/protocol/frame.js';
import { patterned, type RawFrame, rawFrame } from './raw-frames.js';

function decoder(admit: (payloadBytes: number) => string | undefined = () => undefined) {
  const frames: Frame[] = [];
  const made = new FrameDecoder({
    admit: (_, payloadBytes) => admit(payloadBytes),
    onFrame: (frame) => void frames.push(frame),
  });
  return { frames, decoder: made };
}

const small: RawFrame = { kind: 14, requestId: 7, header: { name: 'a', d: 10 }, payload: patterned(300) };
const large: RawFrame = { type: 'reply', kind: 15, requestId: 2 ** 40 + 3, payload: patterned(64 * 1024 * 2 + 5) };

describe('the encoder', () => {
  test('writes the documented bytes', () => {
    const header = { name: 'a', d: 10 };
    const frame = {
      type: 'request',
      kind: 14,
      requestId: 2 ** 40 + 7,
      header,
      payload: undefined,
      sums: undefined,
    } as const;
    const target = Buffer.alloc(200);
    const end = writeHead(frame, { header: packPlain(header), payloadFold: 0n }, target, 3);
    expect(target.subarray(3, end)).toEqual(rawFrame({ kind: 14, requestId: 2 ** 40 + 7, header: packPlain(header) }));
  });
});

describe('the decoder', () => {
  test('hands over frames cut at every byte', () => {
    const bytes = Buffer.concat([rawFrame(small), rawFrame({ type: 'keep-alive' }), rawFrame(small)]);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const { frames, decoder: made } = decoder();
      made.push(bytes.subarray(0, cut));
      made.push(bytes.subarray(cut));
      expect(frames.map((frame) => [frame.type, frame.requestId, frame.payload?.length])).toEqual([
        ['request', 7, 300],
        ['keep-alive', 0, undefined],
        ['request', 7, 300],
      ]);
      expect(frames[2]).toMatchObject({ header: { name: 'a', d: 10 }, damaged: false });
    }
  });

  test.each([1, 2, 3, 39, 41, 1000, 65_536, 65_537])(
    'puts a payload together from pieces of %i bytes',
    (pieceBytes) => {
      const bytes = rawFrame(large);
      const { frames, decoder: made } = decoder();
      for (let at = 0; at < bytes.length; at += pieceBytes) made.push(bytes.subarray(at, at + pieceBytes));
      const [frame] = frames;
      expect(frame).toMatchObject({ type: 'reply', kind: 15, requestId: 2 ** 40 + 3, damaged: false });
      expect(Buffer.compare(frame?.payload ?? Buffer.of(), large.payload ?? Buffer.of())).toBe(0);
      expect(frame?.sums).toEqual(blockSums(large.payload as Uint8Array));
      expect(made.receivedPayloadBytes).toBe(large.payload?.length);
    },
  );

  test.each([7, 65_536, 100_000, 1 << 20])('takes a payload that is read in place, %i bytes at most', (bytesMax) => {
    const { payload = Buffer.of() } = large;
    const bytes = rawFrame(large);
    const headBytes = bytes.length - payload.length;
    const { frames, decoder: made } = decoder();
    made.push(bytes.subarray(0, headBytes - 1));
    expect(made.room(bytesMax)).toBeUndefined();
    made.push(bytes.subarray(headBytes - 1, headBytes + 5)); // the first five bytes are copied
    let at = 5;
    for (let room = made.room(bytesMax); room !== undefined; room = made.room(bytesMax)) {
      const count = Math.min(room.length, 50_000);
      room.set(payload.subarray(at, at + count));
      at += count;
      made.filled(count);
    }
    expect(Buffer.compare(frames[0]?.payload ?? Buffer.of(), payload)).toBe(0);
    expect(frames[0]).toMatchObject({ requestId: large.requestId, damaged: false, sums: blockSums(payload) });
    expect(made.receivedPayloadBytes).toBe(payload.length);
    made.push(rawFrame(small));
    expect(frames[1]).toMatchObject({ kind: small.kind, damaged: false });
  });

  test('offers no room for a payload while bytes before it wait', () => {
    const { decoder: made } = decoder();
    const bytes = rawFrame(large);
    made.push(bytes.subarray(0, 1000));
    made.pause();
    expect(made.room(4096)).toBeUndefined();
    made.push(bytes.subarray(1000, 2000));
    made.resume();
    made.pause();
    expect(made.room(4096)).toBeUndefined();
    made.resume();
    expect(made.room(4096)).toHaveLength(4096);
  });

  test('keeps a copy, not the bytes it was given', () => {
    const bytes = rawFrame(large);
    const { frames, decoder: made } = decoder();
    made.push(bytes);
    bytes.fill(0);
    expect(frames[0]?.payload?.constructor).toBe(Uint8Array);
    expect(frames[0]?.payload?.[5]).toBe(large.payload?.[5]);
  });

  test('marks a payload that does not match its checksum and goes on', () => {
    const { frames, decoder: made } = decoder();
    const bytes = rawFrame(small);
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    made.push(bytes);
    made.push(rawFrame(small));
    expect(frames.map((frame) => frame.damaged)).toEqual([true, false]);
  });

  test('an empty payload is no payload', () => {
    const { frames, decoder: made } = decoder();
    made.push(rawFrame({ ...small, payload: new Uint8Array(0) }));
    expect(frames[0]?.payload).toBeUndefined();
  });

  test('hands over nothing while it is paused, also not what had arrived', () => {
    const frames: Frame[] = [];
    const made: FrameDecoder = new FrameDecoder({
      admit: () => undefined,
      onFrame: (frame) => {
        frames.push(frame);
        made.pause();
      },
    });
    made.push(Buffer.concat([rawFrame(small), rawFrame(small)]));
    made.push(rawFrame({ ...small, requestId: 8 }));
    expect(frames).toHaveLength(1);
    made.resume();
    expect(frames).toHaveLength(2);
    made.resume();
    expect(frames.map((frame) => frame.requestId)).toEqual([7, 7, 8]);
  });

  test('asks before it takes a payload in', () => {
    const { frames, decoder: made } = decoder((payloadBytes) => (payloadBytes > 100 ? 'No credit' : undefined));
    expect(() => made.push(rawFrame(small).subarray(0, 60))).toThrow(new WireViolation('No credit'));
    expect(frames).toHaveLength(0);
  });

  const violations: readonly [what: string, bytes: Buffer, reason: RegExp][] = [
    ['another magic', rawFrame({ ...small, magic: 0xdf646674 }), /not a dfs frame/],
    ['plain text', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /not a dfs frame/],
    ['one letter', Buffer.from('G'), /not a dfs frame/],
    ['a TLS hello', Buffer.from('16030100a5010000a10303', 'hex'), /not a dfs frame/],
    ['an older frame version', rawFrame({ ...small, version: 0 }), /version 0/],
    ['a newer frame version', rawFrame({ ...small, version: 2 }), /version 2/],
    ['a header of 0 bytes', rawFrame({ ...small, headerLength: 0 }), /no header/],
    ['a header of 2^32-1 bytes', rawFrame({ ...small, headerLength: 2 ** 32 - 1 }), /above its limit/],
    ['a header one byte above the limit', rawFrame({ ...small, headerLength: 1024 * 1024 + 1 }), /above its limit/],
    ['a payload of 2^32-1 bytes', rawFrame({ ...small, payloadLength: 2 ** 32 - 1 }), /above its limit/],
    [
      'a payload one byte above the limit',
      rawFrame({ ...small, payloadLength: 16 * 1024 * 1024 + 1 }),
      /above its limit/,
    ],
    ['a wrong head checksum', rawFrame({ ...small, headChecksum: 1n }), /does not match/],
    ['an unknown frame type', rawFrame({ ...small, type: 8 }), /Unknown frame type 8/],
    ['frame type 0', rawFrame({ ...small, type: 0 }), /Unknown frame type 0/],
    ['a request id above 2^53', rawFrame({ ...small, requestId: 2n ** 53n }), /above 2\^53/],
    ['a header that is no msgpack', rawFrame({ ...small, header: Buffer.from('c1', 'hex') }), /not a map/],
    ['a checksum without payload', rawFrame({ kind: 1, payloadFold: 5n }), /without payload/],
  ];
  test.each(violations)('refuses %s', (_, bytes, reason) => {
    const { frames, decoder: made } = decoder();
    expect(() => made.push(bytes)).toThrow(reason);
    expect(() => {
      const piecewise = decoder();
      for (const byte of bytes) piecewise.decoder.push(Buffer.of(byte));
    }).toThrow(WireViolation);
    expect(frames).toHaveLength(0);
  });

  test('a flipped bit anywhere in head or header is noticed', () => {
    const bytes = rawFrame({ ...small, payload: new Uint8Array(0) });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const { frames, decoder: made } = decoder();
      try {
        made.push(flipped);
      } catch (error) {
        expect(error).toBeInstanceOf(WireViolation);
      }
      expect(frames).toHaveLength(0);
    }
  });

  test('memory follows what has arrived, not what was announced', () => {
    const header = patterned(600);
    const head = rawFrame({ kind: 1, header, headerLength: 1024 * 1024 }).subarray(0, frameHeadBytes + 600);
    const before = process.memoryUsage().arrayBuffers;
    const held = Array.from({ length: 2000 }, () => {
      const { decoder: made } = decoder();
      made.push(head);
      return made;
    });
    expect(held).toHaveLength(2000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  });
});
