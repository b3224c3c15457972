/**
 * The other ends of what machine-limits.ts measures, each in a process of its own: as bare as Node allows, without a
 * protocol, so that they show what the machine and Node can do at most. What goes wrong ends the process.
 */
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import net from 'node:net';
import { blockSums, foldSums } from '../core/checksum.js';

export type Stage =
  /** Writes what comes into a file, and on to another stage if one is named; says "done" when both have it synced. */
  | { readonly kind: 'store'; readonly path: string; readonly onwards?: number }
  /** Sends a file to whoever connects. */
  | { readonly kind: 'source'; readonly path: string }
  /** Answers every 8 bytes, a number, with the number, a checksum and so many bytes. */
  | { readonly kind: 'echo'; readonly sizeBytes: number };

const unwrittenBytesMax = 8 * 1024 * 1024;
const readBytes = 1024 * 1024;
export const echoRequestBytes = 8;
export const echoHeadBytes = 16;

/** Listens on a free port of loopback; resolves with the port. */
export async function startStage(stage: Stage): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => serve(stage, socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as net.AddressInfo).port;
}

function serve(stage: Stage, socket: net.Socket): void {
  if (stage.kind === 'source') createReadStream(stage.path, { highWaterMark: readBytes }).pipe(socket);
  else if (stage.kind === 'echo') echo(stage.sizeBytes, socket);
  else void store(stage.path, stage.onwards, socket);
}

function echo(sizeBytes: number, socket: net.Socket): void {
  const payload = Buffer.alloc(sizeBytes, 'dfs');
  const sum = foldSums(blockSums(payload));
  let rest: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    socket.cork();
    let at = 0;
    for (; at + echoRequestBytes <= rest.length; at += echoRequestBytes) {
      const head = Buffer.allocUnsafe(echoHeadBytes);
      rest.copy(head, 0, at, at + echoRequestBytes);
      head.writeBigUInt64LE(sum, echoRequestBytes);
      socket.write(head);
      socket.write(payload);
    }
    socket.uncork();
    rest = rest.subarray(at);
  });
}

async function store(path: string, onwards: number | undefined, socket: net.Socket): Promise<void> {
  const file = createWriteStream(path, { highWaterMark: unwrittenBytesMax, flush: true });
  const hasIt: Promise<unknown>[] = [once(file, 'close')];
  if (onwards !== undefined) {
    const next = net.connect({ port: onwards, host: '127.0.0.1' });
    hasIt.push(saysDone(next));
    socket.pipe(next);
  }
  socket.pipe(file);
  await Promise.all(hasIt);
  socket.end('done');
}

/** Resolves when the other side has said "done", rejects when it ends without. */
export function saysDone(socket: net.Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('data', () => resolve());
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('A stage has ended before it was done')));
  });
}
