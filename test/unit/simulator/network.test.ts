/**
 * The simulated network and clocks: what real ones do that the programs must bear.
 */
import { describe, expect, it } from 'vitest';
import type { Connection, ConnectionHandler, Frame } from '../../../src/core/network.js';
import { SimNetwork } from '../../simulator/world/network.js';
import { SimProcess, World } from '../../simulator/world/virtual-clock.js';

const here = '10.0.0.1';
const there = '10.0.0.2';
const address = `${there}:7000`;

function frameOf(requestId: number, header: Frame['header'] = {}, payload?: Uint8Array): Frame {
  return { type: 'request', kind: 1, requestId, header, payload, sums: undefined };
}

/** Two hosts; `heard` is what the second one heard, from whichever connection. */
class Pair {
  readonly world: World;
  readonly network: SimNetwork;
  readonly heard: Frame[] = [];
  readonly closed: string[] = [];
  readonly caller: SimProcess;
  readonly called: SimProcess;
  /** Of the called side. */
  readonly accepted: Connection[] = [];

  constructor(seed = 1, options: { usesCodec?: boolean } = {}) {
    this.world = new World(seed);
    this.network = new SimNetwork(this.world, options);
    this.caller = this.#process('caller');
    this.called = this.#process('called');
    void this.network.of(there, this.called).listen(address, (connection) => {
      this.accepted.push(connection);
      return this.handler('called');
    });
  }

  handler(side: string, onFrame = (frame: Frame): void => void this.heard.push(frame)): ConnectionHandler {
    const onClose = (reason: string): void => void this.closed.push(`${side}: ${reason}`);
    return { admit: () => undefined, onFrame, onClose };
  }

  async connect(): Promise<Connection> {
    const network = this.network.of(here, this.caller);
    const connection = await this.world.until(
      network.connect(address, () => this.handler('caller'), { timeoutMs: 1000 }),
    );
    await this.world.runFor(1);
    return connection;
  }

  get heardIds(): number[] {
    return this.heard.map(({ requestId }) => requestId);
  }

  #process(name: string): SimProcess {
    return new SimProcess(this.world, {
      name,
      onFailed: (error) => {
        throw error;
      },
    });
  }
}

describe('a paused process', () => {
  it('meets what came to its sockets before its timers when it goes on', async () => {
    const pair = new Pair();
    const order: string[] = [];
    const connection = await pair.connect();
    pair.heard.push = (frame) => order.push(`frame ${frame.requestId}`);
    for (const delayMs of [10, 20]) pair.called.clock.after(delayMs, () => order.push(`timer ${delayMs}`));
    pair.called.pause();
    await pair.world.runFor(50);
    connection.send(frameOf(1));
    await pair.world.runFor(50);
    connection.send(frameOf(2));
    await pair.world.runFor(50);
    expect(order).toEqual([]);
    pair.called.resume();
    await pair.world.runFor(1);
    expect(order).toEqual(['frame 1', 'frame 2', 'timer 10', 'timer 20']);
  });
});

describe('a cut', () => {
  it('loses nothing of an open connection and keeps its order', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const pair = new Pair(seed, { usesCodec: seed % 2 === 0 });
      const connection = await pair.connect();
      connection.send(frameOf(1));
      await pair.world.runFor(20);
      pair.network.cut(here, there);
      for (let id = 2; id < 30; id++) {
        connection.send(frameOf(id));
        await pair.world.runFor(20);
      }
      expect(pair.heardIds).toEqual([1]);
      pair.network.heal(here, there);
      await pair.world.runFor(10_000);
      expect(pair.heardIds).toEqual(Array.from({ length: 29 }, (_, at) => at + 1));
    }
  });

  it('one way lets the other way through', async () => {
    const pair = new Pair();
    const connection = await pair.connect();
    pair.network.cut(there, here);
    connection.send(frameOf(1));
    await pair.world.runFor(20);
    expect(pair.heardIds).toEqual([1]);
  });

  it('often makes an old connection speak up when a newer one is in use already', async () => {
    let late = 0;
    for (let seed = 1; seed <= 100; seed++) {
      const pair = new Pair(seed);
      const old = await pair.connect();
      pair.network.cut(here, there);
      old.send(frameOf(1));
      await pair.world.runFor(2000);
      pair.network.heal(here, there);
      const newer = await pair.connect();
      newer.send(frameOf(2));
      await pair.world.runFor(10_000);
      expect(pair.heardIds.toSorted()).toEqual([1, 2]);
      if (pair.heardIds[0] === 2) late++;
    }
    expect(late).toBeGreaterThan(50);
  });
});

describe('a host that vanished', () => {
  it('leaves the other side in silence until that sends something after its return', async () => {
    const pair = new Pair();
    const connection = await pair.connect();
    pair.network.hostDown(there);
    pair.called.die();
    await pair.world.runFor(60_000);
    connection.send(frameOf(1));
    await pair.world.runFor(60_000);
    expect(pair.closed).toEqual([]);
    pair.network.hostUp(there);
    await pair.world.runFor(10_000);
    expect(pair.closed).toEqual(['caller: The connection was reset by the other side']);
  });

  it('answers no call, where a dead process on a living host refuses it', async () => {
    const pair = new Pair();
    pair.called.die();
    await expect(pair.connect()).rejects.toMatchObject({ refused: true });
    pair.network.hostDown(there);
    await expect(pair.connect()).rejects.toMatchObject({ refused: false });
  });
});

describe('a process that died', () => {
  it('resets its connections', async () => {
    const pair = new Pair();
    await pair.connect();
    pair.called.die();
    await pair.world.runFor(100);
    expect(pair.closed).toEqual(['caller: The connection was reset by the other side']);
  });
});

describe('a reset', () => {
  it('is met by both sides', async () => {
    const pair = new Pair();
    await pair.connect();
    pair.network.reset(here, there);
    await pair.world.runFor(100);
    expect(pair.closed).toHaveLength(2);
  });
});

describe('a slow link', () => {
  it('takes its time, shared by all connections of the host, and shows that it goes on', async () => {
    const pair = new Pair();
    const [one, two] = [await pair.connect(), await pair.connect()];
    pair.network.slowDown(there, 1000);
    for (const connection of [one, two]) connection.send(frameOf(1, {}, new Uint8Array(1_000_000)));
    await pair.world.runFor(900);
    expect(pair.heard).toHaveLength(0);
    expect(one.deliveredBytes).toBeGreaterThan(0);
    expect(pair.accepted[0]?.receivedPayloadBytes).toBeGreaterThan(0);
    await pair.world.runFor(200);
    expect(pair.heard).toHaveLength(1);
    await pair.world.runFor(1000);
    expect(pair.heard).toHaveLength(2);
    pair.network.restore(there);
    one.send(frameOf(2, {}, new Uint8Array(1_000_000)));
    await pair.world.runFor(100);
    expect(pair.heard).toHaveLength(3);
  });
});

describe('frames', () => {
  const header = {
    text: 'é',
    number: 1.5,
    big: 2 ** 50,
    none: undefined,
    list: [1, { deep: true }],
    bytes: Buffer.from('ab'),
  };
  const payload = Buffer.from('some content');

  it.each([false, true])(
    'share no memory between processes and arrive as msgpack has them (codec: %s)',
    async (usesCodec) => {
      const pair = new Pair(1, { usesCodec });
      const connection = await pair.connect();
      const [own, ownPayload] = [
        structuredClone({ ...header, bytes: new Uint8Array(header.bytes) }),
        Buffer.from(payload),
      ];
      connection.send(frameOf(1, { ...own, bytes: Buffer.from(own.bytes) }, ownPayload));
      ownPayload.fill(0);
      own.list.length = 0;
      await pair.world.runFor(10);
      const [frame] = pair.heard;
      const expected = { ...header, none: null, bytes: new Uint8Array(Buffer.from('ab')) };
      expect(frame?.header).toEqual(expected);
      expect(frame?.header.bytes).not.toBeInstanceOf(Buffer);
      expect(Buffer.from(frame?.payload ?? []).equals(payload)).toBe(true);
      expect(frame?.sums?.length).toBe(8);
    },
  );

  it.each([false, true])('whose sums do not fit arrive marked as damaged (codec: %s)', async (usesCodec) => {
    const pair = new Pair(1, { usesCodec });
    const connection = await pair.connect();
    connection.send({ ...frameOf(1, {}, payload), sums: new Uint8Array(8) });
    await pair.world.runFor(10);
    expect(pair.heard[0]?.damaged).toBe(true);
  });

  it.each([false, true])('wait while their reader has paused (codec: %s)', async (usesCodec) => {
    const pair = new Pair(1, { usesCodec });
    const connection = await pair.connect();
    const [reader] = pair.accepted;
    reader?.pauseReading();
    for (let id = 1; id <= 5; id++) connection.send(frameOf(id, {}, payload));
    await pair.world.runFor(100);
    expect(pair.heard).toHaveLength(0);
    reader?.resumeReading();
    await pair.world.runFor(1);
    expect(pair.heardIds).toEqual([1, 2, 3, 4, 5]);
  });
});

describe('clocks', () => {
  it('run at their own rate, and the wall clock may jump while a program runs', async () => {
    const world = new World(1);
    let wallAheadMs = 0;
    const options = { name: 'p', rate: 1.02, wallAheadMs: () => wallAheadMs, onFailed: () => undefined };
    const { clock } = new SimProcess(world, options);
    const [monotonicMs, wallMs] = [clock.monotonicMs(), clock.wallMs()];
    await world.runFor(1000);
    wallAheadMs = -5000;
    expect(clock.monotonicMs() - monotonicMs).toBeCloseTo(1020);
    expect(clock.wallMs() - wallMs).toBeCloseTo(1020 - 5000);
  });
});
