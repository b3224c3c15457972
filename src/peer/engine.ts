/**
 * The parts of a peer that need to know how many slots there are: built when the first map is known, and wired here.
 */
import type { ClusterMap } from '../cluster/map.js';
import { peerOf } from '../cluster/map.js';
import type { Environment } from '../core/environment.js';
import type { PeerId } from '../core/ids.js';
import type { ByteStore, IndexStore } from '../core/storage.js';
import type { Admission } from './admission.js';
import { CheckpointReads } from './checkpoint-reads.js';
import type { Checkpoints } from './checkpoints.js';
import type { ClusterClock } from './cluster-clock.js';
import { Commits } from './commit.js';
import { Comparison, type SettlingParts } from './comparison.js';
import { Copies } from './copies.js';
import { Damage } from './damage.js';
import type { EntryKey } from './entry.js';
import { EntryIndex } from './entry-index.js';
import { GiveWay } from './give-way.js';
import type { Grants } from './grants.js';
import type { HandoverParts } from './handover.js';
import type { Identity } from './identity.js';
import { Leadership } from './leadership.js';
import type { ListingParts } from './listing.js';
import type { MapKeeper } from './map-keeper.js';
import type { MasterLink } from './master-link.js';
import { OldIds } from './old-ids.js';
import { Pace } from './pace.js';
import { PeerCalls } from './peer-calls.js';
import { ReadPath } from './read-path.js';
import { Repair } from './repair.js';
import { Replica } from './replica.js';
import { RestCheck } from './rest-check.js';
import { Salvage } from './salvage.js';
import { Scrub } from './scrub.js';
import { type ReadMode, Serving } from './serving.js';
import { Surplus } from './surplus.js';
import { Sweeper } from './sweeper.js';
import { Uploads } from './uploads.js';
import { WritePath } from './write-path.js';

export interface EngineParts {
  readonly environment: Environment;
  readonly me: Identity;
  readonly index: IndexStore;
  readonly bytes: ByteStore;
  readonly maps: MapKeeper;
  readonly master: MasterLink;
  readonly grants: Grants;
  readonly clock: ClusterClock;
  readonly admission: Admission;
  readonly checkpoints: Checkpoints;
  readonly reads: ReadMode;
  readonly replacedGraceMs: number;
  readonly sweepAfterMs: number;
  readonly slotCount: number;
  /** When a client last asked something, by the monotonic clock. */
  lastClientMs(): number;
  slowPeers(): ReadonlySet<PeerId>;
  fetchMap(): void;
  onFailure(error: unknown): void;
}

export interface Engine {
  readonly index: EntryIndex;
  readonly leadership: Leadership;
  readonly replica: Replica;
  readonly writes: WritePath;
  readonly reads: ReadPath;
  readonly checkpointReads: CheckpointReads;
  readonly uploads: Uploads;
  readonly surplus: Surplus;
  readonly damage: Damage;
  readonly scrub: Scrub;
  readonly restCheck: RestCheck;
  readonly salvage: Salvage;
  readonly sweeper: Sweeper;
  readonly calls: PeerCalls;
  readonly listing: ListingParts;
  readonly handover: HandoverParts;
  readonly settling: SettlingParts;
}

export function buildEngine(parts: EngineParts): Engine {
  const { environment, me, maps, admission, clock, grants, master, checkpoints } = parts;
  const { log, probe } = environment;
  const currentMap = (): ClusterMap | undefined => maps.map;
  const index = new EntryIndex(parts.index, parts.slotCount, () => ({
    nowMs: clock.nowMs(),
    replacedGraceMs: parts.replacedGraceMs,
    sweepAfterMs: parts.sweepAfterMs,
  }));
  index.onSegmentStored = (key) => checkpoints.onSegmentStored(key);
  const copies = new Copies(parts.bytes, environment.random);
  const calls = new PeerCalls(environment, me);
  const onDamage = (key: EntryKey): void => damage.seen(key);
  const repair = new Repair({ log, index, copies, calls, onDamage, me: () => me.peerId, currentMap });
  const pace = new Pace(environment.clock, () => maps.map?.repairBytesPerSecond ?? 0);
  const giveWay = new GiveWay(environment, parts.lastClientMs);
  const minInSync = (): number => maps.map?.pool.minInSync ?? 1;
  const noteDamage = (key: EntryKey): Promise<void> => damage.note(key);
  const comparison = new Comparison({ index, copies, repair, pace, giveWay, minInSync, noteDamage });
  const oldIds = new OldIds({ index, clock });
  const leadership = new Leadership({ ...parts, index, comparison, oldIds, currentMap });
  const serving = new Serving({ environment, maps, leadership, reads: parts.reads, fetchMap: parts.fetchMap });
  const commits = new Commits({
    index,
    copies,
    comparison,
    me: () => me.peerId ?? '',
    replicasWanted: () => maps.map?.pool.replicas ?? 1,
    minInSync,
    mapDurable: () => maps.makeDurable(),
  });
  const stored = { store: parts.index, bytes: parts.bytes, copies };
  const salvage = new Salvage({ ...stored, environment, currentMap });
  const replica = new Replica({ probe, me, index, copies, grants, maps, admission, salvage, noteDamage });
  const kept = { index, commits, repair, checkpoints };
  const shared = { ...kept, log, me, leadership, serving, calls, clock, admission, currentMap };
  const damage = new Damage({
    ...shared,
    environment,
    store: parts.index,
    copies,
    replica,
    report: (report) => master.report(report),
    onFailure: parts.onFailure,
  });
  const uploads = new Uploads({ ...shared, replacedGraceMs: parts.replacedGraceMs, sweepAfterMs: parts.sweepAfterMs });
  return {
    index,
    leadership,
    replica,
    calls,
    uploads,
    writes: new WritePath({ ...shared, copies, minInSync, sweepAfterMs: parts.sweepAfterMs }),
    reads: new ReadPath({ ...parts, ...shared, copies, damage, holds: (slot) => holds(maps.map, me, slot) }),
    checkpointReads: new CheckpointReads({ environment, checkpoints, copies }),
    damage,
    scrub: new Scrub({ environment, store: parts.index, index, copies, damage, clock }),
    restCheck: new RestCheck({ log, leadership, comparison }),
    surplus: new Surplus({ ...shared, damage, probe, store: parts.index }),
    salvage,
    sweeper: new Sweeper({ ...shared, ...stored, salvage, uploads, oldIds, sweepAfterMs: parts.sweepAfterMs }),
    listing: { environment, reader: parts.index, slotCount: parts.slotCount, leadership, serving },
    settling: { leadership, comparison },
    handover: { clock: environment.clock, log, leadership, master },
  };
}

/** A new store holds nothing until a map names it (rule F11). */
function holds(map: ClusterMap | undefined, me: Identity, slot: number): boolean {
  const record = map?.slots[slot];
  if (map === undefined || record === undefined || me.peerId === undefined) return false;
  return peerOf(map, me.peerId)?.storeId === me.storeId && record.inSync.includes(me.peerId);
}
