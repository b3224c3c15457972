/**
 * Checkpoints as clients have them: made and removed by way of the master, read from the peers, whoever the master is.
 */
import { type Clock, type Random, sleep } from '../core/environment.js';
import { toTimedId } from '../core/ids.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import { CheckpointReader } from './checkpoint-reader.js';
import type { MasterCaller } from './master-caller.js';
import type { Patience } from './patience.js';
import type { CallOptions, Checkpoint } from './results.js';
import type { SlotCaller } from './slot-caller.js';

interface CheckpointsParts {
  readonly master: MasterCaller;
  readonly caller: SlotCaller;
  readonly clock: Clock;
  readonly random: Random;
  newPatience(options: CallOptions): Patience;
}

const lookMs = 200;

export class Checkpoints {
  readonly #parts: CheckpointsParts;

  constructor(parts: CheckpointsParts) {
    this.#parts = parts;
  }

  /**
   * Every write acknowledged before this call is in it, as that version or a newer one. Resolves when it is made;
   * `state` says whether it is complete. Throws `conflict` while another is made, `no-space` when there are too many.
   */
  async create(options: CallOptions = {}): Promise<Checkpoint> {
    const { clock, random, newPatience } = this.#parts;
    const requestId = toTimedId({ atMs: 0, random: random.bytes(10) });
    const begun = await this.#ask<Checkpoint>('checkpoint-create', { requestId }, options);
    const patience = newPatience(options);
    for (let found = begun; ; ) {
      if (found.state !== 'making') return found;
      await sleep(clock, lookMs);
      patience.progress();
      patience.check('Making a checkpoint');
      // One that is not there any more was given up by a master that was started anew.
      const gone: Checkpoint = { ...begun, state: 'removing' };
      found = (await this.list(options)).find(({ id }) => id === begun.id) ?? gone;
    }
  }

  /** Oldest first. */
  list(options: CallOptions = {}): Promise<readonly Checkpoint[]> {
    return this.#ask('checkpoints', {}, options);
  }

  /** Resolves when it is certain that it goes, from peers that are away when they are back. Throws `not-found`. */
  async remove(checkpoint: string, options: CallOptions = {}): Promise<void> {
    await this.#ask('checkpoint-delete', { checkpoint }, options);
  }

  /** Throws `not-found` when no peer has a part of it. */
  open(checkpoint: string, options: CallOptions = {}): Promise<CheckpointReader> {
    const { caller, newPatience } = this.#parts;
    return CheckpointReader.open(caller, { checkpoint, newPatience: () => newPatience(options) });
  }

  async #ask<T>(name: MessageName, header: object, options: CallOptions): Promise<T> {
    const patience = this.#parts.newPatience(options);
    const asked = { patience, about: 'Asking the master about checkpoints' };
    const answer = await this.#parts.master.call(name, header as RequestOf<MessageName>, asked);
    return JSON.parse(Buffer.from(answer.payload ?? new Uint8Array(0)).toString()) as T;
  }
}
