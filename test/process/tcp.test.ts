/** Sessions over real TCP: bytes come back bit for bit, addresses are checked, failures say what happened. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DfsError } from '../../src/core/errors.js';
import { ConnectFailure } from '../../src/core/network.js';
import { givePayloadMemory, takePayloadMemory } from '../../src/core/payload-memory.js';
import { systemClock } from '../../src/io/clock.js';
import { tcpNetwork } from '../../src/io/tcp.js';
import { openSession, type Session } from '../../src/protocol/session.js';
import { patterned } from '../unit/protocol/raw-frames.js';
import { until, WireServer } from './wire-server.js';

const uploadId = new Uint8Array(16);
const putSegment = { slot: 1, term: 1, bucket: 'files', name: 'a', uploadId, index: 1, sums: new Uint8Array(0) };
const getSegment = { slot: 1, bucket: 'files', name: 'a', uploadId, index: 1, start: 0, end: 1 };
const stored = {
  version: { epoch: 1, counter: 1 },
  slotEpoch: 1,
  copies: { durable: 1, wanted: 1 },
  primary: 'p1',
  backups: [],
};

let server: WireServer;
let session: Session;

beforeEach(async () => {
  server = new WireServer();
  await server.start();
  const hello = { role: 'client', generation: 1 } as const;
  session = await openSession(server.environment, server.address, { hello, timeoutMs: 1000 });
});

afterEach(async () => {
  session.close('test over');
  await server.stop();
});

describe('a session over TCP', () => {
  test.each([0, 1, 8192, 8193, 65_536, 65_537, 69_632, 69_633, 4 * 1024 * 1024 + 1, 16 * 1024 * 1024])(
    'carries %i bytes both ways, bit for bit',
    async (sizeBytes) => {
      server.serve = async ({ payload, sums }) => ({ header: stored, payload, sums });
      const payload = patterned(sizeBytes);
      const answer = await session.request('put-segment', putSegment, { payload });
      expect(Buffer.compare(answer.payload ?? new Uint8Array(0), payload)).toBe(0);
      expect(server.pool.usedBytes + server.pool.smallBytes).toBe(0);
    },
  );

  test('carries nobody else’s bytes in memory that is used again', async () => {
    server.serve = async ({ payload = new Uint8Array(0) }) => {
      const answer = takePayloadMemory(payload.length);
      answer.set(payload);
      givePayloadMemory(payload);
      return { header: stored, payload: answer, givesMemory: true };
    };
    const carry = async (sender: number): Promise<void> => {
      const payload = new Uint8Array(100_000 + 20_000 * (sender % 8)).fill(sender + 1);
      for (let round = 0; round < 4; round++) {
        const answer = await session.request('put-segment', putSegment, { payload });
        expect(Buffer.compare(answer.payload ?? new Uint8Array(0), payload)).toBe(0);
        givePayloadMemory(answer.payload);
      }
    };
    await Promise.all(Array.from({ length: 64 }, (_, sender) => carry(sender)));
  });

  test('serves a request that stands right behind the answer to hello', async () => {
    const asked = new Promise((resolve) => {
      server.onHello = (_, called) => {
        queueMicrotask(() => resolve(called.request('map', { newerThan: 0, waitMs: 0 })));
      };
    });
    const serve = async () => ({ header: { epoch: 3 } });
    const hello = { role: 'peer', generation: 1 } as const;
    const caller = await openSession(server.environment, server.address, { hello, timeoutMs: 1000, serve });
    expect(await asked).toMatchObject({ header: { epoch: 3 } });
    caller.close('test over');
  });

  test('hands requests over in the order they were made', async () => {
    const asked = Array.from({ length: 5000 }, (_, start) => session.request('get-segment', { ...getSegment, start }));
    await Promise.all(asked);
    expect(server.served.map((request) => (request.header as { start: number }).start)).toEqual([...asked.keys()]);
  });

  test('a flood of requests leaves every other connection its turn', async () => {
    let turn = 0;
    let isOver = false;
    const countTurn = (): void => {
      turn += 1;
      if (!isOver) setImmediate(countTurn);
    };
    countTurn();
    const servedAt = new Map<number, number>();
    server.serve = async () => {
      servedAt.set(turn, (servedAt.get(turn) ?? 0) + 1);
      return { header: { size: 1, offset: 0, sums: Buffer.of() } };
    };
    const asked = Array.from({ length: 1000 }, (_, start) => session.request('get-segment', { ...getSegment, start }));
    await Promise.all(asked);
    isOver = true;
    // Those of the end of one turn and of the beginning of the next may count together.
    expect(Math.max(...servedAt.values())).toBeLessThanOrEqual(128);
  });

  test('many payloads at once keep to the credit', async () => {
    let mostBytes = 0;
    server.serve = async () => {
      mostBytes = Math.max(mostBytes, server.pool.usedBytes);
      await new Promise(setImmediate);
      return { header: stored };
    };
    const payload = patterned(4 * 1024 * 1024);
    await Promise.all(Array.from({ length: 40 }, () => session.request('put-segment', putSegment, { payload })));
    expect(server.served).toHaveLength(40);
    expect(mostBytes).toBeLessThanOrEqual(64 * 1024 * 1024);
    expect(server.pool.usedBytes).toBe(0);
  });

  test('a server that goes away ends what is under way', async () => {
    server.serve = () => new Promise(() => undefined);
    const asked = session.request('get-segment', getSegment);
    const failed = expect(asked).rejects.toMatchObject({ code: 'connection-lost', details: { sent: true } });
    await until(() => server.served.length === 1);
    await server.stop();
    await failed;
    expect(session.closed).toBe(true);
  });

  test('a caller that goes away aborts its handlers', async () => {
    server.serve = () => new Promise(() => undefined);
    session.request('get-segment', getSegment).catch(() => undefined);
    await until(() => server.served.length === 1);
    const signal = server.served[0]?.signal;
    session.close('test');
    await until(() => signal?.aborted === true);
  });
});

describe('addresses', () => {
  const nobody = { admit: () => undefined, onFrame: () => undefined, onClose: () => undefined };
  const connect = (address: string) => tcpNetwork.connect(address, () => nobody, { timeoutMs: 500 });

  test('nobody listening is told from silence', async () => {
    const { address } = server;
    await server.stop();
    await expect(connect(address)).rejects.toMatchObject({ refused: true, message: `Nobody listens on ${address}` });
  });

  test.each([
    ['127.0.0.1:70000', /Port 70000 .* above 65535/],
    ['127.0.0.1:0', /Port 0/],
    ['127.0.0.1', /not an address/],
    ['127.0.0.1:port', /not an address/],
    [':7420', /not an address/],
    ['a b:7420', /not an address/],
    ['', /not an address/],
  ])('"%s" cannot be connected to', async (address, message) => {
    await expect(connect(address)).rejects.toThrow(ConnectFailure);
    await expect(connect(address)).rejects.toMatchObject({ refused: false, message: expect.stringMatching(message) });
  });

  test('a port in use, and a port that cannot be, are told before listening', async () => {
    const listen = (address: string) => tcpNetwork.listen(address, () => nobody);
    await expect(listen(server.address)).rejects.toMatchObject({ message: `The address ${server.address} is in use` });
    await expect(listen('127.0.0.1:70000')).rejects.toThrow(DfsError);
    await expect(listen('192.0.2.1:0')).rejects.toMatchObject({ code: 'invalid' });
  });

  test('an IPv4 caller of an IPv6 port is known by its IPv4 address', async () => {
    const remotes: string[] = [];
    const onConnection = (connection: { remoteAddress: string }) => {
      remotes.push(connection.remoteAddress);
      return nobody;
    };
    const listener = await tcpNetwork.listen('[::]:0', onConnection).catch(() => undefined);
    if (!listener) return; // this host has no IPv6
    const connection = await connect(listener.address.replace('[::]', '127.0.0.1'));
    await until(() => remotes.length === 1);
    expect(remotes[0]).toBe(connection.localAddress);
    connection.close('test over');
    await listener.close();
  });

  test('IPv6 hosts stand in brackets', async () => {
    const listener = await tcpNetwork.listen('[::1]:0', () => nobody).catch(() => undefined);
    if (!listener) return; // this host has no IPv6
    expect(listener.address).toMatch(/^\[::1\]:\d+$/);
    const connection = await connect(listener.address);
    expect(connection.remoteAddress).toBe(listener.address);
    connection.close('test over');
    await listener.close();
  });
});

describe('a connection', () => {
  test('says when bytes have left, and ends only after the last', async () => {
    const arrived: number[] = [];
    let endReason: string | undefined;
    const listener = await tcpNetwork.listen('127.0.0.1:0', () => ({
      admit: () => undefined,
      onFrame: (frame) => void arrived.push(frame.payload?.length ?? 0),
      onClose: (reason) => {
        endReason = reason;
      },
    }));
    const handler = { admit: () => undefined, onFrame: () => undefined, onClose: () => undefined };
    const connection = await tcpNetwork.connect(listener.address, () => handler, { timeoutMs: 500 });
    const payload = patterned(3 * 1024 * 1024);
    const flushed: number[] = [];
    for (let index = 0; index < 12; index++) {
      const frame = { type: 'request', kind: 1, requestId: index, header: {}, payload, sums: undefined } as const;
      connection.send(frame, () => flushed.push(connection.deliveredBytes - (index + 1) * payload.length));
    }
    expect(connection.queuedBytes).toBeGreaterThan(12 * payload.length);
    await connection.drained();
    expect(connection.queuedBytes).toBeLessThan(9 * 1024 * 1024);
    connection.end();
    await until(() => endReason !== undefined);
    expect(flushed).toHaveLength(12);
    expect(Math.min(...flushed)).toBeGreaterThan(0); // each only after its own bytes and all before it
    expect(arrived).toEqual(Array(12).fill(payload.length));
    expect(endReason).toBe('The other side closed the connection');
    await listener.close();
  });

  test('that closes wakes whoever waits for its queue', async () => {
    const listener = await tcpNetwork.listen('127.0.0.1:0', (accepted) => {
      accepted.pauseReading();
      return { admit: () => undefined, onFrame: () => undefined, onClose: () => undefined };
    });
    const handler = { admit: () => undefined, onFrame: () => undefined, onClose: () => undefined };
    const connection = await tcpNetwork.connect(listener.address, () => handler, { timeoutMs: 500 });
    const payload = patterned(16 * 1024 * 1024);
    const flushed: number[] = [];
    for (let index = 0; index < 4; index++) {
      const frame = { type: 'request', kind: 1, requestId: index, header: {}, payload, sums: undefined } as const;
      connection.send(frame, () => flushed.push(index));
    }
    const drained = connection.drained();
    connection.close('test');
    await drained;
    await connection.drained();
    expect(flushed).toEqual([0, 1, 2, 3]);
    await listener.close();
  });
});

describe('the clock', () => {
  test('never calls early', async () => {
    const early: number[] = [];
    const waits = Array.from({ length: 200 }, (_, index) => {
      const dueMs = systemClock.monotonicMs() + index / 7;
      return new Promise<void>((resolve) => {
        systemClock.after(index / 7, () => {
          if (systemClock.monotonicMs() < dueMs) early.push(index);
          resolve();
        });
      });
    });
    await Promise.all(waits);
    expect(early).toEqual([]);
  });

  test('a delay longer than the platform can count does not fire at once', async () => {
    let fired = false;
    const warnings: string[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning.name);
    process.on('warning', onWarning);
    const timer = systemClock.after(2 ** 40, () => {
      fired = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    timer.cancel();
    process.off('warning', onWarning);
    expect({ fired, warnings }).toEqual({ fired: false, warnings: [] });
  });
});
