/**
 * What an operator asks of the cluster, by way of its master.
 */
import type { PeerId } from '../core/ids.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import type { MasterCaller } from './master-caller.js';
import type { Patience } from './patience.js';
import type { CallOptions, ClusterChange, WhatIf } from './results.js';

export type PeerOperation = RequestOf<'change-peer'>['op'];

export interface ChangeClusterOptions extends CallOptions {
  /** Only tell what would be moved. */
  readonly dryRun?: boolean;
}

export interface ChangePeerOptions extends ChangeClusterOptions {
  /** With the operation `set`. */
  readonly weight?: number;
  readonly zone?: string;
}

export interface ClusterSettings {
  readonly replicas?: number;
  readonly minInSync?: number;
  /** Of copies being made, by each peer that sends them; 0: as fast as they go. */
  readonly repairBytesPerSecond?: number;
  readonly movesPaused?: boolean;
}

export class ClusterOperations {
  readonly #master: MasterCaller;
  readonly #newPatience: (options: CallOptions) => Patience;

  constructor(master: MasterCaller, newPatience: (options: CallOptions) => Patience) {
    this.#master = master;
    this.#newPatience = newPatience;
  }

  /** Throws DfsError: `not-found`, `invalid`, `conflict` (it would cost the only copy of something), … */
  changePeer(peer: PeerId, op: PeerOperation, options: ChangePeerOptions = {}): Promise<ClusterChange> {
    const { weight, zone, dryRun = false } = options;
    const place = { ...(weight === undefined ? {} : { weight }), ...(zone === undefined ? {} : { zone }) };
    return this.#ask('change-peer', { peer, op, ...place, dryRun }, options);
  }

  /** Throws `invalid` for settings that cannot hold together. */
  changeCluster(settings: ClusterSettings, options: ChangeClusterOptions = {}): Promise<ClusterChange> {
    return this.#ask('change-cluster', { ...settings, dryRun: options.dryRun ?? false }, options);
  }

  /** What would be unreadable, unwritable or lost if these peers stopped now. */
  whatIf(stop: readonly PeerId[], options: CallOptions = {}): Promise<WhatIf> {
    return this.#ask('what-if', { stop }, options);
  }

  async #ask<T>(name: MessageName, header: object, options: CallOptions): Promise<T> {
    const patience = this.#newPatience(options);
    const asked = { patience, about: 'Asking the master for a change' };
    const answer = await this.#master.call(name, header as RequestOf<MessageName>, asked);
    return JSON.parse(Buffer.from(answer.payload ?? new Uint8Array(0)).toString()) as T;
  }
}
