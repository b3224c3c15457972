/**
 * One end of a simulated connection, with the way to the other end: what was sent and has not arrived, and what has
 * arrived and was not read.
 *
 * As with TCP: what is sent in one go arrives in one go, in order; a cut link only delays it, the longer the cut the
 * longer after its healing, so that an old connection may speak up when a newer one is in use already.
 */
import { parseAddress } from '../../../src/core/address.js';
import type { Address } from '../../../src/core/ids.js';
import { limits } from '../../../src/core/limits.js';
import type { Connection, ConnectionHandler, Frame } from '../../../src/core/network.js';
import { FrameDecoder, WireViolation } from '../../../src/protocol/frame.js';
import type { Seeded } from '../../contract/seeded.js';
import { type Batch, chunksOf, copyFrame, encodeFrame, type FrameItem, type Item } from './frame-passing.js';
import type { SimNetwork } from './network.js';
import type { SimProcess } from './virtual-clock.js';

export interface EndpointOptions {
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  /** The connection's own. */
  readonly chance: Seeded;
  /** The other end need not keep to the protocol, so what it sends are bytes. */
  readonly isOfStranger?: boolean;
}

const headBytes = 100;
const gatheredBytesMax = 8 * 1024;
const roomBytes = (): number => limits.replyBytesInFlightMax / 2;
const retransmitMs = 200;
/** A sender waits for about as long as the cut has lasted before it tries again, up to this. */
const retransmitMsMax = 8000;
const progressEveryMs = 500;
const endWithinMs = 2000;

const closedByOther = 'The other side closed the connection';
const resetByOther = 'The connection was reset by the other side';

export class Endpoint implements Connection {
  readonly localAddress: Address;
  readonly remoteAddress: Address;
  readonly host: string;
  readonly remoteHost: string;
  readonly process: SimProcess;
  readonly #network: SimNetwork;
  readonly #chance: Seeded;
  readonly #isOfStranger: boolean;
  #other: Endpoint | undefined;
  #handler: ConnectionHandler | undefined;
  readonly #decoder: FrameDecoder | undefined;
  /** Sent by this end, not yet at the other host. */
  readonly #underWay: Batch[] = [];
  #lastArrivalMs = 0;
  /** Since when the first batch under way waits for a cut link. */
  #stalledSinceMs: number | undefined;
  #retransmitAtMs = 0;
  /** At this host, not yet taken by the program. */
  readonly #arrived: Item[] = [];
  #isReadDue = false;
  #isPaused = false;
  #isClosed = false;
  #isEnding = false;
  /** The host still answers for the closed connection. */
  #isGone = false;
  queuedBytes = 0;
  #takenBytes = 0;
  #readPayloadBytes = 0;
  /** Of a large transfer still under way: to the other end, from the other end. */
  #sentPartBytes = 0;
  #receivedPartBytes = 0;
  #drainWaiters: (() => void)[] = [];

  constructor(network: SimNetwork, process: SimProcess, options: EndpointOptions) {
    this.#network = network;
    this.process = process;
    this.localAddress = options.localAddress;
    this.remoteAddress = options.remoteAddress;
    this.host = parseAddress(options.localAddress).host;
    this.remoteHost = parseAddress(options.remoteAddress).host;
    this.#chance = options.chance;
    this.#isOfStranger = options.isOfStranger === true;
    if (network.carriesBytes(this)) {
      this.#decoder = new FrameDecoder({
        admit: (head, payloadBytes) => this.#handler?.admit(head, payloadBytes),
        onFrame: (frame) => {
          if (!this.#isClosed) this.#handler?.onFrame(frame);
        },
      });
    }
    network.onOpened(this);
  }

  connectTo(other: Endpoint): void {
    this.#other = other;
  }

  setHandler(handler: ConnectionHandler): void {
    this.#handler = handler;
    if (this.#arrived.length > 0) this.#readSoon();
  }

  // --- As the program sees it ----------------------------------------------------------------------------------------

  get deliveredBytes(): number {
    return this.#takenBytes + this.#sentPartBytes;
  }

  get receivedPayloadBytes(): number {
    return (this.#decoder?.receivedPayloadBytes ?? this.#readPayloadBytes) + this.#receivedPartBytes;
  }

  send(frame: Frame, onFlushed?: () => void): void {
    if (this.#isClosed || this.#isEnding) {
      if (onFlushed) this.#network.world.schedule(0, onFlushed, { process: this.process });
      return;
    }
    const content = this.#decoder === undefined ? copyFrame(frame) : encodeFrame(frame);
    const sizeBytes = headBytes + (frame.payload?.length ?? 0);
    this.#network.world.note(frame.kind, frame.requestId, sizeBytes);
    this.queuedBytes += sizeBytes;
    this.#post({ kind: 'frame', content, sizeBytes, onFlushed }, sizeBytes);
  }

  /** What need be no frame, from a stranger. */
  sendBytes(content: Buffer): void {
    if (this.#isClosed || this.#isEnding) return;
    this.queuedBytes += content.length;
    this.#post({ kind: 'frame', content, sizeBytes: content.length, onFlushed: undefined }, content.length);
  }

  drained(): Promise<void> {
    if (this.#isClosed || this.queuedBytes <= roomBytes()) return Promise.resolve();
    return new Promise((resolve) => this.#drainWaiters.push(resolve));
  }

  pauseReading(): void {
    this.#isPaused = true;
    this.#decoder?.pause();
  }

  resumeReading(): void {
    this.#isPaused = false;
    if (this.#arrived.length > 0 || this.#decoder?.isPaused) this.#readSoon();
  }

  close(reason: string): void {
    if (!this.#isClosed) this.#close(reason, false);
  }

  end(): void {
    if (this.#isClosed || this.#isEnding) return;
    this.#isEnding = true;
    this.#post({ kind: 'end', reason: closedByOther });
    const finish = (): void => this.#finish('This side closed the connection', false);
    this.#network.world.schedule(this.#chance.between(0, endWithinMs), finish, { process: this.process });
  }

  // --- As the network sees it ----------------------------------------------------------------------------------------

  /** A link was healed, or a host is up again: what waits is sent again at the sender's next attempt. */
  retry(): void {
    const { world } = this.#network;
    if (this.#stalledSinceMs === undefined || this.#retransmitAtMs > world.nowMs) return;
    if (!this.#network.isOpen(this.host, this.remoteHost)) return;
    const waitedMs = world.nowMs - this.#stalledSinceMs;
    const delayMs = this.#chance.between(0, Math.min(retransmitMs + waitedMs, retransmitMsMax));
    this.#retransmitAtMs = world.nowMs + delayMs;
    world.schedule(delayMs, () => this.#advance());
  }

  /** Ends the connection for both sides, each in its own time; what is under way may still arrive. */
  breakBoth(reason: string): void {
    for (const end of [this, this.#other]) {
      if (end === undefined) continue;
      if (this.#chance.isLikely(0.5)) end.#dropUnderWay();
      const delayMs = this.#chance.isLikely(0.5) ? 0 : this.#chance.between(0, 50);
      this.#network.world.schedule(delayMs, () => end.#finish(reason, false), { process: end.process });
    }
  }

  /** Segments are lost: what is under way, and what follows, arrives so much later. */
  stall(forMs: number): void {
    this.#retransmitAtMs = Math.max(this.#retransmitAtMs, this.#network.world.nowMs + forMs);
    this.#network.world.schedule(forMs, () => this.#advance());
  }

  /** Ends the connection for this side alone; what is under way still arrives. */
  breakHere(reason: string): void {
    if (!this.#isClosed) this.#post({ kind: 'end', reason: resetByOther });
    this.#finish(reason, false);
  }

  onProcessDied(): void {
    this.#isClosed = true;
    this.#isGone = true;
    this.#arrived.length = 0;
    if (this.#network.isDown(this.host)) {
      this.#underWay.length = 0;
      this.#network.onGone(this);
      return;
    }
    this.#underWay.length = this.#chance.below(this.#underWay.length + 1);
    this.#post({ kind: 'end', reason: resetByOther });
  }

  /** With what was sent in the same event and has not left yet, or on its own. */
  #post(item: Item, sizeBytes = 0): void {
    const { world } = this.#network;
    const last = this.#underWay.at(-1);
    const isSameGo = last?.sentInEvent === world.eventCount && !last.isDue && sizeBytes < gatheredBytesMax;
    if (isSameGo && !this.#chance.isLikely(0.1)) {
      last.items.push(item);
      return;
    }
    const batch: Batch = { items: [item], sentInEvent: world.eventCount, isDue: false };
    this.#underWay.push(batch);
    const leavesMs = Math.max(this.#lastArrivalMs, world.nowMs + this.#network.delayMs(this.#chance));
    this.#lastArrivalMs = this.#network.transferEndMs(this.host, this.remoteHost, { sizeBytes, fromMs: leavesMs });
    this.#reportProgress(sizeBytes, leavesMs);
    world.schedule(this.#lastArrivalMs - world.nowMs, () => {
      batch.isDue = true;
      this.#advance();
    });
  }

  /** A large transfer over a slow link shows both sides that it goes on. */
  #reportProgress(sizeBytes: number, fromMs: number): void {
    const { world } = this.#network;
    const lastsMs = this.#lastArrivalMs - fromMs;
    const partBytes = Math.floor((sizeBytes * progressEveryMs) / lastsMs);
    for (let afterMs = progressEveryMs; afterMs < lastsMs; afterMs += progressEveryMs) {
      world.schedule(fromMs - world.nowMs + afterMs, () => {
        if (this.#underWay.length === 0 || !this.#network.isOpen(this.host, this.remoteHost)) return;
        this.#sentPartBytes += partBytes;
        if (this.#other !== undefined) this.#other.#receivedPartBytes += partBytes;
      });
    }
  }

  #advance(): void {
    const { world } = this.#network;
    for (let batch = this.#underWay[0]; batch?.isDue; batch = this.#underWay[0]) {
      if (!this.#network.isOpen(this.host, this.remoteHost)) {
        this.#stalledSinceMs ??= world.nowMs;
        return;
      }
      if (world.nowMs < this.#retransmitAtMs) return;
      this.#stalledSinceMs = undefined;
      this.#underWay.shift();
      this.#sentPartBytes = 0;
      const other = this.#other;
      if (other === undefined || other.#isGone) this.#onReset();
      else other.#arrive(batch.items);
    }
    if (this.#isClosed && this.#underWay.length === 0) this.#network.onGone(this);
  }

  /** The other host knows nothing of this connection. */
  #onReset(): void {
    this.#dropUnderWay();
    if (this.#isClosed) return;
    const delayMs = this.#network.delayMs(this.#chance);
    this.#network.world.schedule(delayMs, () => this.#finish(resetByOther, false), { process: this.process });
  }

  #arrive(items: readonly Item[]): void {
    this.#receivedPartBytes = 0;
    if (this.#isClosed) {
      for (const item of items) this.#taken(item);
      return;
    }
    this.#arrived.push(...items);
    if (this.#isReadDue || this.#handler === undefined) return;
    // A program that runs reads at once; one that is paused finds the socket readable when it goes on.
    if (!this.#network.world.enter(this.process, () => this.#read())) this.#readSoon();
  }

  #readSoon(): void {
    if (this.#isReadDue || this.#isClosed) return;
    this.#isReadDue = true;
    const read = (): void => {
      this.#isReadDue = false;
      this.#read();
    };
    this.#network.world.schedule(0, read, { process: this.process });
  }

  /** All there is, or part of it first: as the chunks of a stream may fall. */
  #read(): void {
    const handler = this.#handler;
    if (handler === undefined || this.#isPaused || this.#isClosed) return;
    if (this.#decoder?.isPaused) this.#decode(this.#decoder, []);
    if (this.#isPaused || this.#isClosed) return;
    let count = this.#arrived.length;
    if (count > 1 && this.#chance.isLikely(0.3)) count = 1 + this.#chance.below(count - 1);
    if (this.#decoder === undefined) this.#readFrames(count, handler);
    else this.#readBytes(count, this.#decoder);
    if (this.#arrived.length > 0 && !this.#isPaused) this.#readSoon();
  }

  #readFrames(count: number, handler: ConnectionHandler): void {
    for (let rest = count; rest > 0; rest--) {
      if (this.#isPaused || this.#isClosed) return;
      const item = this.#arrived.shift();
      if (item === undefined) return;
      if (item.kind === 'end') {
        this.#finish(item.reason, false);
        return;
      }
      this.#takeFrame(item.content as Frame, handler);
      this.#taken(item);
    }
  }

  #takeFrame(frame: Frame, handler: ConnectionHandler): void {
    const payloadBytes = frame.payload?.length ?? 0;
    const violation = handler.admit(frame, payloadBytes);
    if (violation !== undefined) {
      this.#onViolation(violation);
      return;
    }
    this.#readPayloadBytes += payloadBytes;
    handler.onFrame(frame);
  }

  #readBytes(count: number, decoder: FrameDecoder): void {
    const items = this.#arrived.splice(0, count);
    const frames = items.filter((item) => item.kind === 'frame');
    for (const item of frames) this.#taken(item);
    const pieces = frames.map(({ content }) => content as Buffer);
    this.#decode(decoder, pieces);
    const end = items.find((item) => item.kind === 'end');
    if (end === undefined || this.#isClosed) return;
    // What a paused decoder holds stands before the end.
    if (this.#isPaused) this.#arrived.unshift(end);
    else this.#finish(end.reason, false);
  }

  #decode(decoder: FrameDecoder, pieces: readonly Buffer[]): void {
    try {
      if (decoder.isPaused) decoder.resume();
      if (pieces.length === 0) return;
      for (const chunk of chunksOf(pieces, this.#chance)) if (!this.#isClosed) decoder.push(chunk);
    } catch (error) {
      if (!(error instanceof WireViolation)) throw error;
      this.#onViolation(error.message);
    }
  }

  #onViolation(violation: string): void {
    // The frame before closed the connection: a session that is over admits nothing.
    if (this.#isClosed) return;
    const text = `${this.process.name} closes a connection: ${violation}`;
    if (!this.#isOfStranger) this.#network.world.complaints.push(text);
    this.#close(violation, true);
  }

  #close(reason: string, isViolation: boolean): void {
    // What the kernel has taken may still arrive, or the reset overtakes it.
    if (this.#chance.isLikely(0.5)) this.#dropUnderWay();
    this.#post({ kind: 'end', reason: closedByOther });
    this.#finish(reason, isViolation);
  }

  #dropUnderWay(): void {
    for (const { items } of this.#underWay.splice(0)) for (const item of items) this.#flushed(item);
  }

  #flushed(item: Item): void {
    if (item.kind === 'end' || item.onFlushed === undefined) return;
    this.#network.world.schedule(0, item.onFlushed, { process: this.process });
  }

  #taken(item: Item): void {
    if (item.kind === 'frame' && this.#other !== undefined) this.#other.#onTaken(item);
  }

  #onTaken(item: FrameItem): void {
    if (this.#isClosed) return;
    this.queuedBytes -= item.sizeBytes;
    this.#takenBytes += item.sizeBytes;
    this.#flushed(item);
    if (this.queuedBytes <= roomBytes()) this.#wakeDrained();
  }

  #wakeDrained(): void {
    for (const wake of this.#drainWaiters.splice(0)) this.#network.world.schedule(0, wake, { process: this.process });
  }

  #finish(reason: string, isViolation: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isGone = true;
    for (const { items } of this.#underWay) for (const item of items) this.#flushed(item);
    for (const item of this.#arrived.splice(0)) this.#taken(item);
    this.#wakeDrained();
    this.#handler?.onClose(reason, isViolation);
    if (this.#underWay.length === 0) this.#network.onGone(this);
  }
}
