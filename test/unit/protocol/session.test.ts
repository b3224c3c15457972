/** Sessions over a network in memory with a clock that only tests move. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Environment } from '../../../src/core/environment.js';
import { DfsError } from '../../../src/core/errors.js';
import { limits } from '../../../src/core/limits.js';
import type { Listener } from '../../../src/core/network.js';
import { timing } from '../../../src/core/timing.js';
import { CreditPool } from '../../../src/protocol/credit.js';
import type { Role } from '../../../src/protocol/messages.js';
import {
  type AnyIncoming,
  acceptSession,
  type Outgoing,
  openSession,
  type Session,
} from '../../../src/protocol/session.js';
import { ManualClock, RecordingLog, settled } from '../manual-clock.js';
import { MemoryNetwork } from '../memory-network.js';
import { patterned } from './raw-frames.js';

const uploadId = new Uint8Array(16);
const getSegment = { slot: 1, bucket: 'files', name: 'a', uploadId, index: 1, start: 0, end: 1 };
const putSegment = { slot: 1, term: 1, bucket: 'files', name: 'a', uploadId, index: 1, sums: new Uint8Array(0) };
const stored = {
  version: { epoch: 1, counter: 1 },
  slotEpoch: 1,
  copies: { durable: 1, wanted: 1 },
  primary: 'p1',
  backups: [],
};
const segmentReply = { size: 1, offset: 0, sums: new Uint8Array(0) };

class World {
  readonly clock = new ManualClock();
  readonly network = new MemoryNetwork();
  readonly log = new RecordingLog();
  readonly environment: Environment = {
    clock: this.clock,
    network: this.network,
    log: this.log,
    random: { bytes: (count) => new Uint8Array(count), fraction: () => 0 },
  };
  readonly pool = new CreditPool(limits.clientCreditBytes, 1000);
  readonly served: AnyIncoming[] = [];
  readonly closeReasons: string[] = [];
  readonly accepted: Session[] = [];
  listener: Listener | undefined;
  serve: (request: AnyIncoming) => Promise<Outgoing> = async () => ({ header: segmentReply });

  async start(): Promise<void> {
    this.listener = await this.network.listen('10.0.0.1:7421', (connection) =>
      acceptSession(this.environment, connection, {
        onHello: (hello, session) => {
          if (hello.clusterId === 'other') throw new DfsError('wrong-cluster', 'Not this cluster', { advice: 'Look' });
          this.accepted.push(session);
          return { role: 'peer', peerId: 'p1', clusterMs: 5, mapEpoch: 9, yourAddress: '10.0.0.9' };
        },
        serve: (request) => {
          this.served.push(request);
          return this.serve(request);
        },
        creditPoolFor: () => this.pool,
        onClose: (reason) => this.closeReasons.push(reason),
      }),
    );
  }

  open(role: Role = 'client', more: { clusterId?: string } = {}): Promise<Session> {
    return openSession(this.environment, '10.0.0.1:7421', { hello: { role, generation: 3, ...more }, timeoutMs: 500 });
  }
}

let world: World;

beforeEach(async () => {
  world = new World();
  await world.start();
});

afterEach(async () => {
  await world.listener?.close();
  await settled();
});

/** A handler's answer that comes when the test says so. */
function laterAnswer(): { promise: Promise<Outgoing>; give(outgoing?: Outgoing): void } {
  let settle: (outgoing: Outgoing) => void = () => undefined;
  const promise = new Promise<Outgoing>((resolve) => {
    settle = resolve;
  });
  return { promise, give: (outgoing = { header: segmentReply }) => settle(outgoing) };
}

describe('hello', () => {
  test('tells both sides who the other is', async () => {
    const session = await world.open('peer');
    expect(session.remote).toMatchObject({ role: 'peer', peerId: 'p1', mapEpoch: 9, address: '10.0.0.1:7421' });
    expect(world.accepted[0]?.remote).toMatchObject({ role: 'peer', generation: 3 });
  });

  test('refused it ends the connection with the reason and the advice', async () => {
    await expect(world.open('client', { clusterId: 'other' })).rejects.toMatchObject({
      code: 'wrong-cluster',
      message: 'Not this cluster',
      advice: 'Look',
    });
    await settled();
    expect(world.closeReasons).toHaveLength(1);
  });

  test('to nobody fails as refused', async () => {
    await world.listener?.close();
    await expect(world.open()).rejects.toMatchObject({ name: 'ConnectFailure', refused: true });
  });
});

describe('requests', () => {
  test('are answered in any order', async () => {
    const session = await world.open();
    const answers = [laterAnswer(), laterAnswer()];
    world.serve = (request) => (answers[(request.header as { start: number }).start] as (typeof answers)[0]).promise;
    const ended: number[] = [];
    const asked = [0, 1].map((start) =>
      session.request('get-segment', { ...getSegment, start }).then(() => ended.push(start)),
    );
    await settled();
    answers[1]?.give();
    await settled();
    answers[0]?.give();
    await Promise.all(asked);
    expect(ended).toEqual([1, 0]);
  });

  test('carry header and payload both ways, with the block checksums', async () => {
    const session = await world.open();
    const payload = patterned(limits.uncreditedBytesMax);
    world.serve = async (request) => ({ header: stored, ...(request.payload && { payload: request.payload }) });
    const answer = await session.request('put-segment', putSegment, { payload });
    expect(answer.header).toEqual(stored);
    expect(answer.payload).toEqual(payload);
    expect(answer.sums).toHaveLength(16);
    expect(world.served[0]).toMatchObject({ name: 'put-segment', header: putSegment });
  });

  test('are refused with code, message and advice', async () => {
    const session = await world.open();
    world.serve = async () => {
      throw new DfsError('no-space', 'Full', { advice: 'Make room' });
    };
    await expect(session.request('get-segment', getSegment)).rejects.toMatchObject({
      code: 'no-space',
      message: 'Full',
      advice: 'Make room',
    });
  });

  test('whose handler fails unexpectedly are refused as failed, and it is logged', async () => {
    const session = await world.open();
    world.serve = () => {
      throw new TypeError('oops');
    };
    await expect(session.request('get-segment', getSegment)).rejects.toMatchObject({ code: 'failed' });
    expect(world.log.lines.some((line) => line.level === 'error')).toBe(true);
  });

  test('with a damaged payload never reach the handler', async () => {
    const session = await world.open();
    const payload = patterned(100);
    const damaged = session.request('put-segment', putSegment, { payload, sums: new Uint8Array(8) });
    await expect(damaged).rejects.toMatchObject({ code: 'integrity' });
    expect(world.served).toHaveLength(0);
  });

  test('answered with a damaged payload fail as integrity', async () => {
    const session = await world.open();
    world.serve = async () => ({ header: segmentReply, payload: patterned(100), sums: new Uint8Array(8) });
    await expect(session.request('get-segment', getSegment)).rejects.toMatchObject({ code: 'integrity' });
  });

  test('answered with a malformed header fail without harm', async () => {
    const session = await world.open();
    world.serve = async () => ({ header: { size: Number.NaN } });
    await expect(session.request('get-segment', getSegment)).rejects.toMatchObject({ code: 'failed' });
    expect(session.closed).toBe(false);
  });

  test('of a role that may not send them are denied', async () => {
    const session = await world.open('client');
    const beacon = session.request('beacon', { hash: new Uint8Array(8) });
    await expect(beacon).rejects.toMatchObject({ code: 'denied' });
    expect(world.served).toHaveLength(0);
  });

  test('go the other way over the same connection when both sides serve', async () => {
    const serve = async () => ({ header: { epoch: 12 } });
    const hello = { role: 'peer', generation: 1 } as const;
    await openSession(world.environment, '10.0.0.1:7421', { hello, timeoutMs: 500, serve });
    const answer = await world.accepted[0]?.request('map', { newerThan: 0, waitMs: 0 });
    expect(answer?.header).toEqual({ epoch: 12 });
  });

  test('to a side that serves nothing are unsupported', async () => {
    await world.open();
    const asked = world.accepted[0]?.request('map', { newerThan: 0, waitMs: 0 });
    await expect(asked).rejects.toMatchObject({ code: 'unsupported' });
  });
});

describe('deadlines and cancelling', () => {
  test('a request times out, and its handler is told', async () => {
    const session = await world.open();
    world.serve = () => new Promise(() => undefined);
    const asked = session.request('get-segment', getSegment, { timeoutMs: 300 });
    const failed = expect(asked).rejects.toMatchObject({ code: 'timed-out' });
    await world.clock.advance(299);
    const [request] = world.served;
    expect(request?.deadlineMs).toBe(1000 + 300);
    expect(request?.signal.aborted).toBe(false);
    await world.clock.advance(1);
    await failed;
    expect(request?.signal.aborted).toBe(true);
  });

  test('each request has its own deadline, whatever the order', async () => {
    const session = await world.open();
    world.serve = () => new Promise(() => undefined);
    const ended: number[] = [];
    for (const timeoutMs of [500, 100, 300]) {
      session.request('get-segment', getSegment, { timeoutMs }).catch(() => ended.push(timeoutMs));
    }
    await world.clock.advance(100);
    expect(ended).toEqual([100]);
    await world.clock.advance(200);
    expect(ended).toEqual([100, 300]);
    await world.clock.advance(200);
    expect(ended).toEqual([100, 300, 500]);
  });

  test('a caller that gives up is answered at once, and its handler is told', async () => {
    const session = await world.open();
    const answer = laterAnswer();
    world.serve = () => answer.promise;
    const giving = new AbortController();
    const asked = session.request('get-segment', getSegment, { signal: giving.signal });
    await settled();
    giving.abort();
    await expect(asked).rejects.toMatchObject({ code: 'cancelled' });
    await settled();
    expect(world.served[0]?.signal.aborted).toBe(true);
    answer.give();
    await settled();
    expect(session.closed).toBe(false);
    expect([session.requestsUnderWay, world.accepted[0]?.requestsUnderWay]).toEqual([0, 0]);
  });

  test('a lost connection ends every request and says whether it was sent', async () => {
    const session = await world.open();
    world.serve = () => new Promise(() => undefined);
    const sent = session.request('get-segment', getSegment);
    const asking = session.request('put-segment', putSegment, { payload: patterned(100_000) });
    world.network.cut('10.0.0.1:7421');
    await expect(sent).rejects.toMatchObject({ code: 'connection-lost', details: { sent: true } });
    await expect(asking).rejects.toMatchObject({ code: 'connection-lost', details: { sent: false } });
    const late = session.request('get-segment', getSegment);
    await expect(late).rejects.toMatchObject({ code: 'connection-lost', details: { sent: false } });
    expect(session.closed).toBe(true);
    expect(world.clock.timerCount).toBe(0);
  });
});

describe('credit', () => {
  test('a large payload waits for credit, and gives it back when its handler has ended', async () => {
    const session = await world.open();
    const answer = laterAnswer();
    world.serve = () => answer.promise;
    const payload = patterned(1024 * 1024);
    const release = await world.pool.acquire(limits.clientCreditBytes);
    const asked = session.request('put-segment', putSegment, { payload });
    await settled();
    expect(world.served).toHaveLength(0);
    release();
    await settled();
    expect(world.served).toHaveLength(1);
    expect(world.pool.usedBytes).toBe(payload.length);
    answer.give({ header: stored });
    await asked;
    expect(world.pool.usedBytes).toBe(0);
  });

  test('whoever gives up while waiting for credit holds none', async () => {
    const session = await world.open();
    const release = await world.pool.acquire(limits.clientCreditBytes);
    const asked = session.request('put-segment', putSegment, { payload: patterned(100_000), timeoutMs: 100 });
    const failed = expect(asked).rejects.toMatchObject({ code: 'timed-out' });
    await world.clock.advance(100);
    await failed;
    release();
    await settled();
    expect(world.pool.usedBytes).toBe(0);
    expect(world.accepted[0]?.requestsUnderWay).toBe(0);
  });

  test('a connection that breaks gives its credit back once the handler has ended', async () => {
    const session = await world.open();
    const answer = laterAnswer();
    world.serve = () => answer.promise;
    const asked = session.request('put-segment', putSegment, { payload: patterned(100_000) });
    asked.catch(() => undefined);
    await settled();
    session.close('test');
    await settled();
    expect(world.served[0]?.signal.aborted).toBe(true);
    expect(world.pool.usedBytes).toBe(100_000);
    answer.give();
    await settled();
    expect(world.pool.usedBytes).toBe(0);
  });

  test('small payloads above their limit stop the reading until they are done', async () => {
    const session = await world.open();
    const answers: ReturnType<typeof laterAnswer>[] = [];
    world.serve = () => {
      const answer = laterAnswer();
      answers.push(answer);
      return answer.promise;
    };
    const asked = Array.from({ length: 5 }, () =>
      session.request('put-segment', putSegment, { payload: patterned(600) }),
    );
    await settled();
    expect(world.served).toHaveLength(2); // 1200 bytes are above the pool's 1000
    for (let done = 0; done < 5; done++) {
      answers[done]?.give({ header: stored });
      await settled();
    }
    await Promise.all(asked);
    expect(world.pool.smallBytes).toBe(0);
  });

  test('answers wait for room on the connection before their bytes are read', async () => {
    const session = await world.open();
    let reading = 0;
    const answer = laterAnswer();
    world.serve = async (request) => {
      await request.replyRoom(limits.replyBytesInFlightMax / 2);
      reading++;
      return answer.promise;
    };
    const asked = Array.from({ length: 5 }, () => session.request('get-segment', getSegment));
    await settled();
    expect(reading).toBe(2);
    answer.give();
    await Promise.all(asked);
    expect(reading).toBe(5);
  });

  test('more large payloads than there is credit for all get their turn', async () => {
    const session = await world.open();
    world.serve = async () => ({ header: stored });
    const payload = patterned(100_000);
    const count = limits.requestsInFlightMax + 100;
    const asked = Array.from({ length: count }, () => session.request('put-segment', putSegment, { payload }));
    await Promise.all(asked);
    expect(world.pool.usedBytes).toBe(0);
  });

  test('no more requests run at once than the limit', async () => {
    const session = await world.open();
    const answer = laterAnswer();
    world.serve = () => answer.promise;
    const asked = Array.from({ length: limits.requestsInFlightMax + 50 }, () =>
      session.request('get-segment', getSegment),
    );
    await settled();
    expect(world.served).toHaveLength(limits.requestsInFlightMax);
    answer.give();
    await Promise.all(asked);
  });
});

describe('liveness', () => {
  test('an idle connection stays open, both sides showing that they live', async () => {
    const session = await world.open();
    await world.clock.advance(timing.halfOpenAfterMs * 4);
    expect(session.closed).toBe(false);
    expect(world.clock.monotonicMs() - session.lastHeardMs).toBeLessThanOrEqual(2 * timing.keepAliveMs);
  });

  test('a side that is no longer heard is given up', async () => {
    const session = await world.open();
    world.network.isMute = true;
    await world.clock.advance(timing.halfOpenAfterMs + 2 * timing.keepAliveMs);
    expect(session.closed).toBe(true);
    expect(world.closeReasons[0]).toMatch(/Nothing was (heard|taken)/);
  });

  test('after a pause of this process the other side is not blamed', async () => {
    const session = await world.open();
    await world.clock.advance(timing.keepAliveMs);
    await world.clock.sleepThrough(timing.halfOpenAfterMs * 3);
    expect(session.closed).toBe(false);
    await world.clock.advance(timing.halfOpenAfterMs * 3);
    expect(session.closed).toBe(false);
  });

  test('closing leaves no timer behind', async () => {
    const session = await world.open();
    session.close('done');
    await settled();
    expect(world.clock.timerCount).toBe(0);
    expect(world.closeReasons).toEqual(['The other side closed the connection']);
  });
});
