/** What a session promises: who is who, requests and their answers, deadlines. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DfsError } from '../../../src/core/errors.js';
import { limits } from '../../../src/core/limits.js';
import type { Frame } from '../../../src/core/network.js';
import { openSession, type Session } from '../../../src/protocol/session.js';
import { settled } from '../manual-clock.js';
import { patterned } from './raw-frames.js';
import { getSegment, laterAnswer, putSegment, segmentReply, stored, World } from './session-world.js';

let world: World;

beforeEach(async () => {
  world = new World();
  await world.start();
});

afterEach(async () => {
  await world.listener?.close();
  await settled();
});

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

describe('a server that breaks the protocol loses its caller', () => {
  /** Answers hello as it should, and every other frame with what the test gives. */
  async function openTo(answer: (frame: Frame) => Partial<Frame>): Promise<Session> {
    const bare = { payload: undefined, sums: undefined };
    await world.network.listen('10.0.0.2:7421', (connection) => ({
      admit: () => undefined,
      onClose: () => undefined,
      onFrame: ({ kind, requestId, header, type }) => {
        const said = { role: 'peer', software: '', clusterMs: 0, mapEpoch: 0, yourAddress: '' };
        if (kind === 1) connection.send({ type: 'reply', kind, requestId, header: said, ...bare });
        else if (type !== 'cancel')
          connection.send({
            type: 'reply',
            kind,
            requestId,
            header,
            ...bare,
            ...answer({ type, kind, requestId, header, ...bare }),
          });
      },
    }));
    return openSession(world.environment, '10.0.0.2:7421', {
      hello: { role: 'client', generation: 1 },
      timeoutMs: 500,
    });
  }

  test.each<readonly [string, (frame: Frame) => Partial<Frame>]>([
    ['by answering before the request was sent', () => ({})],
    ['by answering a request never made', ({ requestId }) => ({ requestId: requestId + 1 })],
    ['by sending a payload with credit', () => ({ type: 'credit', payload: patterned(10) })],
  ])('%s', async (_, answer) => {
    const session = await openTo(answer);
    const asked = session.request('put-segment', putSegment, { payload: patterned(100_000) });
    await expect(asked).rejects.toMatchObject({ code: 'connection-lost', details: { sent: false } });
    expect(session.closed).toBe(true);
  });

  test('by answering as another kind', async () => {
    const session = await openTo(({ kind }) => ({ kind: kind + 1 }));
    const asked = session.request('get-segment', getSegment);
    await expect(asked).rejects.toMatchObject({ code: 'connection-lost', details: { sent: true } });
  });
});
