/**
 * What is said to the master and by it: by peers, to peers, by clients and operators.
 */
import { generationMax } from '../core/ids.js';
import { limits } from '../core/limits.js';
import { count, flag, list, measure, object, oneOf, optional, text } from './checks.js';
import type { Message } from './message.js';
import { address, checkpoint, id, slot, timedId } from './message-fields.js';

export const masterMessages = {
  // --- Peer → master ----------------------------------------------------------------------------------------------
  /** After hello: asks for a place in the cluster. Reply payload: the map, which names this incarnation (F9). */
  join: {
    kind: 60,
    from: ['peer'],
    request: {
      clusterId: optional(id),
      peerId: optional(id),
      storeId: id,
      incarnation: count(),
      address,
      zone: text(255),
      weight: measure(),
      /** Of the newest map this peer accepted: a master with an older one, or of another lineage, stops. */
      mapEpoch: count(),
      lineage: optional(id),
    },
    reply: { clusterId: id, peerId: id },
  },
  /** Compare-and-set of slot records, each by its slotEpoch (F17, F18). Reply payload: the map after it. */
  change: {
    kind: 61,
    from: ['peer'],
    request: {
      changes: list(
        object({
          slot,
          slotEpoch: count(),
          op: oneOf('add', 'remove', 'handover'),
          peer: id,
          storeId: optional(id),
          /** With `add`: what was copied for it. */
          keys: optional(count()),
          bytes: optional(count()),
        }),
        500,
      ),
    },
    reply: { epoch: count() },
  },
  /** This peer stops on purpose. Reply payload: the map without it. */
  goodbye: { kind: 62, from: ['peer'], request: {}, reply: { epoch: count() } },
  /** A connection to a peer broke: look at it now. */
  suspect: { kind: 63, from: ['peer', 'client'], request: { peer: id }, reply: {} },

  /** Something an operator should know of a copy here. */
  report: {
    kind: 64,
    from: ['peer'],
    request: {
      kind: oneOf('copy-damaged', 'copy-repaired'),
      /** Those of the last second, and how many more there were. */
      named: optional(list(object({ slot, what: text(limits.copyWordsBytesMax) }), limits.copiesInReportMax)),
      others: optional(count()),
    },
    reply: {},
  },

  // --- Master → peer ----------------------------------------------------------------------------------------------
  ping: {
    kind: 70,
    from: ['master'],
    request: {
      clusterMs: count(),
      mapEpoch: count(),
      /** Peers far slower than the others: to be read last. */
      slow: optional(list(id, limits.peersMax)),
    },
    reply: {
      mapEpoch: count(),
      lineage: optional(id),
      incarnation: count(),
      lagMs: measure(),
      freeBytes: count(),
      totalBytes: count(),
      /** Kept free for deletes and the index. */
      reserveBytes: optional(count()),
      /** Of reads of bytes and of commits of the index, over the last half minute; absent when there were too few. */
      readMedianMs: optional(measure()),
      readP99Ms: optional(measure()),
      syncMedianMs: optional(measure()),
      syncP99Ms: optional(measure()),
      /** As primary: files and their bytes. On this disk: bytes of every role. */
      files: count(),
      logicalBytes: count(),
      storedBytes: count(),
      /** Copies known to be bad. */
      damaged: count(),
      /** Cluster time since which every copy was read and verified; 0: never yet. */
      verifiedSinceMs: count(),
      /** On this disk for checkpoints alone: their indexes, and bytes that only they name. */
      keptBytes: optional(count()),
    },
  },
  /** Payload: the map. */
  'push-map': { kind: 71, from: ['master'], request: {}, reply: { epoch: count() } },
  /** A wish: hand these slots over, each at this slotEpoch (F20). */
  'wish-handover': {
    kind: 72,
    from: ['master'],
    request: { wishes: list(object({ slot, slotEpoch: count(), to: id }), 500) },
    reply: {},
  },
  /** Reply payload: a row for each slot that this peer holds anything of, in any role. */
  'slot-amounts': { kind: 73, from: ['master'], request: {}, reply: {} },
  /** Before a recovery: what lineages this peer has heard of. Reply payload: the newest map, if it has any. */
  'look-back': {
    kind: 74,
    from: ['master'],
    request: {},
    /**
     * `promised`: the generation of the recovery that was answered last. `masterMs`: since a master pinged it.
     * `clusterMs`: the cluster's clock, if a master has told it.
     */
    reply: { promised: count(generationMax), masterMs: optional(count()), clusterMs: optional(count()) },
  },
  /**
   * From now on this peer takes no map of another lineage, but of a higher generation that it has promised (F14). Reply
   * payload: the newest map it has accepted until then, durable.
   */
  'promise-lineage': {
    kind: 75,
    from: ['master'],
    request: { generation: count(generationMax), lineage: id },
    reply: {},
  },
  /**
   * One step of making a checkpoint, in this order, each asked of all peers when all have answered the one before.
   * `hold`: takes the payload, a map, and removes nothing from now on that a checkpoint may need, until the last step
   * or the end of the connection. `copy`: copies the index. `finish`: adds the segments that came meanwhile; reply
   * payload: vouch rows.
   */
  'checkpoint-step': {
    kind: 77,
    from: ['master'],
    request: { checkpoint, step: oneOf('hold', 'copy', 'finish'), atMs: count() },
    reply: {},
  },
  /** Removes this peer's part of a checkpoint, if it has one; what other checkpoints or the index name stays. */
  'checkpoint-remove': { kind: 78, from: ['master'], request: { checkpoint }, reply: {} },
  /** Which checkpoints this peer has a part of. */
  'checkpoint-parts': {
    kind: 79,
    from: ['master'],
    request: {},
    reply: { parts: list(object({ checkpoint, atMs: count(), bytes: count() }), limits.checkpointsMax) },
  },

  // --- Client → master --------------------------------------------------------------------------------------------
  /** Reply payload: JSON as `dfs status --json` prints it. */
  status: { kind: 80, from: ['client'], request: {}, reply: {} },
  /** Events with seq above `after`, waiting up to `waitMs` for one. Reply payload: a JSON array. */
  events: {
    kind: 81,
    from: ['client'],
    request: { after: count(), limit: count(1000), waitMs: count(60_000) },
    reply: {},
  },
  /** What an operator wants of a peer. `dryRun`: only what would move. Reply payload: JSON, docs/command-line.md. */
  'change-peer': {
    kind: 82,
    from: ['client'],
    request: {
      peer: id,
      op: oneOf('drain', 'enable', 'maintenance', 'remove', 'repair', 'set'),
      weight: optional(measure()),
      zone: optional(text(255)),
      dryRun: flag(),
    },
    reply: {},
  },
  /** Settings of the whole cluster, those that are named. Reply payload as of `change-peer`. */
  'change-cluster': {
    kind: 83,
    from: ['client'],
    request: {
      replicas: optional(count(limits.replicasMax)),
      minInSync: optional(count(limits.replicasMax)),
      repairBytesPerSecond: optional(count()),
      movesPaused: optional(flag()),
      dryRun: flag(),
    },
    reply: {},
  },
  /** What would be unreadable, unwritable or lost if these peers stopped now. Reply payload: JSON. */
  'what-if': { kind: 84, from: ['client'], request: { stop: list(id, limits.peersMax) }, reply: {} },
  /** Begins a checkpoint; `requestId` names it, so that asking again does not begin another. Reply payload: JSON. */
  'checkpoint-create': { kind: 85, from: ['client'], request: { requestId: timedId }, reply: {} },
  /** Reply payload: a JSON array as `dfs checkpoint ls --json` prints it. */
  checkpoints: { kind: 86, from: ['client'], request: {}, reply: {} },
  /** Removes a checkpoint from every peer; from one that is away when it comes back. Reply payload: JSON. */
  'checkpoint-delete': { kind: 87, from: ['client'], request: { checkpoint }, reply: {} },
  /** What the master's host is, for `dfs doctor`: its own clock in ms since 1970, and its Node. */
  'examine-master': { kind: 89, from: ['client'], request: {}, reply: { wallMs: count(), node: text(64) } },
} as const satisfies Record<string, Message>;
