/**
 * Named points of the protocol, at which whoever looks is told that they were reached, and with what.
 *
 * Between two of them a crash or a pause makes a difference; at each of them something must hold. The programs run
 * without a probe: nothing is made or called then, and nothing may ever be decided by one. The simulator hands one in,
 * which checks the promises and strikes at points of its choosing: what fail(9) is to FreeBSD's kernel and BUGGIFY to
 * FoundationDB.
 */
import type { Epoch, PeerId, SlotNumber, StoreId, TimedId, Version } from './ids.js';

export interface Probe {
  at(moment: Moment): void;
}

/** A slot and the term in which this peer leads it. */
export interface Leading {
  readonly slot: SlotNumber;
  readonly term: Epoch;
}

/** A led slot to look at later, too. */
export interface LedView extends Leading {
  readonly phase: 'levelling' | 'serving' | 'sealed' | 'over';
  isAlone(): boolean;
  /** By the clock of its host. */
  leaseUntilMs(): number;
}

export interface EntryFacts {
  readonly key: Uint8Array;
  readonly version: Version;
}

/** What a peer does as a slot's primary, beside its changes. */
type PrimaryMoment =
  /** Its promise of the new term is durable; nobody else knows of it yet. */
  | ({ readonly point: 'afterPromiseBeforeLevelling'; readonly slotEpoch: Epoch } & Leading)
  /** All members are equal and all old leases have run out. */
  | ({ readonly point: 'levelled' } & Leading)
  | { readonly point: 'serving'; readonly led: LedView }
  | ({ readonly point: 'sealed' | 'steppedDown' | 'handoverDrained' | 'idsDropped' } & Leading)
  /** A joining replica: every write needs it; it was compared once more; the master is asked to add it. */
  | ({ readonly point: 'required' | 'comparedAgain' | 'askedToAdd'; readonly peer: PeerId } & Leading);

/** The life of one change at its primary, and reads that claim to be current. */
type ChangeMoment =
  /** It has its version, and was sent to nobody. */
  | ({ readonly point: 'versionGiven' } & Leading & EntryFacts)
  /** One replica answered that it holds the change. */
  | ({ readonly point: 'replicated'; readonly peer: PeerId } & Leading)
  | ({ readonly point: 'allReplicasAnswered' } & Leading & EntryFacts)
  /** It was taken back everywhere, and is about to be refused. */
  | ({ readonly point: 'rolledBack' } & Leading & EntryFacts)
  /** Replicas are about to be told to drop the entry. */
  | ({ readonly point: 'sweeping' } & Leading & EntryFacts)
  /** The change is visible. */
  | ({ readonly point: 'ownEntryCommitted'; readonly slotEpoch: Epoch; readonly requestId?: TimedId } & Leading &
      EntryFacts)
  /** The answer is made: `durable` are the copies its receipt counts. */
  | ({
      readonly point: 'acknowledging';
      readonly slotEpoch: Epoch;
      readonly durable: readonly PeerId[];
      readonly requestId?: TimedId;
    } & Leading &
      EntryFacts)
  /** What a linearizable answer is made from. */
  | ({
      readonly point: 'readCurrent';
      readonly key: Uint8Array;
      readonly found:
        | { readonly state: 'absent' | 'damaged' }
        | { readonly state: 'present'; readonly entry: EntryFacts & { readonly kind: string } };
    } & Leading)
  /** The upload can no longer be committed. */
  | ({ readonly point: 'voided' } & Leading);

/** What a peer does as a replica, or with its own disk. */
type ReplicaMoment =
  /** Durable, and about to be answered. */
  | { readonly point: 'promised'; readonly slot: SlotNumber; readonly slotEpoch: Epoch }
  | { readonly point: 'replicaStaged'; readonly slot: SlotNumber }
  | ({ readonly point: 'replicaCommitted'; readonly slot: SlotNumber; readonly slotEpoch: Epoch } & EntryFacts)
  | { readonly point: 'settled'; readonly slot: SlotNumber; readonly key: Uint8Array; readonly isIgnored: boolean }
  /** An entry whose bytes nobody can read any more is kept with a file that is not there. */
  | { readonly point: 'markedLost'; readonly slot: SlotNumber; readonly fileId: string }
  | { readonly point: 'beaconGranted' }
  | { readonly point: 'surplusAllowed' | 'surplusForgotten'; readonly slot: SlotNumber }
  /** A part of a checkpoint: the index was copied; the part will be there after a restart. */
  | { readonly point: 'checkpointCopied' | 'checkpointFinished' }
  /** A cluster map: taken, and then durable with its promises. */
  | { readonly point: 'mapTaken' | 'mapDurable'; readonly storeId: StoreId; readonly map: object };

/** What the master does with cluster maps. */
type MasterMoment =
  | { readonly point: 'mapLoaded'; readonly map: object | undefined }
  /** Made anew from what peers know, and durable; or peers were given up in such a map. */
  | { readonly point: 'mapRecovered'; readonly map: object }
  /** Changes that placement wants, on the map they were made for. */
  | { readonly point: 'planned'; readonly before: object; readonly after: object }
  | { readonly point: 'promoting' }
  /** One change, not stored yet; all of a commit, before and after it is durable. */
  | {
      readonly point: 'mapChanging' | 'mapCommitting' | 'mapCommitted';
      readonly before: object | undefined;
      readonly after: object;
    };

/** A client has sent all segments of a file but the one that goes with its record. */
type ClientMoment = { readonly point: 'segmentsSent' };

/** Maps are a `ClusterMap` of src/cluster, which this folder must not know. */
export type Moment = PrimaryMoment | ChangeMoment | ReplicaMoment | MasterMoment | ClientMoment;
export type PointName = Moment['point'];
