/**
 * The network over TCP (node:net): frames out in one write a tick, frames in as the bytes come.
 *
 * Small frames are gathered in a block; large payloads are written from where they lie, never copied. Writes are short
 * and one at a time, so that the queue shows progress while a slow reader takes its bytes.
 */
import net from 'node:net';
import { formatAddress, parseAddress } from '../core/address.js';
import { blockSums, foldSums } from '../core/checksum.js';
import { DfsError, refuse } from '../core/errors.js';
import type { Address } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { ConnectFailure, type Connection, type ConnectionHandler, type Frame, type Network } from '../core/network.js';
import { packPlain } from '../protocol/codec.js';
import { FrameDecoder, frameHeadBytes, WireViolation, writeHead } from '../protocol/frame.js';

const gatherBlockBytes = 64 * 1024;
const copiedPayloadBytesMax = 8 * 1024; // below this a copy is cheaper than one more piece in the write
const writeBytesMax = 512 * 1024;
const readBufferBytes = 128 * 1024;
const readInPlaceBytesMax = 256 * 1024;
const readInPlaceBytesMin = 64 * 1024; // less of a payload is taken along with what comes behind it
const roomBytes = limits.replyBytesInFlightMax / 2;
const framesPerTurn = 64; // then others have their turn: no flood on one connection keeps a ping on another waiting
const endWithinMs = 2000; // the other side has so long to take the last frames and close

type OnConnection = (connection: Connection) => ConnectionHandler;

interface Flush {
  readonly atBytes: number;
  call(): void;
}

class TcpConnection implements Connection {
  readonly remoteAddress: Address;
  readonly localAddress: Address;
  readonly #socket: net.Socket;
  readonly #decoder: FrameDecoder;
  #handler: ConnectionHandler | undefined;
  #closed = false;
  #ending = false;
  #endTimer: NodeJS.Timeout | undefined;
  #violated: string | undefined;

  #block = Buffer.allocUnsafeSlow(gatherBlockBytes);
  #blockStart = 0; // of what is gathered and not yet in #pieces
  #blockEnd = 0;
  #pieces: Uint8Array[] = [];
  #flushes: Flush[] = [];
  #drainWaiters: (() => void)[] = [];
  #addedBytes = 0; // since the connection began; so are the two below
  #flushedBytes = 0;
  #isWriting = false;
  #isFlushDue = false;

  #framesThisTurn = 0;
  #isHeld = false; // by whoever takes the frames
  #isResting = false; // until the next turn of the event loop

  constructor(socket: net.Socket) {
    this.#socket = socket;
    this.remoteAddress = formatAddress({ host: plainHost(socket.remoteAddress), port: socket.remotePort ?? 0 });
    this.localAddress = formatAddress({ host: plainHost(socket.localAddress), port: socket.localPort ?? 0 });
    this.#decoder = new FrameDecoder({
      admit: (head, payloadBytes) => this.#handler?.admit(head, payloadBytes),
      onFrame: (frame) => {
        if (this.#closed) return;
        this.#countFrame();
        this.#handler?.onFrame(frame);
      },
    });
  }

  start(onConnection: OnConnection): void {
    const socket = this.#socket;
    socket.setNoDelay(true);
    socket.on('end', () => this.#finish('The other side closed the connection'));
    socket.on('error', (error) => this.#finish(`The connection broke: ${error.message}`));
    socket.on('close', () => this.#finish('The connection closed'));
    this.#handler = onConnection(this);
    if (this.#closed) socket.destroy();
  }

  /** The bytes may be overwritten once this returns. */
  take(chunk: Buffer): void {
    this.#decode(() => this.#decoder.push(chunk));
  }

  /** Where the next bytes may be read into at once: a large payload is under way. */
  room(): Uint8Array | undefined {
    const room = this.#decoder.room(readInPlaceBytesMax);
    return room !== undefined && room.length >= readInPlaceBytesMin ? room : undefined;
  }

  /** So many bytes were read into the room given last. */
  takeInPlace(count: number): void {
    this.#decode(() => this.#decoder.filled(count));
  }

  get queuedBytes(): number {
    return this.#addedBytes - this.#flushedBytes;
  }

  get deliveredBytes(): number {
    return this.#flushedBytes;
  }

  get receivedPayloadBytes(): number {
    return this.#decoder.receivedPayloadBytes;
  }

  send(frame: Frame, onFlushed?: () => void): void {
    if (this.#closed || this.#ending) {
      if (onFlushed) process.nextTick(onFlushed);
      return;
    }
    const header = packPlain(frame.header);
    const payload = frame.payload !== undefined && frame.payload.length > 0 ? frame.payload : undefined;
    const payloadFold = payload ? foldSums(frame.sums ?? blockSums(payload)) : 0n;
    const gathersPayload = payload !== undefined && payload.length <= copiedPayloadBytesMax;
    this.#reserve(frameHeadBytes + header.length + (gathersPayload ? payload.length : 0));
    const start = this.#blockEnd;
    this.#blockEnd = writeHead(frame, { header, payloadFold }, this.#block, start);
    if (gathersPayload) {
      this.#block.set(payload, this.#blockEnd);
      this.#blockEnd += payload.length;
    }
    this.#addedBytes += this.#blockEnd - start;
    if (payload !== undefined && !gathersPayload) this.#addByReference(payload);
    if (onFlushed) this.#flushes.push({ atBytes: this.#addedBytes, call: onFlushed });
    this.#scheduleFlush();
  }

  drained(): Promise<void> {
    if (this.#closed || this.queuedBytes <= roomBytes) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  pauseReading(): void {
    this.#isHeld = true;
    this.#stopReading();
  }

  resumeReading(): void {
    this.#isHeld = false;
    // Not from within the frame that is being handled: frames keep their order.
    process.nextTick(() => this.#resume());
  }

  close(reason: string): void {
    this.#finish(reason);
  }

  end(): void {
    if (this.#closed || this.#ending) return;
    this.#flush();
    this.#ending = true;
    if (!this.#isWriting) this.#socket.end();
    this.#endTimer = setTimeout(() => this.#finish('This side closed the connection'), endWithinMs);
  }

  #countFrame(): void {
    this.#framesThisTurn += 1;
    if (this.#framesThisTurn === 1) setImmediate(() => this.#onNextTurn());
    if (this.#framesThisTurn < framesPerTurn) return;
    this.#isResting = true;
    this.#stopReading();
  }

  #onNextTurn(): void {
    this.#framesThisTurn = 0;
    if (!this.#isResting) return;
    this.#isResting = false;
    this.#resume();
  }

  #stopReading(): void {
    this.#decoder.pause();
    this.#socket.pause();
  }

  #resume(): void {
    if (this.#closed || this.#isHeld || this.#isResting) return;
    this.#decode(() => this.#decoder.resume());
    if (!this.#decoder.isPaused) this.#socket.resume();
  }

  #decode(step: () => void): void {
    if (this.#closed) return;
    try {
      step();
    } catch (error) {
      if (!(error instanceof WireViolation)) throw error;
      this.#violated = error.message;
      this.#finish(error.message);
    }
  }

  #reserve(sizeBytes: number): void {
    if (this.#blockEnd + sizeBytes <= this.#block.length) return;
    this.#sealBlock();
    this.#block = Buffer.allocUnsafeSlow(Math.max(gatherBlockBytes, sizeBytes));
    this.#blockStart = 0;
    this.#blockEnd = 0;
  }

  #sealBlock(): void {
    if (this.#blockEnd > this.#blockStart) this.#pieces.push(this.#block.subarray(this.#blockStart, this.#blockEnd));
    this.#blockStart = this.#blockEnd;
  }

  #addByReference(payload: Uint8Array): void {
    this.#sealBlock();
    for (let start = 0; start < payload.length; start += writeBytesMax) {
      this.#pieces.push(payload.subarray(start, start + writeBytesMax));
    }
    this.#addedBytes += payload.length;
  }

  #scheduleFlush(): void {
    if (this.#isFlushDue || this.#isWriting) return;
    this.#isFlushDue = true;
    process.nextTick(() => {
      this.#isFlushDue = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#isWriting || this.#closed) return;
    this.#sealBlock();
    if (this.#pieces.length === 0) return;
    let sizeBytes = 0;
    let count = 0;
    while (count < this.#pieces.length && (count === 0 || sizeBytes < writeBytesMax)) {
      sizeBytes += (this.#pieces[count] as Uint8Array).length;
      count++;
    }
    const pieces = this.#pieces.splice(0, count);
    this.#isWriting = true;
    if (count > 1) this.#socket.cork();
    pieces.forEach((piece, index) => {
      if (index < count - 1) this.#socket.write(piece);
      else this.#socket.write(piece, () => this.#onWritten(sizeBytes));
    });
    if (count > 1) this.#socket.uncork();
  }

  #onWritten(sizeBytes: number): void {
    this.#isWriting = false;
    if (this.#closed) return;
    this.#flushedBytes += sizeBytes;
    // All that was gathered has left: the block is written from its beginning again.
    if (this.#pieces.length === 0 && this.#blockStart === this.#blockEnd) this.#blockStart = this.#blockEnd = 0;
    while (this.#flushes[0] !== undefined && this.#flushes[0].atBytes <= this.#flushedBytes)
      this.#flushes.shift()?.call();
    if (this.queuedBytes <= roomBytes) this.#wakeDrained();
    this.#flush();
    if (this.#ending && !this.#isWriting) this.#socket.end();
  }

  #wakeDrained(): void {
    const waiters = this.#drainWaiters;
    if (waiters.length === 0) return;
    this.#drainWaiters = [];
    for (const wake of waiters) wake();
  }

  #finish(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#endTimer);
    this.#socket.destroy();
    this.#pieces = [];
    const flushes = this.#flushes;
    this.#flushes = [];
    for (const flush of flushes) flush.call();
    this.#wakeDrained();
    this.#handler?.onClose(reason, this.#violated !== undefined);
  }
}

/** An IPv4 host reached through an IPv6 socket is still an IPv4 host. */
function plainHost(host: string | undefined): string {
  return host?.replace(/^::ffff:(?=\d+\.)/, '') ?? 'unknown';
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

function listenError(address: Address, error: Error): DfsError {
  const code = codeOf(error);
  if (code === 'EADDRINUSE') {
    const advice = 'Stop the program that listens there, or choose another port';
    return new DfsError('failed', `The address ${address} is in use`, { advice, cause: error });
  }
  const meaning = code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' ? 'is not an address of this host' : error.message;
  return new DfsError('invalid', `Cannot listen on ${address}: ${meaning}`, { cause: error });
}

/** What arrives is read into one buffer, of which nothing is kept; a large payload to where it is going to lie. */
function readingFor(connection: () => TcpConnection | undefined): net.OnReadOpts {
  const buffer = Buffer.allocUnsafeSlow(readBufferBytes);
  return {
    buffer: () => connection()?.room() ?? buffer,
    callback: (count, target) => {
      if (target === buffer) connection()?.take(buffer.subarray(0, count));
      else connection()?.takeInPlace(count);
      return true;
    },
  };
}

/**
 * An accepted socket that reads into memory of ours. Node offers that only to whoever connects: what it accepted
 * allocates 64 KiB for each piece that comes in, which made the collector a third of a peer's work. So a socket made
 * with the option takes over the handle, which Node keeps in a property of no official standing; without that it stays
 * as it is.
 */
function readIntoOurs(accepted: net.Socket, connection: () => TcpConnection | undefined): net.Socket {
  const inner = accepted as unknown as { _handle?: unknown };
  const handle = inner._handle;
  if (handle === undefined || handle === null) {
    return accepted.on('data', (chunk) => connection()?.take(chunk)).resume();
  }
  inner._handle = null;
  accepted.destroy();
  return new net.Socket({ handle, onread: readingFor(connection) } as net.SocketConstructorOpts);
}

async function listen(address: Address, onConnection: OnConnection): ReturnType<Network['listen']> {
  const { host, port } = parseAddress(address);
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ pauseOnConnect: true }, (accepted) => {
    let connection: TcpConnection | undefined;
    const socket = readIntoOurs(accepted, () => connection);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    connection = new TcpConnection(socket);
    connection.start(onConnection);
  });
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenError(address, error)));
    server.listen({ host, port }, () => {
      const bound = server.address() as net.AddressInfo;
      resolve({ address: formatAddress({ host: bound.address, port: bound.port }), close });
    });
  });
}

function connect(
  address: Address,
  onConnection: OnConnection,
  options: { timeoutMs: number },
): ReturnType<Network['connect']> {
  return new Promise((resolve, reject) => {
    const { host, port } = parseConnectAddress(address);
    let connection: TcpConnection | undefined;
    const onread = readingFor(() => connection);
    const socket = net.connect({ host, port, noDelay: true, onread });
    const fail = (message: string, refused: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new ConnectFailure(message, refused));
    };
    const timer = setTimeout(() => {
      fail(`${address} did not answer within ${options.timeoutMs} ms`, false);
    }, options.timeoutMs);
    const onError = (error: Error): void => {
      const refused = codeOf(error) === 'ECONNREFUSED';
      fail(refused ? `Nobody listens on ${address}` : `Cannot connect to ${address}: ${error.message}`, refused);
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', onError);
      connection = new TcpConnection(socket);
      connection.start(onConnection);
      resolve(connection);
    });
  });
}

function parseConnectAddress(address: Address): { host: string; port: number } {
  try {
    const parsed = parseAddress(address);
    return parsed.port === 0 ? refuse('invalid', `Port 0 in "${address}" cannot be connected to`) : parsed;
  } catch (error) {
    throw new ConnectFailure(error instanceof Error ? error.message : String(error), false);
  }
}

export const tcpNetwork: Network = { listen, connect };
