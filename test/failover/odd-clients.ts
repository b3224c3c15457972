/**
 * Clients that ask for much and give little, byte by byte over raw connections, to every daemon named. A connection
 * that is closed is opened again; "running" is printed once all stand, and on SIGTERM what they got.
 *   stalled   asks for the memory of a segment, begins to send it, and stops
 *   slow      the same, but goes on with one byte a second
 *   idle      says hello, and then nothing but keep-alives
 *   flood     sends requests that need no answer of substance, as fast as they are taken
 */
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { rawFrame } from '../unit/protocol/raw-frames.js';

const { values: options } = parseArgs({
  options: {
    to: { type: 'string', multiple: true, default: [] },
    kind: { type: 'string', default: 'idle' },
    /** Connections to each. */
    count: { type: 'string', default: '1' },
  },
});
const kinds = { hello: 1, map: 2, putSegment: 11 } as const;
const segmentBytes = 4 * 1024 * 1024;
const beginningBytes = 1000;
const reopenMs = 100;
const keepAliveMs = 4000;
const floodAtOnce = 200;

let isStopping = false;
process.on('SIGTERM', () => {
  isStopping = true;
});
let grants = 0;
let closes = 0;
let sent = 0;
const standing = new Set<net.Socket>();

const hello = rawFrame({
  kind: kinds.hello,
  requestId: 1,
  header: { protocol: 1, role: 'client', software: 'odd', generation: 1 },
});
const askCredit = rawFrame({
  type: 'ask-credit',
  kind: kinds.putSegment,
  requestId: 2,
  header: { bytes: segmentBytes },
});
const upload = rawFrame({
  kind: kinds.putSegment,
  requestId: 2,
  payload: new Uint8Array(beginningBytes),
  payloadLength: segmentBytes,
});
const keepAlive = rawFrame({ type: 'keep-alive' });
const typeAt = 13;
const creditType = 6;

const behaviours: Readonly<Record<string, (socket: net.Socket) => void>> = {
  stalled: (socket) => socket.write(askCredit),
  slow: (socket) => socket.write(askCredit),
  idle: () => undefined,
  flood,
};

function flood(socket: net.Socket): void {
  let requestId = 10;
  const more = (): void => {
    if (socket.destroyed || isStopping) return;
    const frames = Array.from({ length: floodAtOnce }, () =>
      rawFrame({ kind: kinds.map, requestId: ++requestId, header: { newerThan: Number.MAX_SAFE_INTEGER, waitMs: 0 } }),
    );
    sent += floodAtOnce;
    if (socket.write(Buffer.concat(frames))) setImmediate(more);
    else socket.once('drain', more);
  };
  more();
}

/** Only the first bytes of what comes are looked at: they tell a credit from the rest. */
function onData(socket: net.Socket, bytes: Buffer, behave: (socket: net.Socket) => void): void {
  if (!standing.has(socket)) {
    standing.add(socket);
    behave(socket);
    return;
  }
  const isGranted = bytes.length > typeAt && bytes[typeAt] === creditType;
  if (!isGranted) return;
  grants += 1;
  socket.write(upload);
  if (options.kind === 'slow') every(socket, 1000, () => socket.write(Buffer.of(0)));
}

function every(socket: net.Socket, intervalMs: number, task: () => void): void {
  const timer = setInterval(task, intervalMs);
  socket.once('close', () => clearInterval(timer));
}

async function keepOpen(address: string): Promise<void> {
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(address) ?? [];
  const behave = behaviours[options.kind];
  if (behave === undefined) throw new Error(`"${options.kind}" is no kind of client`);
  while (!isStopping) {
    const socket = net.connect({ host, port: Number(port) });
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => onData(socket, bytes, behave));
    socket.write(hello);
    every(socket, keepAliveMs, () => options.kind === 'idle' && socket.write(keepAlive));
    await new Promise((resolve) => socket.once('close', resolve));
    if (standing.delete(socket)) closes += 1;
    await sleep(reopenMs);
  }
}

const wanted = options.to.length * Number(options.count);
for (const address of options.to) {
  for (let at = 0; at < Number(options.count); at++) void keepOpen(address);
}
while (standing.size < wanted && !isStopping) await sleep(20);
console.log('running');
while (!isStopping) await sleep(20);
console.log(`${wanted} connections, ${grants} grants, ${closes} closed by the other side, ${sent} requests`);
process.exit(0);
