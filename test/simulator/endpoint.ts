/**
 * One end of a simulated connection, with the way to the other end: what was sent and has not arrived, and what has
 * arrived and was not read.
 */
import { blockSums, foldSums } from '../../src/core/checksum.js';
import type { Address } from '../../src/core/ids.js';
import type { Connection, ConnectionHandler, Frame } from '../../src/core/network.js';
import { packPlain, unpackPlain } from '../../src/protocol/codec.js';
import type { Seeded } from '../contract/seeded.js';
import type { SimNetwork } from './network.js';
import type { SimProcess } from './virtual-clock.js';

type Item =
  | { readonly kind: 'frame'; readonly frame: Frame; readonly sizeBytes: number; readonly onFlushed?: () => void }
  | { readonly kind: 'end'; readonly reason: string };

export interface EndpointOptions {
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  /** The connection's own. */
  readonly chance: Seeded;
}

const headBytes = 100;
const retransmitMaxMs = 200;
const bytesPerMs = 100_000;

export class Endpoint implements Connection {
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  readonly process: SimProcess;
  readonly #network: SimNetwork;
  readonly #chance: Seeded;
  #other: Endpoint | undefined;
  #handler: ConnectionHandler | undefined;
  /** Sent by this end, not yet at the other host. */
  readonly #underWay: Item[] = [];
  #isMoving = false;
  /** At this host, not yet taken by the program. */
  readonly #arrived: Item[] = [];
  #isReadDue = false;
  #isPaused = false;
  #isClosed = false;
  #isEnding = false;
  /** The host still answers for the closed connection. */
  #isGone = false;
  queuedBytes = 0;
  deliveredBytes = 0;
  receivedPayloadBytes = 0;
  #drainWaiters: (() => void)[] = [];

  constructor(network: SimNetwork, process: SimProcess, options: EndpointOptions) {
    this.#network = network;
    this.process = process;
    this.localAddress = options.localAddress;
    this.remoteAddress = options.remoteAddress;
    this.#chance = options.chance;
    network.onOpened(this);
  }

  get host(): string {
    return hostOf(this.localAddress);
  }

  get remoteHost(): string {
    return hostOf(this.remoteAddress);
  }

  connectTo(other: Endpoint): void {
    this.#other = other;
  }

  setHandler(handler: ConnectionHandler): void {
    this.#handler = handler;
    this.#readSoon();
  }

  // --- As the program sees it ----------------------------------------------------------------------------------------

  send(frame: Frame, onFlushed?: () => void): void {
    if (this.#isClosed || this.#isEnding) {
      if (onFlushed) this.#network.world.schedule(0, onFlushed, { process: this.process });
      return;
    }
    const sizeBytes = headBytes + (frame.payload?.length ?? 0);
    this.#network.world.note(frame.kind, frame.requestId, sizeBytes);
    this.queuedBytes += sizeBytes;
    const item = { kind: 'frame', frame: asArrived(frame), sizeBytes } as const;
    this.#underWay.push(onFlushed === undefined ? item : { ...item, onFlushed });
    this.#move();
  }

  drained(): Promise<void> {
    if (this.#isClosed || this.queuedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  pauseReading(): void {
    this.#isPaused = true;
  }

  resumeReading(): void {
    this.#isPaused = false;
    this.#readSoon();
  }

  close(reason: string): void {
    if (this.#isClosed) return;
    // What the kernel has taken may still arrive, or the reset overtakes it.
    if (this.#chance.isLikely(0.5)) this.#underWay.length = 0;
    this.#underWay.push({ kind: 'end', reason: 'The other side closed the connection' });
    this.#move();
    this.#finish(reason);
  }

  end(): void {
    if (this.#isClosed || this.#isEnding) return;
    this.#isEnding = true;
    this.#underWay.push({ kind: 'end', reason: 'The other side closed the connection' });
    this.#move();
    this.#network.world.schedule(5, () => this.#finish('This side closed the connection'), { process: this.process });
  }

  // --- As the network sees it ----------------------------------------------------------------------------------------

  /** A link was healed, or a host is up again. */
  retry(): void {
    if (this.#isMoving || this.#underWay.length === 0) return;
    this.#move(this.#chance.between(0, retransmitMaxMs));
  }

  breakBoth(reason: string): void {
    for (const end of [this, this.#other]) {
      if (end === undefined) continue;
      end.#underWay.length = 0;
      end.#arrived.length = 0;
      this.#network.world.schedule(0, () => end.#finish(reason), { process: end.process });
    }
  }

  onProcessDied(): void {
    this.#isClosed = true;
    this.#isGone = true;
    this.#arrived.length = 0;
    if (this.#network.isDown(this.host)) {
      this.#underWay.length = 0;
      return;
    }
    const kept = this.#chance.below(this.#underWay.length + 1);
    this.#underWay.length = kept;
    this.#underWay.push({ kind: 'end', reason: 'The connection was reset by the other side' });
    this.#move();
  }

  #move(delayMs = this.#network.delayMs(this.#chance)): void {
    const [next] = this.#underWay;
    if (this.#isMoving || next === undefined) return;
    this.#isMoving = true;
    const transferMs = next.kind === 'frame' ? next.sizeBytes / bytesPerMs : 0;
    this.#network.world.schedule(delayMs + transferMs, () => {
      this.#isMoving = false;
      this.#arriveNext();
    });
  }

  #arriveNext(): void {
    const other = this.#other;
    if (other === undefined || !this.#network.isOpen(this.host, this.remoteHost)) return;
    const item = this.#underWay.shift();
    if (item === undefined) return;
    if (other.#isGone) this.#onReset();
    else other.#arrive(item);
    this.#move();
  }

  /** The other host knows nothing of this connection. */
  #onReset(): void {
    this.#underWay.length = 0;
    if (this.#isClosed) {
      this.#network.onGone(this);
      return;
    }
    this.#network.world.schedule(
      this.#network.delayMs(this.#chance),
      () => this.#finish('The connection was reset by the other side'),
      { process: this.process },
    );
  }

  #arrive(item: Item): void {
    if (this.#isClosed) this.#taken(item);
    else {
      this.#arrived.push(item);
      this.#readSoon();
    }
  }

  #readSoon(): void {
    if (this.#isReadDue || this.#isClosed) return;
    this.#isReadDue = true;
    this.#network.world.schedule(0, () => this.#read(), { process: this.process });
  }

  /** One frame, or all there are: as the chunks of a stream may fall. */
  #read(): void {
    this.#isReadDue = false;
    const isWhole = this.#chance.isLikely(0.5);
    do {
      if (this.#isPaused || this.#isClosed || this.#handler === undefined) return;
      const item = this.#arrived.shift();
      if (item === undefined) return;
      this.#take(item, this.#handler);
      this.#taken(item);
    } while (isWhole);
    if (this.#arrived.length > 0) this.#readSoon();
  }

  #take(item: Item, handler: ConnectionHandler): void {
    if (item.kind === 'end') {
      this.#finish(item.reason);
      return;
    }
    const { payload, sums: _computed, ...head } = item.frame;
    const violation = handler.admit(head, payload?.length ?? 0);
    if (violation !== undefined) {
      this.#network.world.complaints.push(`${this.process.name} closes a connection: ${violation}`);
      this.close(violation);
      return;
    }
    this.receivedPayloadBytes += payload?.length ?? 0;
    handler.onFrame(item.frame);
  }

  #taken(item: Item): void {
    if (item.kind === 'frame' && this.#other !== undefined) this.#other.#onTaken(item);
  }

  #onTaken(item: Item & { kind: 'frame' }): void {
    if (this.#isClosed) return;
    this.queuedBytes -= item.sizeBytes;
    this.deliveredBytes += item.sizeBytes;
    const { onFlushed } = item;
    if (onFlushed !== undefined) this.#network.world.schedule(0, onFlushed, { process: this.process });
    if (this.queuedBytes === 0) this.#wakeDrained();
  }

  #wakeDrained(): void {
    for (const wake of this.#drainWaiters.splice(0)) {
      this.#network.world.schedule(0, wake, { process: this.process });
    }
  }

  #finish(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isGone = true;
    for (const item of this.#underWay) {
      if (item.kind === 'frame' && item.onFlushed !== undefined) {
        this.#network.world.schedule(0, item.onFlushed, { process: this.process });
      }
    }
    for (const item of this.#arrived.splice(0)) this.#taken(item);
    this.#wakeDrained();
    this.#handler?.onClose(reason, false);
    if (this.#underWay.length === 0) this.#network.onGone(this);
  }
}

function hostOf(address: Address): string {
  return address.slice(0, address.lastIndexOf(':'));
}

/** As the bytes would make it: a plain header, a payload of its own, computed sums. */
function asArrived(frame: Frame): Frame {
  const header = unpackPlain(new Uint8Array(packPlain(frame.header)));
  if (!frame.payload?.length) return { ...frame, header, payload: undefined, sums: undefined };
  const sums = blockSums(frame.payload);
  const damaged = frame.sums !== undefined && foldSums(frame.sums) !== foldSums(sums);
  return { ...frame, header, payload: frame.payload.slice(), sums, damaged };
}
