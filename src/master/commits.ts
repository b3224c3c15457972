/**
 * Makes changes of the cluster map durable, one commit at a time, and only then shows them.
 *
 * Whatever is asked for while a commit runs shares the next one: each change is a pure function over the map that the
 * one before it made, so a burst of requests costs one fsync. A change that refuses leaves the others alone (F18).
 *
 * Each commit also costs every peer and client time: a patient change goes with the next that is not, or when so long
 * as its patience has passed since the last.
 */
import type { ClusterMap } from '../cluster/map.js';
import { assertDefined } from '../core/assert.js';
import type { Clock, Timer } from '../core/environment.js';
import { DaemonStop, DfsError, exitCodes, isRefusal } from '../core/errors.js';
import type { Probe } from '../core/probe.js';
import type { MapStore } from './map-store.js';

/** Returns the same map to change nothing; throws a DfsError to refuse. The map is undefined before the cluster is. */
export type Transition<T> = (map: ClusterMap | undefined) => {
  readonly map: ClusterMap | undefined;
  readonly result: T;
};

interface Asked {
  readonly patienceMs: number;
  /** Returns the map after it, or undefined for one that refused. */
  apply(map: ClusterMap | undefined): ClusterMap | undefined;
  settle(map: ClusterMap | undefined): void;
  fail(error: unknown): void;
}

export interface CommitOwner {
  readonly incarnation: number;
  readonly clock: Clock;
  readonly probe?: Probe | undefined;
  /** Called with each map once it is durable, before whoever asked for it hears of it. */
  onCommitted(before: ClusterMap | undefined, after: ClusterMap): void;
  /** The store broke, or somebody else writes to it: no further commit can be. */
  onFailed(error: unknown): void;
}

const theEnd = new DfsError('unavailable', 'The master ends: it could not change the map');

export class Commits {
  readonly #store: MapStore;
  readonly #owner: CommitOwner;
  #map: ClusterMap | undefined;
  #asked: Asked[] = [];
  #running: Promise<void> | undefined;
  /** When the patient ones have waited long enough. */
  #paced: Timer | undefined;
  #committedMs = Number.NEGATIVE_INFINITY;
  #failure: DfsError | undefined;

  constructor(store: MapStore, owner: CommitOwner, map: ClusterMap | undefined) {
    this.#store = store;
    this.#owner = owner;
    this.#map = map;
  }

  /** The newest durable map. */
  get map(): ClusterMap | undefined {
    return this.#map;
  }

  /** Resolves, when the change is durable, with its result and the map that holds it. Throws what it refuses with. */
  change<T>(
    transition: Transition<T>,
    { patienceMs = 0 }: { readonly patienceMs?: number } = {},
  ): Promise<{ readonly map: ClusterMap | undefined; readonly result: T }> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      let outcome: { result: T } | undefined;
      this.#asked.push({
        patienceMs,
        apply: (map) => {
          try {
            const { map: after, result } = transition(map);
            if (after !== undefined) this.#owner.probe?.at({ point: 'mapChanging', before: map, after });
            outcome = { result };
            return after;
          } catch (error) {
            if (!isRefusal(error)) throw error;
            reject(error);
            return map;
          }
        },
        settle: (map) => void (outcome && resolve({ map, result: outcome.result })),
        fail: reject,
      });
      this.#start();
    });
  }

  /** No further change: whoever asks is refused. One that is being stored may still become durable. */
  close(): void {
    this.#failure ??= theEnd;
    this.#start();
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  #start(): void {
    if (this.#running !== undefined || this.#asked.length === 0) return;
    const { clock } = this.#owner;
    const patienceMs = Math.min(...this.#asked.map((asked) => asked.patienceMs));
    const waitMs = this.#failure === undefined ? this.#committedMs + patienceMs - clock.monotonicMs() : 0;
    this.#paced?.cancel();
    this.#paced = undefined;
    if (waitMs > 0) {
      this.#paced = clock.after(waitMs, () => this.#start());
      return;
    }
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      this.#start();
    });
  }

  async #run(): Promise<void> {
    const batch = this.#asked;
    this.#asked = [];
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const before = this.#map;
      const changed = batch.reduce<ClusterMap | undefined>((map, asked) => asked.apply(map), before);
      if (changed !== before) await this.#commit(before, assertDefined(changed, 'A map is never unmade'));
    } catch (error) {
      // No room on the disk: nothing was changed, and a later commit may find some. Anything else is the end.
      const isTheEnd = this.#failure === undefined && !isRefusal(error);
      if (isTheEnd) this.#failure = theEnd;
      for (const asked of batch) asked.fail(this.#failure ?? error);
      if (isTheEnd) this.#endWith(error);
      return;
    }
    for (const asked of batch) asked.settle(this.#map);
  }

  #endWith(error: unknown): void {
    for (const asked of this.#asked) asked.fail(theEnd);
    this.#asked = [];
    this.#owner.onFailed(error);
  }

  async #commit(before: ClusterMap | undefined, changed: ClusterMap): Promise<void> {
    const map: ClusterMap = { ...changed, masterIncarnation: this.#owner.incarnation };
    const { probe } = this.#owner;
    probe?.at({ point: 'mapCommitting', before, after: map });
    const isStored = await this.#store.compareAndSet(before?.epoch, map);
    if (!isStored) {
      throw new DaemonStop(
        exitCodes.configuration,
        'Another master has changed the map in this store: only one may run',
      );
    }
    this.#map = map;
    this.#committedMs = this.#owner.clock.monotonicMs();
    probe?.at({ point: 'mapCommitted', before, after: map });
    this.#owner.onCommitted(before, map);
  }
}
