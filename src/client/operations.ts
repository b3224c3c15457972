/**
 * What an operator asks of the cluster, by way of its master.
 */
import type { PeerRecord } from '../cluster/map.js';
import { refuse } from '../core/errors.js';
import type { PeerId } from '../core/ids.js';
import { timing } from '../core/timing.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import { AttemptFailure } from './attempt.js';
import type { ClusterView } from './cluster-view.js';
import type { MasterCaller } from './master-caller.js';
import type { Patience } from './patience.js';
import type { CallOptions, ClusterChange, ScrubState, WhatIf } from './results.js';
import type { SlotCaller } from './slot-caller.js';

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

interface OperationsParts {
  readonly master: MasterCaller;
  readonly caller: SlotCaller;
  readonly view: ClusterView;
}

export class ClusterOperations {
  readonly #parts: OperationsParts;
  readonly #newPatience: (options: CallOptions) => Patience;

  constructor(parts: OperationsParts, newPatience: (options: CallOptions) => Patience) {
    this.#parts = parts;
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

  /** How far a peer is with reading all its copies; with `start` it begins. Throws `not-found`, `unavailable`. */
  async scrub(peer: PeerId, options: CallOptions & { readonly start?: boolean } = {}): Promise<ScrubState> {
    const { caller, view } = this.#parts;
    const patience = this.#newPatience(options);
    const about = `Asking ${peer} about its scrub`;
    const known = (): PeerRecord | undefined => view.table?.map.peers.find(({ id }) => id === peer);
    const ask = () => {
      const { address } = known() ?? refuse('not-found', `No peer has the id ${peer}`, { advice: 'See dfs peers' });
      return caller.once({
        name: 'scrub',
        target: { address, peerId: peer },
        lane: 'small',
        slot: 0,
        term: undefined,
        patience,
        about,
        header: () => ({ start: options.start ?? false }),
      });
    };
    await view.known(patience, about);
    // The map may be an old one from the cache: the peer is newer than it, or was started again elsewhere.
    if (known() === undefined) await this.#lookForNewer(patience);
    const again = async (error: unknown) => {
      if (!(error instanceof AttemptFailure)) throw error;
      await this.#lookForNewer(patience);
      return ask();
    };
    const { header } = await ask().catch(again).catch(thrown);
    return { peer, ...header };
  }

  async #lookForNewer(patience: Patience): Promise<void> {
    const { view } = this.#parts;
    const epoch = view.table?.map.epoch ?? 0;
    view.lookForNewer(epoch, []);
    await view.newerMap(epoch, patience, timing.connectTimeoutMs);
  }

  async #ask<T>(name: MessageName, header: object, options: CallOptions): Promise<T> {
    const patience = this.#newPatience(options);
    const asked = { patience, about: 'Asking the master for a change' };
    const answer = await this.#parts.master.call(name, header as RequestOf<MessageName>, asked);
    return JSON.parse(Buffer.from(answer.payload ?? new Uint8Array(0)).toString()) as T;
  }
}

function thrown(error: unknown): never {
  throw error instanceof AttemptFailure ? error.error : error;
}
