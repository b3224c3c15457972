/**
 * Who this peer is, as its data folder says and its hellos repeat.
 */
import type { ClusterId, PeerId, StoreId } from '../core/ids.js';

export class Identity {
  readonly storeId: StoreId;
  /** Rises with every start of the process on this folder. */
  readonly incarnation: number;
  #clusterId: ClusterId | undefined;
  #peerId: PeerId | undefined;
  #generation = 0;

  constructor(of: { storeId: StoreId; incarnation: number; clusterId?: ClusterId; peerId?: PeerId }) {
    this.storeId = of.storeId;
    this.incarnation = of.incarnation;
    this.#clusterId = of.clusterId;
    this.#peerId = of.peerId;
  }

  get clusterId(): ClusterId | undefined {
    return this.#clusterId;
  }

  /** Undefined until a master has given one. */
  get peerId(): PeerId | undefined {
    return this.#peerId;
  }

  onJoined(clusterId: ClusterId, peerId: PeerId): void {
    this.#clusterId = clusterId;
    this.#peerId = peerId;
  }

  /** Of a connection; a newer one closes the older, unread bytes and all (rule F7). */
  nextGeneration(): number {
    return ++this.#generation;
  }

  /** The fields of a hello or its reply. */
  named(): { clusterId?: ClusterId; peerId?: PeerId; storeId: StoreId; incarnation: number } {
    return {
      ...(this.#clusterId === undefined ? {} : { clusterId: this.#clusterId }),
      ...(this.#peerId === undefined ? {} : { peerId: this.#peerId }),
      storeId: this.storeId,
      incarnation: this.incarnation,
    };
  }
}
