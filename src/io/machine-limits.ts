/**
 * What this machine can do at most, for `dfs bench --limits`: the same moves of bytes without a protocol, over loopback
 * and below one folder.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { blockSums, foldSums } from '../core/checksum.js';
import { DfsError } from '../core/errors.js';
import type { MachineLimits, SmallWork } from '../core/local-machine.js';
import { systemClock } from './clock.js';
import { echoHeadBytes, echoRequestBytes, type Stage, saysDone } from './limit-stages.js';
import { putsAlone } from './lmdb-index.js';

const stageProgram = fileURLToPath(new URL('../main/limit-stage.js', import.meta.url));
const pieceBytes = 1024 * 1024;

export function machineLimits(folder: string): MachineLimits {
  return {
    twoHopsMs: (sizeBytes) => inFolder(folder, (below) => twoHops(below, sizeBytes)),
    twoCopiesMs: (sizeBytes) => inFolder(folder, (below) => twoCopies(below, sizeBytes)),
    oneHopMs: (sizeBytes) => inFolder(folder, (below) => oneHop(below, sizeBytes)),
    putsMs: (work) => inFolder(folder, (below) => timed(() => putsAlone(join(below, 'index.mdb'), work))),
    echoesMs: echoes,
    startMs: () => timed(() => runNode(['-e', ''])),
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const fromMs = systemClock.monotonicMs();
  await work();
  return systemClock.monotonicMs() - fromMs;
}

async function inFolder<T>(folder: string, work: (below: string) => Promise<T>): Promise<T> {
  const below = await mkdtemp(join(folder, 'dfs-limits-'));
  try {
    return await work(below);
  } finally {
    await rm(below, { recursive: true, force: true });
  }
}

async function runNode(args: readonly string[]): Promise<void> {
  await once(spawn(process.execPath, args, { stdio: 'ignore' }), 'exit');
}

/** Calls `work` with the ports of stages that run as long as it does. */
async function withStages<T>(stages: readonly Stage[], work: (ports: readonly number[]) => Promise<T>): Promise<T> {
  const started = stages.map((stage) =>
    spawn(process.execPath, [stageProgram, JSON.stringify(stage)], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  try {
    const ports = await Promise.all(started.map(({ stdout }) => once(stdout, 'data').then(([line]) => Number(line))));
    return await work(ports);
  } finally {
    for (const child of started) child.kill('SIGKILL');
  }
}

async function connect(port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}

async function twoHops(below: string, sizeBytes: number): Promise<number> {
  return withStages([{ kind: 'store', path: join(below, 'second') }], ([onwards]) =>
    withStages([{ kind: 'store', path: join(below, 'first'), onwards: onwards ?? 0 }], async ([port]) => {
      const socket = await connect(port ?? 0);
      return timed(async () => {
        const isDone = saysDone(socket);
        for (const piece of piecesOf(sizeBytes)) if (!socket.write(piece)) await once(socket, 'drain');
        socket.end();
        await isDone;
      });
    }),
  );
}

async function twoCopies(below: string, sizeBytes: number): Promise<number> {
  const write = async (name: string): Promise<void> => {
    const file = await open(join(below, name), 'w');
    for (const piece of piecesOf(sizeBytes)) await file.write(piece);
    await file.sync();
    await file.close();
  };
  return timed(() => Promise.all([write('first'), write('second')]));
}

async function oneHop(below: string, sizeBytes: number): Promise<number> {
  const path = join(below, 'file');
  const file = await open(path, 'w');
  for (const piece of piecesOf(sizeBytes)) await file.write(piece);
  await file.close();
  return withStages([{ kind: 'source', path }], ([port]) =>
    timed(
      () =>
        new Promise<void>((resolve, reject) => {
          let received = 0;
          const socket = net.connect({
            port: port ?? 0,
            host: '127.0.0.1',
            onread: {
              buffer: Buffer.allocUnsafe(pieceBytes),
              callback(bytes) {
                received += bytes;
                if (received === sizeBytes) resolve();
                return true;
              },
            },
          });
          socket.once('error', reject);
          socket.once('close', () => reject(new Error(`Only ${received} of ${sizeBytes} bytes came`)));
          if (sizeBytes === 0) resolve();
        }),
    ),
  );
}

async function echoes({ count, sizeBytes, inFlight }: SmallWork): Promise<number> {
  return withStages([{ kind: 'echo', sizeBytes }], async ([port]) => {
    const socket = await connect(port ?? 0);
    const tookMs = await timed(() => new Echoes(socket, { count, sizeBytes, inFlight }).run());
    socket.destroy();
    return tookMs;
  });
}

/** Asks and counts, so many at the same time; looks at each checksum. */
class Echoes {
  readonly #socket: net.Socket;
  readonly #work: SmallWork;
  #asked = 0;
  #answered = 0;

  constructor(socket: net.Socket, work: SmallWork) {
    this.#socket = socket;
    this.#work = work;
  }

  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      const answerBytes = echoHeadBytes + this.#work.sizeBytes;
      let rest: Buffer = Buffer.alloc(0);
      this.#socket.once('error', reject);
      this.#socket.on('data', (chunk: Buffer) => {
        rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        let at = 0;
        for (; at + answerBytes <= rest.length; at += answerBytes) this.#take(rest.subarray(at, at + answerBytes));
        rest = rest.subarray(at);
        if (this.#answered === this.#work.count) resolve();
        this.#ask();
      });
      this.#ask();
    });
  }

  #ask(): void {
    const { count, inFlight } = this.#work;
    const due = Math.min(count, this.#answered + inFlight) - this.#asked;
    if (due <= 0) return;
    const requests = Buffer.alloc(due * echoRequestBytes);
    for (let index = 0; index < due; index++) requests.writeUInt32LE(this.#asked + index, index * echoRequestBytes);
    this.#asked += due;
    this.#socket.write(requests);
  }

  #take(answer: Buffer): void {
    const isRight = foldSums(blockSums(answer.subarray(echoHeadBytes))) === answer.readBigUInt64LE(echoRequestBytes);
    if (!isRight) throw new DfsError('integrity', 'Other bytes came back over loopback than were sent');
    this.#answered += 1;
  }
}

function* piecesOf(sizeBytes: number): Generator<Buffer> {
  const piece = Buffer.alloc(Math.min(pieceBytes, sizeBytes), 'dfs');
  for (let at = 0; at < sizeBytes; at += pieceBytes) yield piece.subarray(0, Math.min(pieceBytes, sizeBytes - at));
}
