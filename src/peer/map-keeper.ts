/**
 * The last cluster map this peer accepted: which maps it takes, and in which order a new one takes effect.
 *
 * An older map is ignored; one of another lineage, or an equal epoch with other contents, is refused: it comes from a
 * cloned or restored master (S10). What a new map forbids takes effect at once; what it allows, only when map and
 * promises are durable (F4).
 *
 * A recovery asks each peer for its newest map and for a promise (F14): from then on it takes no map of its old
 * lineage, so that what it answered stays the newest; and of other lineages only the one it has promised, once that
 * counts it as heard: before, its own map is all that tells what it knows. Without a map it takes any first one of no
 * lower generation. Serves S3, S9.
 */
import type { ClusterMap } from '../cluster/map.js';
import { sameBytes } from '../core/checksum.js';
import { type Deferred, defer } from '../core/deferred.js';
import type { Clock } from '../core/environment.js';
import { refuse } from '../core/errors.js';
import { generationOf, type StoreId } from '../core/ids.js';
import type { IndexReader, IndexStore } from '../core/storage.js';
import { decodeMap } from '../protocol/map-codec.js';
import { raisePromises } from './entry-index.js';
import { seal, unsealOrFail } from './index-layout.js';

const mapKey = Buffer.from('map');
const promiseKey = Buffer.from('lineage');

/** A recovery that was answered: its generation of epochs, and the lineage of the map it makes. */
export interface PromisedLineage {
  readonly generation: number;
  readonly lineage: string;
}

export interface MapEvents {
  /** At once: step down, stop granting, adopt. */
  onMap(map: ClusterMap): void;
  /** When the map is durable: begin to lead. */
  onDurable(map: ClusterMap): void;
}

export class MapKeeper {
  readonly #store: IndexStore;
  readonly #storeId: StoreId;
  readonly #clock: Clock;
  readonly #events: MapEvents;
  #map: ClusterMap | undefined;
  #encoded: Uint8Array | undefined;
  #durable: ClusterMap | undefined;
  #saving: Promise<void> | undefined;
  #changed: Deferred<void> = defer();
  #promised: PromisedLineage | undefined;

  constructor(of: { store: IndexStore; storeId: StoreId }, clock: Clock, events: MapEvents) {
    const { store, storeId } = of;
    this.#store = store;
    this.#storeId = storeId;
    this.#clock = clock;
    this.#events = events;
    const promised = store.get('meta', promiseKey);
    if (promised !== undefined) this.#promised = decodePromise(unsealOrFail('meta', promiseKey, promised));
    this.#encoded = encodedMapIn(store);
    if (this.#encoded === undefined) return;
    this.#map = decodeMap(this.#encoded);
    this.#durable = this.#map;
  }

  get map(): ClusterMap | undefined {
    return this.#map;
  }

  get epoch(): number {
    return this.#map?.epoch ?? 0;
  }

  /** As sent on the wire. */
  get encoded(): Uint8Array | undefined {
    return this.#encoded;
  }

  /**
   * Resolves when the map, or a newer one, is durable here. Refuses one that is malformed or must not be believed.
   * Every change brings its map twice, pushed and as an answer: the second time costs a comparison of bytes.
   */
  async accept(encoded: Uint8Array): Promise<void> {
    if (this.#encoded === undefined || !sameBytes(this.#encoded, encoded)) this.#take(encoded.slice());
    await this.makeDurable();
  }

  #take(encoded: Uint8Array): void {
    const map = decodeMap(encoded);
    if (this.#map === undefined) refuseOverbid(map, this.#promised);
    else if (!isNewer({ map: this.#map, promised: this.#promised, storeId: this.#storeId }, map)) return;
    this.#map = map;
    this.#encoded = encoded;
    this.#events.onMap(map);
    const changed = this.#changed;
    this.#changed = defer();
    changed.resolve();
  }

  /** 0: no recovery was ever answered. */
  get promisedGeneration(): number {
    return this.#promised?.generation ?? 0;
  }

  /**
   * Answers a recovery: resolves, when the promise is durable, with the newest map accepted until then. Refuses
   * `conflict` one that is not above every other lineage this peer has heard of.
   */
  async promise(asked: PromisedLineage): Promise<Uint8Array | undefined> {
    const isSame = this.#promised?.lineage === asked.lineage;
    const heard = Math.max(this.promisedGeneration, generationOf(this.epoch));
    if (!isSame && asked.generation <= heard) {
      refuse('conflict', `Another recovery has come first: this peer has promised generation ${heard}`, {
        advice: 'Run dfs-master recover again, one at a time',
      });
    }
    // At once: a map of before that arrives meanwhile would be missing from the answer.
    if (asked.generation > this.promisedGeneration) this.#promised = asked;
    await this.makeDurable();
    const row = seal(promiseKey, Buffer.from(JSON.stringify(this.#promised)));
    await this.#store.transact((transaction) => transaction.put('meta', promiseKey, row));
    return this.#encoded;
  }

  /** Resolves when the newest map is durable; tries again what a full disk has refused. Throws `no-space`. */
  async makeDurable(): Promise<void> {
    while ((this.#durable?.epoch ?? 0) < this.epoch) {
      this.#saving ??= this.#save().finally(() => {
        this.#saving = undefined;
      });
      await this.#saving;
    }
  }

  async #save(): Promise<void> {
    const map = this.#map;
    const encoded = this.#encoded;
    if (map === undefined || encoded === undefined) return;
    const before = this.#durable?.slots;
    // The promises for slots that did not change were raised together with the map that is durable.
    const raised = map.slots
      .map((record, slot) => ({ slot, slotEpoch: record.slotEpoch }))
      .filter(({ slot, slotEpoch }) => before?.[slot]?.slotEpoch !== slotEpoch);
    await this.#store.transact((transaction) => {
      raisePromises(transaction, raised);
      transaction.put('meta', mapKey, seal(mapKey, encoded));
    });
    this.#durable = map;
    if (this.#map === map) this.#events.onDurable(map);
  }

  /** Resolves when a map newer than `epoch` is here, or after `waitMs`. */
  async newerThan(epoch: number, waitMs: number): Promise<void> {
    if (this.epoch > epoch || waitMs === 0) return;
    const timeUp = defer<void>();
    const timer = this.#clock.after(waitMs, () => timeUp.resolve());
    while (this.epoch <= epoch) {
      const late = await Promise.race([this.#changed.promise.then(() => false), timeUp.promise.then(() => true)]);
      if (late) return;
    }
    timer.cancel();
  }
}

function encodedMapIn(reader: IndexReader): Uint8Array | undefined {
  const saved = reader.get('meta', mapKey);
  return saved === undefined ? undefined : unsealOrFail('meta', mapKey, saved).slice();
}

/** The map that was the last one accepted when the index was as it is here. Throws StorageFailure for a bad row. */
export function mapIn(reader: IndexReader): ClusterMap | undefined {
  const encoded = encodedMapIn(reader);
  return encoded === undefined ? undefined : decodeMap(encoded);
}

/** What a peer has that a map may contradict. */
interface Known {
  readonly map: ClusterMap;
  readonly promised?: PromisedLineage | undefined;
  readonly storeId: StoreId;
}

/** Refuses a first map that is below what was promised. Above it: that recovery came to nothing, or is over. */
function refuseOverbid(map: ClusterMap, promised: PromisedLineage | undefined): void {
  if (promised === undefined || map.lineage === promised.lineage) return;
  if (generationOf(map.epoch) >= promised.generation) return;
  refuse(
    'conflict',
    `This peer has promised a recovery of generation ${promised.generation}; this map is of ${generationOf(map.epoch)}`,
    {
      advice: 'It has no map, so no copy counts there: move its data folder aside, and start it on an empty one',
    },
  );
}

/** False for a map to ignore; refuses one that contradicts ours. */
export function isNewer({ map: ours, promised: last, storeId }: Known, map: ClusterMap): boolean {
  // Ours was the first map of a peer that had promised another recovery before.
  const isOver = last !== undefined && last.lineage !== ours.lineage && last.generation <= generationOf(ours.epoch);
  const promised = isOver ? undefined : last;
  const identityOf = ({ clusterId, lineage }: ClusterMap): string => `${clusterId} (lineage ${lineage})`;
  if (map.clusterId !== ours.clusterId || (map.lineage !== ours.lineage && map.lineage !== promised?.lineage)) {
    refuse('wrong-cluster', `The map belongs to cluster ${identityOf(map)}, this peer to ${identityOf(ours)}`, {
      advice: 'A cloned or replaced master wrote it; stop that master',
    });
  }
  if (promised !== undefined && map.lineage !== promised.lineage) {
    if (map.epoch <= ours.epoch) return false;
    refuse('wrong-cluster', `The map was recovered from the peers: ${identityOf(map)} is over`, {
      advice: `Start the master that dfs-master recover has made, of lineage ${promised.lineage}, and no other`,
    });
  }
  if (map.lineage !== ours.lineage) return isHeardIn(map, storeId) && map.epoch > ours.epoch;
  if (map.epoch === ours.epoch && map.masterIncarnation !== ours.masterIncarnation) {
    refuse('wrong-cluster', `Two maps of epoch ${map.epoch} come from different starts of the master`, {
      advice: 'Two masters use one data folder or a copy of it; stop the copy',
    });
  }
  if (map.epoch > ours.epoch && map.masterIncarnation < ours.masterIncarnation) {
    refuse('wrong-cluster', `A map of an older start of the master claims the newer epoch ${map.epoch}`, {
      advice: 'An old copy of the master is running; stop it',
    });
  }
  return map.epoch > ours.epoch;
}

function isHeardIn(map: ClusterMap, storeId: StoreId): boolean {
  const me = map.peers.find((peer) => peer.storeId === storeId);
  return me !== undefined && me.state !== 'awaited';
}

function decodePromise(content: Uint8Array): PromisedLineage {
  return JSON.parse(Buffer.from(content).toString()) as PromisedLineage;
}
