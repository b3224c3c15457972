/**
 * A network within the process for unit tests: frames travel by value, one turn of the event loop later, in order.
 */
import { blockSums, foldSums } from '../../src/core/checksum.js';
import type { Address } from '../../src/core/ids.js';
import {
  ConnectFailure,
  type Connection,
  type ConnectionHandler,
  type Frame,
  type Network,
} from '../../src/core/network.js';
import { packPlain, unpackPlain } from '../../src/protocol/codec.js';

type OnConnection = (connection: Connection) => ConnectionHandler;

class MemoryConnection implements Connection {
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  other: MemoryConnection | undefined;
  handler: ConnectionHandler | undefined;
  queuedBytes = 0;
  deliveredBytes = 0;
  receivedPayloadBytes = 0;
  isMute = (): boolean => false;
  #paused = false;
  #closed = false;
  #arrived: { frame: Frame; onTaken: () => void }[] = [];
  #drainWaiters: (() => void)[] = [];

  constructor(localAddress: Address, remoteAddress: Address) {
    this.localAddress = localAddress;
    this.remoteAddress = remoteAddress;
  }

  send(frame: Frame, onFlushed?: () => void): void {
    if (this.#closed) {
      if (onFlushed) setImmediate(onFlushed);
      return;
    }
    const sizeBytes = 100 + (frame.payload?.length ?? 0);
    this.queuedBytes += sizeBytes;
    const copy = copyOf(frame);
    setImmediate(() => {
      if (this.isMute()) return;
      this.other?.arrive(copy, () => {
        this.queuedBytes -= sizeBytes;
        this.deliveredBytes += sizeBytes;
        onFlushed?.();
        if (this.queuedBytes === 0) for (const wake of this.#drainWaiters.splice(0)) wake();
      });
    });
  }

  arrive(frame: Frame, onTaken: () => void): void {
    if (this.#closed) onTaken();
    else this.#arrived.push({ frame, onTaken });
    this.#deliver();
  }

  drained(): Promise<void> {
    if (this.#closed || this.queuedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  pauseReading(): void {
    this.#paused = true;
  }

  resumeReading(): void {
    this.#paused = false;
    setImmediate(() => this.#deliver());
  }

  close(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { onTaken } of this.#arrived.splice(0)) onTaken();
    for (const wake of this.#drainWaiters.splice(0)) wake();
    this.handler?.onClose(reason, false);
    setImmediate(() => this.other?.close('The other side closed the connection'));
  }

  end(): void {
    setImmediate(() => this.close('This side closed the connection'));
  }

  #deliver(): void {
    while (!this.#paused && !this.#closed) {
      const next = this.#arrived.shift();
      if (!next) return;
      const { payload, sums: _, ...head } = next.frame;
      const reason = this.handler?.admit(head, payload?.length ?? 0);
      if (reason !== undefined) {
        this.close(reason);
        return;
      }
      this.receivedPayloadBytes += payload?.length ?? 0;
      this.handler?.onFrame(next.frame);
      next.onTaken();
    }
  }
}

/** As the bytes would make it: plain header, own payload, computed sums. */
function copyOf(frame: Frame): Frame {
  const header = unpackPlain(new Uint8Array(packPlain(frame.header)));
  if (!frame.payload?.length) return { ...frame, header, payload: undefined, sums: undefined };
  const sums = blockSums(frame.payload);
  const damaged = frame.sums !== undefined && foldSums(frame.sums) !== foldSums(sums);
  return { ...frame, header, payload: frame.payload.slice(), sums, damaged };
}

export class MemoryNetwork implements Network {
  readonly #listeners = new Map<Address, OnConnection>();
  readonly #connections = new Map<Address, Set<MemoryConnection>>();
  #nextPort = 50_000;
  /** While true, whatever is sent gets lost and nobody is told. */
  isMute = false;

  async listen(address: Address, onConnection: OnConnection): ReturnType<Network['listen']> {
    const bound = address.endsWith(':0') ? address.replace(/0$/, String(this.#nextPort++)) : address;
    this.#listeners.set(bound, onConnection);
    return {
      address: bound,
      close: async () => {
        this.#listeners.delete(bound);
        this.cut(bound);
      },
    };
  }

  async connect(address: Address, onConnection: OnConnection, _options: { timeoutMs: number }): Promise<Connection> {
    await new Promise(setImmediate);
    const onAccepted = this.#listeners.get(address);
    if (!onAccepted) throw new ConnectFailure(`Nobody listens on ${address}`, true);
    const from = `127.0.0.1:${this.#nextPort++}`;
    const caller = new MemoryConnection(from, address);
    const called = new MemoryConnection(address, from);
    caller.isMute = () => this.isMute;
    called.isMute = () => this.isMute;
    caller.other = called;
    called.other = caller;
    const known = this.#connections.get(address) ?? new Set();
    this.#connections.set(address, known.add(called));
    called.handler = onAccepted(called);
    caller.handler = onConnection(caller);
    return caller;
  }

  /** Breaks every connection made to this address. */
  cut(address: Address): void {
    for (const connection of this.#connections.get(address) ?? []) connection.close('The network was cut');
    this.#connections.delete(address);
  }
}
