/**
 * What this machine can do at most, for `dfs bench --limits`: the same moves of bytes without a protocol, over loopback
 * and below one folder.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { blockSums, foldSums } from '../core/checksum.js';
import { DfsError } from '../core/errors.js';
import type { MachineLimits, SmallWork } from '../core/local-machine.js';
import { systemClock } from './clock.js';
import { echoHeadBytes, echoRequestBytes, type Stage, saysDone } from './limit-stages.js';
import { lmdbAlone } from './lmdb-index.js';
import { systemCode } from './system-errors.js';

const stageProgram = fileURLToPath(new URL('../main/limit-stage.js', import.meta.url));
const pieceBytes = 1024 * 1024;

/** Throws DfsError `failed` when no files can be made there. */
export async function machineLimits(folder: string): Promise<MachineLimits> {
  await inFolder(folder, async () => undefined).catch((error: unknown) => {
    throw new DfsError('failed', `No files can be made below ${folder} (${systemCode(error)})`, { cause: error });
  });
  return {
    twoHopsMs: (sizeBytes) => inFolder(folder, (below) => twoHops(below, sizeBytes)),
    twoCopiesMs: (sizeBytes) => inFolder(folder, (below) => twoCopies(below, sizeBytes)),
    oneHopMs: (sizeBytes) => inFolder(folder, (below) => oneHop(below, sizeBytes)),
    putsMs: (work) => inFolder(folder, (below) => puts(below, work)),
    echoesMs: echoes,
    startMs: () => timed(() => once(spawn(process.execPath, ['-e', ''], { stdio: 'ignore' }), 'exit')),
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

type StageProcess = ChildProcessByStdio<Writable, Readable, null>;

/** Calls `work` with the port of a stage that runs as long as it does, and no longer than this process. */
async function withStage<T>(stage: Stage, work: (port: number) => Promise<T>): Promise<T> {
  const child = spawn(process.execPath, [stageProgram, JSON.stringify(stage)], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    return await work(await portOf(child));
  } finally {
    child.kill('SIGKILL');
  }
}

function portOf(child: StageProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.stdout.once('data', (line: Buffer) => resolve(Number(line)));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`A stage has ended with exit code ${code} before it listened`)));
  });
}

async function connect(port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}

function twoHops(below: string, sizeBytes: number): Promise<number> {
  const first = (onwards: number): Stage => ({ kind: 'store', path: join(below, 'first'), onwards });
  return withStage({ kind: 'store', path: join(below, 'second') }, (onwards) =>
    withStage(first(onwards), async (port) => {
      const socket = await connect(port);
      return timed(() => Promise.all([saysDone(socket), sendAll(socket, sizeBytes)]));
    }),
  );
}

async function sendAll(socket: net.Socket, sizeBytes: number): Promise<void> {
  for (const piece of piecesOf(sizeBytes)) if (!socket.write(piece)) await once(socket, 'drain');
  socket.end();
}

function twoCopies(below: string, sizeBytes: number): Promise<number> {
  const write = (name: string) => writeFile(join(below, name), piecesOf(sizeBytes), { flush: true });
  return timed(() => Promise.all([write('first'), write('second')]));
}

async function oneHop(below: string, sizeBytes: number): Promise<number> {
  const path = join(below, 'file');
  await writeFile(path, piecesOf(sizeBytes));
  return withStage({ kind: 'source', path }, (port) => timed(() => receiveAll(port, sizeBytes)));
}

function receiveAll(port: number, sizeBytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = 0;
    const socket = net.connect({
      port,
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
  });
}

async function puts(below: string, work: SmallWork): Promise<number> {
  const lmdb = lmdbAlone(join(below, 'index.mdb'));
  try {
    return await timed(() => lmdb.put(work));
  } finally {
    await lmdb.close();
  }
}

function echoes(work: SmallWork): Promise<number> {
  return withStage({ kind: 'echo', sizeBytes: work.sizeBytes }, async (port) => {
    const socket = await connect(port);
    try {
      return await timed(() => new Echoes(socket, work).run());
    } finally {
      socket.destroy();
    }
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
      this.#socket.once('close', () => reject(new Error('A stage has ended before it was done')));
      this.#socket.on('data', (chunk: Buffer) => {
        rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        let at = 0;
        for (; at + answerBytes <= rest.length; at += answerBytes) {
          if (isWhole(rest.subarray(at, at + answerBytes))) this.#answered += 1;
          else reject(new DfsError('integrity', 'Other bytes came back over loopback than were sent'));
        }
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
}

function isWhole(answer: Buffer): boolean {
  return foldSums(blockSums(answer.subarray(echoHeadBytes))) === answer.readBigUInt64LE(echoRequestBytes);
}

function* piecesOf(sizeBytes: number): Generator<Buffer> {
  const piece = Buffer.alloc(Math.min(pieceBytes, sizeBytes), 'dfs');
  for (let at = 0; at < sizeBytes; at += pieceBytes) yield piece.subarray(0, Math.min(pieceBytes, sizeBytes - at));
}
