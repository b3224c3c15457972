/** What a session holds at most, and when it takes the other side for gone. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { limits } from '../../../src/core/limits.js';
import { timing } from '../../../src/core/timing.js';
import { settled } from '../manual-clock.js';
import { patterned } from './raw-frames.js';
import { getSegment, laterAnswer, putSegment, stored, World } from './session-world.js';

let world: World;

beforeEach(async () => {
  world = new World();
  await world.start();
});

afterEach(async () => {
  await world.listener?.close();
  await settled();
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

  test('a handler may take longer than an upload may stall', async () => {
    const session = await world.open();
    const answer = laterAnswer();
    world.serve = () => answer.promise;
    const asked = session.request('put-segment', putSegment, { payload: patterned(100_000) });
    await settled();
    await world.clock.advance(timing.stalledUploadMs * 2);
    expect(session.closed).toBe(false);
    answer.give({ header: stored });
    await asked;
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
