/**
 * Asks any master: the one that answered last, then the others. Gives up when each has failed a few times.
 */
import type { Clock } from '../core/environment.js';
import { type DfsError, refusals, toDfsError } from '../core/errors.js';
import type { Address } from '../core/ids.js';
import type { MessageName, RequestOf } from '../protocol/messages.js';
import type { Answer } from '../protocol/session.js';
import { type ClusterView, unreachableMasters } from './cluster-view.js';
import type { Patience } from './patience.js';

const rounds = 3;
const roundPauseMs = 200;
const answerWithinMs = 5000;

export class MasterCaller {
  readonly #view: ClusterView;
  readonly #clock: Clock;
  #preferred: Address | undefined;

  constructor(view: ClusterView, clock: Clock) {
    this.#view = view;
    this.#clock = clock;
  }

  /** `heldMs`: how long the master may hold the request open on purpose. */
  async call<N extends MessageName>(
    name: N,
    header: RequestOf<N>,
    options: { patience: Patience; about: string; heldMs?: number },
  ): Promise<Answer<N>> {
    const { patience, about, heldMs = 0 } = options;
    const errors = new Map<Address, DfsError>();
    for (let round = 0; round < rounds; round++) {
      if (round > 0) await patience.sleep(roundPauseMs);
      for (const address of this.#inOrder()) {
        if (errors.size > 0 && patience.ending(this.#clock.monotonicMs()) === 'no-progress') break;
        patience.check(about);
        try {
          const session = await this.#view.sessionTo({ address, peerId: undefined }, 'small');
          const limitMs = patience.remainingMs(this.#clock.monotonicMs());
          const answer = await session.request(name, header, { timeoutMs: Math.min(limitMs, answerWithinMs + heldMs) });
          this.#preferred = address;
          return answer;
        } catch (error) {
          const failure = toDfsError(error);
          if (isAboutTheRequest(failure)) throw failure;
          errors.set(address, failure);
        }
      }
    }
    throw unreachableMasters(errors);
  }

  #inOrder(): readonly Address[] {
    const { masters } = this.#view;
    const preferred = this.#preferred;
    return preferred === undefined ? masters : [preferred, ...masters.filter((address) => address !== preferred)];
  }
}

function isAboutTheRequest({ code }: DfsError): boolean {
  return refusals[code].retry === 'never' && !code.startsWith('wrong-');
}
