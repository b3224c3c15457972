/**
 * Answers an operator: changes what is wanted of a peer or of the cluster, or tells beforehand what that would move and
 * what would be at risk.
 */
import { type ClusterMap, isRunning, type PeerRecord, peerOf } from '../cluster/map.js';
import { movesTo } from '../cluster/moves.js';
import { type PeerOperation, withOperation } from '../cluster/operations.js';
import { wantedPlacement } from '../cluster/placement.js';
import { type ChangeableSettings, withSettings } from '../cluster/settings.js';
import { type Harm, whatIf } from '../cluster/what-if.js';
import { refuse } from '../core/errors.js';
import type { PeerId } from '../core/ids.js';
import type { RequestOf } from '../protocol/messages.js';
import { Census } from './census.js';
import type { Master } from './master.js';

export class Operations {
  readonly #master: Master;
  readonly #census = new Census();

  constructor(master: Master) {
    this.#master = master;
  }

  changePeer(request: RequestOf<'change-peer'>): Promise<object> {
    const { peer, op, weight, zone, dryRun } = request;
    const place = { ...(weight === undefined ? {} : { weight }), ...(zone === undefined ? {} : { zone }) };
    const operation: PeerOperation = op === 'set' ? { kind: 'set', ...place } : { kind: op };
    const change = (map: ClusterMap): ClusterMap => {
      if (op === 'remove') this.#mustNotBeMissed(map, peer);
      return withOperation(map, peer, operation);
    };
    return this.#change(change, dryRun);
  }

  /** Refuses `conflict` for one that is away while others look for good copies: it may have the only ones. */
  #mustNotBeMissed(map: ClusterMap, id: PeerId): void {
    const peer = peerOf(map, id);
    if (peer === undefined || isRunning(peer) || peer.state === 'removed') return;
    const damagedOn = (other: PeerRecord): number => this.#master.watch.heardFrom(other.id)?.pong.damaged ?? 0;
    // Also on one that is away for a moment: it has said so before.
    const others = map.peers.filter((other) => other.id !== id && other.state !== 'removed');
    const looking = others.filter((other) => damagedOn(other) > 0).map((other) => other.id);
    if (looking.length === 0) return;
    refuse('conflict', `There are bad copies on ${looking.join(', ')}, and ${id} may have the only good ones`, {
      advice: `Bring ${id} back. If its disk is gone for good, delete or send anew the files that dfs verify names`,
    });
  }

  changeCluster({ dryRun, ...settings }: RequestOf<'change-cluster'>): Promise<object> {
    return this.#change((map) => withSettings(map, settings as Partial<ChangeableSettings>), dryRun);
  }

  async whatIf(stop: readonly PeerId[]): Promise<object> {
    const map = this.#mapNow();
    for (const id of stop) if (peerOf(map, id) === undefined) refuse('not-found', `No peer has the id ${id}`);
    await this.#count(map);
    const { unreadable, unwritable, lost } = whatIf(map, new Set(stop), (slot) => this.#census.amountsOf(slot));
    const harm = ({ slots, files, bytes }: Harm): object => ({ slots: slots.length, slotNumbers: slots, files, bytes });
    return { stop, unreadable: harm(unreadable), unwritable: harm(unwritable), lost: harm(lost) };
  }

  async #change(change: (map: ClusterMap) => ClusterMap, isDryRun: boolean): Promise<object> {
    const before = this.#mapNow();
    const after = change(before);
    await this.#count(before);
    const moves = this.#movesTo(after);
    if (isDryRun) return { isDryRun, isChanged: after !== before, epoch: before.epoch, moves };
    const { map } = await this.#master.commits.change((current) => {
      const map = current === undefined ? current : change(current);
      return { map, result: undefined };
    });
    return { isDryRun, isChanged: after !== before, epoch: map?.epoch ?? 0, moves };
  }

  #movesTo(map: ClusterMap): object {
    const wanted = wantedPlacement(map.peers, map.slots.length, map.pool.replicas);
    const moves = movesTo(map, wanted, (slot) => this.#census.amountsOf(slot));
    const senders = new Set(map.slots.map(({ primary }) => primary)).size;
    const set = map.repairBytesPerSecond * senders;
    const bytesPerSecond = set > 0 ? set : this.#master.repair.bytesPerSecond;
    const etaSeconds = moves.bytes === 0 ? 0 : bytesPerSecond > 0 ? Math.ceil(moves.bytes / bytesPerSecond) : null;
    return { ...moves, etaSeconds };
  }

  async #count(map: ClusterMap): Promise<void> {
    this.#census.take(map, await this.#master.watch.amounts());
  }

  #mapNow(): ClusterMap {
    return this.#master.map ?? refuse('not-ready', 'No peer has joined yet');
  }
}
