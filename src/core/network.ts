/**
 * Connections that carry frames in order, as the programs see them.
 *
 * The real ones (src/io/tcp.ts) encode frames to bytes; the simulator passes them by value. A frame's header is plain
 * data; its payload is raw bytes with one xxh64 per 64 KiB block, computed where the bytes land.
 */
import type { Address } from './ids.js';

export type FrameType = 'request' | 'reply' | 'refusal' | 'cancel' | 'ask-credit' | 'credit' | 'keep-alive';

export interface Frame {
  readonly type: FrameType;
  /** Index into the table of messages; 0 for frames that are not messages. */
  readonly kind: number;
  /** Unique among the requests of one direction of one connection; a reply repeats it. */
  readonly requestId: number;
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Uint8Array | undefined;
  /**
   * Outgoing: the block checksums to announce (from where the bytes were first checksummed), or undefined to have them
   * computed. Incoming: those computed over what arrived. 8 bytes a block, big endian.
   */
  readonly sums: Uint8Array | undefined;
  /** Incoming only: the payload does not match the announced checksum. The connection itself is fine. */
  readonly damaged?: boolean;
}

export interface Connection {
  readonly remoteAddress: Address;
  readonly localAddress: Address;
  /**
   * Queues a frame. `onFlushed` is called when its bytes have left this process, or the connection has closed: from
   * then on the payload's memory may be used again. A network within a process copies it.
   */
  send(frame: Frame, onFlushed?: () => void): void;
  /** Bytes queued and not yet taken by the other side's reader. */
  readonly queuedBytes: number;
  /** Bytes of frames that have left this process since the connection began: shows that the other side takes them. */
  readonly deliveredBytes: number;
  /** Payload bytes that have arrived so far, those of a frame still under way included: shows progress. */
  readonly receivedPayloadBytes: number;
  /** Resolves when the queue has room again (at once when it has), or the connection has closed. */
  drained(): Promise<void>;
  /** No frame is handed over between this and `resumeReading`, also none that has arrived already. */
  pauseReading(): void;
  resumeReading(): void;
  /** Closes at once; frames not yet delivered, either way, are gone. */
  close(reason: string): void;
  /** Sends what is queued, then closes. */
  end(): void;
}

export interface ConnectionHandler {
  onFrame(frame: Frame): void;
  /**
   * Judges a frame by its header before its payload is allocated: a sentence to close the connection with, or
   * undefined to go on.
   */
  admit(frame: Omit<Frame, 'payload' | 'sums'>, payloadBytes: number): string | undefined;
  /** Called once; `reason` says why, for people. `isViolation`: the other side broke the protocol. */
  onClose(reason: string, isViolation: boolean): void;
}

export interface Listener {
  readonly address: Address;
  close(): Promise<void>;
}

export class ConnectFailure extends Error {
  override name = 'ConnectFailure';
  /** True when the host answered that nobody listens: the process is gone. False for silence. */
  readonly refused: boolean;

  constructor(message: string, refused: boolean) {
    super(message);
    this.refused = refused;
  }
}

export interface Network {
  listen(address: Address, onConnection: (connection: Connection) => ConnectionHandler): Promise<Listener>;
  /** Throws ConnectFailure. */
  connect(
    address: Address,
    onConnection: (connection: Connection) => ConnectionHandler,
    options: { timeoutMs: number },
  ): Promise<Connection>;
}
