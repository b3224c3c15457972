/** A session server on a real port whose handlers are the test's, and a caller that writes raw bytes to it. */
import net from 'node:net';
import type { Clock, Environment } from '../../src/core/environment.js';
import type { Frame, Listener } from '../../src/core/network.js';
import { systemClock } from '../../src/io/clock.js';
import { systemRandom } from '../../src/io/random.js';
import { tcpNetwork } from '../../src/io/tcp.js';
import { CreditPool } from '../../src/protocol/credit.js';
import { FrameDecoder } from '../../src/protocol/frame.js';
import { messages } from '../../src/protocol/messages.js';
import {
  type AnyIncoming,
  acceptSession,
  type HelloRequest,
  type Outgoing,
  type Session,
} from '../../src/protocol/session.js';
import { RecordingLog } from '../unit/manual-clock.js';
import { type RawFrame, rawFrame } from '../unit/protocol/raw-frames.js';

/** Time that passes `factor` times as fast, so that a test need not wait 15 s for what takes 15 s. */
export function fastClock(factor: number): Clock {
  return {
    monotonicMs: () => systemClock.monotonicMs() * factor,
    wallMs: () => systemClock.wallMs(),
    after: (delayMs, onDue) => systemClock.after(delayMs / factor, onDue),
  };
}

export class WireServer {
  readonly log = new RecordingLog();
  readonly environment: Environment;
  readonly pool = new CreditPool(64 * 1024 * 1024);
  readonly served: AnyIncoming[] = [];
  readonly closeReasons: string[] = [];
  serve: (request: AnyIncoming) => Promise<Outgoing> = async () => ({
    header: { size: 1, offset: 0, sums: Buffer.of() },
  });
  onHello: (said: HelloRequest, session: Session) => void = () => undefined;
  #listener: Listener | undefined;

  constructor(clock: Clock = systemClock) {
    this.environment = { clock, network: tcpNetwork, random: systemRandom, log: this.log };
  }

  get address(): string {
    return this.#listener?.address ?? '';
  }

  async start(): Promise<void> {
    this.#listener = await tcpNetwork.listen('127.0.0.1:0', (connection) =>
      acceptSession(this.environment, connection, {
        onHello: (hello, session) => {
          this.onHello(hello, session);
          return { role: 'peer', peerId: 'p1', clusterMs: 0, mapEpoch: 0, yourAddress: '127.0.0.1' };
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

  async stop(): Promise<void> {
    await this.#listener?.close();
  }
}

export const helloHeader = { protocol: 1, role: 'client', software: 'test', generation: 1 };
export const hello: RawFrame = { kind: messages.hello.kind, requestId: 1, header: helloHeader };

/** Somebody who writes whatever the test likes and remembers what comes back. */
export class RawCaller {
  readonly frames: Frame[] = [];
  readonly socket: net.Socket;
  isClosed = false;
  #wake: () => void = () => undefined;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    const decoder = new FrameDecoder({ admit: () => undefined, onFrame: (frame) => void this.frames.push(frame) });
    socket.on('data', (chunk) => {
      decoder.push(chunk);
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
      this.#wake();
    });
  }

  static connect(address: string): Promise<RawCaller> {
    const port = Number(address.split(':')[1]);
    const socket = net.connect({ host: '127.0.0.1', port, noDelay: true });
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.once('connect', () => resolve(new RawCaller(socket)));
    });
  }

  /** Connected, and hello answered. */
  static async greeted(address: string): Promise<RawCaller> {
    const caller = await RawCaller.connect(address);
    caller.write(rawFrame(hello));
    await caller.answerTo(1);
    return caller;
  }

  write(bytes: Uint8Array): void {
    if (!this.isClosed) this.socket.write(bytes);
  }

  /** The first reply, refusal or credit for this request. */
  async answerTo(requestId: number): Promise<Frame> {
    for (;;) {
      const found = this.frames.find((frame) => frame.requestId === requestId && frame.type !== 'keep-alive');
      if (found) return found;
      if (this.isClosed) throw new Error(`The connection closed before the answer to ${requestId}`);
      await this.#next();
    }
  }

  async closed(): Promise<void> {
    while (!this.isClosed) await this.#next();
  }

  end(): void {
    this.socket.destroy();
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** Waits until it holds; the test's time-out is the limit. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}
