/**
 * The master as a whole: one map, one loop that compares what is with what should be, one way to change it.
 *
 * Whenever something happened (a verdict, a pong that was waited for, a commit) and each round, it asks failover.ts and
 * the planner what the map should say now, commits that as one change, and brings the durable map to the peers and to
 * whoever waits for it. Requests are server.ts's matter. Serves S3, S8, S9.
 */
import { areTooManyAway, dueToBeOut, withOut } from '../cluster/absence.js';
import type { ClusterMap } from '../cluster/map.js';
import { withPeerDown, withPeerUp, withPromotions } from '../cluster/membership.js';
import type { Steps } from '../cluster/planner.js';
import { withSettings } from '../cluster/settings.js';
import { withDropped, withJoining } from '../cluster/slot-changes.js';
import { type Environment, every, type Timer } from '../core/environment.js';
import { DaemonStop, exitCodes, isRefusal } from '../core/errors.js';
import type { Address, Epoch, PeerId } from '../core/ids.js';
import type { SmallFiles } from '../core/storage.js';
import { timing } from '../core/timing.js';
import { decodeMap, encodeMap } from '../protocol/map-codec.js';
import { Checkpoints, type CheckpointTimer } from './checkpoints.js';
import { Commits } from './commits.js';
import { Conditions } from './conditions.js';
import { EventLog, type NewEvent } from './events.js';
import { decideFailover, type Failover } from './failover.js';
import { eventsBetween, eventsOfCondition, eventsOfVerdicts, GatheredMoves } from './map-events.js';
import type { MapStore } from './map-store.js';
import { ClusterClock, nextIncarnation } from './master-files.js';
import { absencesOf, type Membership } from './membership.js';
import { Noticed } from './noticed.js';
import { Operations } from './operations.js';
import { PeerWatch } from './peer-watch.js';
import { Planning } from './planning.js';
import { MasterServer } from './server.js';
import { RepairProgress, repairLeft, type StatusView, toStatus } from './status.js';

export interface MasterOptions {
  readonly listen: Address;
  /** For a new cluster only. */
  readonly replicas: number;
  readonly minInSync: number;
  readonly slotCount: number;
  /** Followed at every start. */
  readonly repairGraceMs: number;
  readonly quarantineMs: number;
  readonly nodeVersion: string;
  readonly checkpoints: CheckpointTimer;
  /** The master must not go on: its store failed, or somebody else leads the cluster. Called once. */
  onFatal(error: unknown): void;
  /** For a command run at each event. */
  onEvent?(event: object): void;
}

const planSoonMs = 5;
const housekeepingRounds = Math.round(timing.housekeepingMs / timing.masterRoundMs);
const savingRounds = 5 * housekeepingRounds;
const eventRounds = 2; // events of a moment share a write

export class Master {
  readonly incarnation: number;
  readonly clusterClock: ClusterClock;
  readonly events: EventLog;
  readonly commits: Commits;
  readonly watch: PeerWatch;
  readonly planning = new Planning();
  readonly conditions = new Conditions();
  readonly repair = new RepairProgress();
  readonly operations = new Operations(this);
  readonly checkpoints = new Checkpoints(this);
  readonly options: MasterOptions;
  readonly environment: Environment;
  readonly #startedMs: number;
  readonly #moves = new GatheredMoves();
  readonly #noticed = new Noticed();
  #server: MasterServer | undefined;
  #rounds: { stop(): void } | undefined;
  #roundCount = 0;
  #awaited: ReadonlySet<PeerId> = new Set();
  #isReconciling = false;
  #isStopped = false;
  #planSoon: Timer | undefined;
  #plannedMs = Number.NEGATIVE_INFINITY;
  /** What the planner wants is on its way into the map. */
  #isStepping = false;
  /** Since when the master has run without standing still, and not too many peers were away. */
  #calmSinceMs = 0;

  private constructor(
    environment: Environment,
    options: MasterOptions,
    loaded: {
      maps: MapStore;
      map: ClusterMap | undefined;
      incarnation: number;
      clusterClock: ClusterClock;
      events: EventLog;
    },
  ) {
    this.environment = environment;
    this.options = options;
    this.incarnation = loaded.incarnation;
    this.clusterClock = loaded.clusterClock;
    this.events = loaded.events;
    this.#startedMs = environment.clock.monotonicMs();
    this.watch = new PeerWatch(environment, {
      incarnation: loaded.incarnation,
      clusterMs: () => this.clusterClock.nowMs(),
      slowPeers: () => this.conditions.slowPeers,
      onLivenessChanged: (before, after) => this.#onLivenessChanged(before, after),
      onAnswered: (peer) => void (this.#awaited.has(peer) && this.#look()),
      onForeignMap: (sentence) => this.onForeignMap(sentence),
      onLate: (lateMs) => this.#onLate(lateMs),
    });
    this.commits = new Commits(
      loaded.maps,
      {
        incarnation: loaded.incarnation,
        clock: environment.clock,
        probe: environment.probe,
        onCommitted: (before, after) => this.#onCommitted(before, after),
        onFailed: (error) => this.#fail(error),
      },
      loaded.map,
    );
  }

  /** Loads what is stored and begins to listen. Throws DaemonStop when it must not start. */
  static async start(
    environment: Environment,
    stores: { readonly maps: MapStore; readonly files: SmallFiles },
    options: MasterOptions,
  ): Promise<Master> {
    const { maps, files } = stores;
    const map = await maps.load();
    const incarnation = await nextIncarnation(files, map?.masterIncarnation ?? 0);
    const clusterClock = await ClusterClock.load(environment.clock, files);
    const events = await EventLog.load(files, environment.log, () => clusterClock.nowMs());
    environment.probe?.at({ point: 'mapLoaded', map });
    const master = new Master(environment, options, { maps, map, incarnation, clusterClock, events });
    await master.checkpoints.load(files);
    events.onKept = (event) => options.onEvent?.(event);
    master.#tellWhatIsUntold();
    await master.#begin();
    return master;
  }

  get address(): Address {
    return this.#server?.address ?? this.options.listen;
  }

  get map(): ClusterMap | undefined {
    return this.commits.map;
  }

  /** The newest durable map as it travels. */
  get encodedMap(): Uint8Array | undefined {
    return this.map === undefined ? undefined : encodeMap(this.map);
  }

  /** What the map should say of the living and the dead, given who has answered what by now. */
  failover(map: ClusterMap): Failover {
    return decideFailover(map, this.watch.membership, this.environment.clock.monotonicMs());
  }

  status(): object {
    return toStatus(this.#statusView());
  }

  #statusView(): StatusView {
    return {
      map: this.map,
      membership: this.watch.membership,
      heardFrom: (peer) => this.watch.heardFrom(peer),
      conditionOf: (peer) => this.conditions.of(peer),
      figuresOf: (peer) => this.watch.figuresOf(peer),
      wanted: this.map === undefined ? [] : this.planning.wanted(this.map),
      bytesPerSecond: this.repair.bytesPerSecond,
      checkpoints: this.checkpoints.count,
      failing: this.planning.failing(this.environment.clock.monotonicMs()),
      masterAddress: this.address,
      settings: this.options,
      uptimeMs: this.environment.clock.monotonicMs() - this.#startedMs,
      nowMs: this.environment.clock.monotonicMs(),
    };
  }

  addEvent(event: NewEvent): void {
    this.#tell(this.#moves.add({ epoch: this.map?.epoch ?? 0, ...event }));
  }

  #addEvents(events: readonly NewEvent[]): void {
    for (const event of events) this.addEvent(event);
  }

  #tell(events: readonly NewEvent[]): void {
    for (const event of events) this.events.add({ epoch: 0, ...event });
    if (events.length > 0 && this.#moves.isEmpty && this.encodedMap !== undefined)
      this.events.toldMap = this.encodedMap;
  }

  /** What a former start of the master changed and did not live to tell. */
  #tellWhatIsUntold(): void {
    const { map } = this;
    const told = this.events.toldMap;
    const before = told === undefined ? undefined : decodeMap(told);
    if (map === undefined || before === undefined || before.epoch >= map.epoch) return;
    this.#tell(eventsBetween(before, map).map((event) => ({ ...event, epoch: map.epoch })));
  }

  /** Somebody follows a map that this master never made: going on could undo what that one decided (S10). */
  onForeignMap(sentence: string): void {
    this.#fail(
      new DaemonStop(
        exitCodes.configuration,
        `${sentence}: this store is not the newest. Start the master over the newest one; if that is lost, recover it`,
      ),
    );
  }

  /** Ends cleanly: what is under way is made durable first. */
  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#rounds?.stop();
    this.#planSoon?.cancel();
    this.checkpoints.stop();
    await this.#server?.close();
    this.watch.stop();
    this.commits.close();
    await this.commits.idle();
    this.#tell(this.#moves.takeAll());
    await this.events.save();
  }

  async #begin(): Promise<void> {
    this.#server = await MasterServer.listen(this);
    if (this.map !== undefined) this.watch.follow(this.map, this.encodedMap ?? new Uint8Array());
    this.#rounds = every(
      this.environment.clock,
      timing.masterRoundMs,
      () => this.#round(),
      (error) => this.#fail(error),
    );
  }

  #round(): void {
    if (this.#roundCount === 0) {
      const text = `Start ${this.incarnation} of the master${this.map === undefined ? ', with an empty store' : ''}`;
      this.addEvent({ kind: 'master-started', text, data: { incarnation: this.incarnation } });
    }
    this.#roundCount += 1;
    this.watch.round();
    this.#look();
    if (this.environment.clock.monotonicMs() - this.#plannedMs >= 2 * timing.planPauseMs) this.#plan();
    if (this.#roundCount % housekeepingRounds === 0) this.#keepHouse();
    if (this.#roundCount % eventRounds === 0) this.events.save().catch((error) => this.onFailedWrite(error));
    if (this.#roundCount % savingRounds === 0) this.clusterClock.mark().catch((error) => this.onFailedWrite(error));
  }

  #keepHouse(): void {
    this.#tell(this.#moves.takeAll());
    this.checkpoints.look();
    if (this.map !== undefined) {
      this.repair.note(repairLeft(this.#statusView()).bytesLeft, this.environment.clock.monotonicMs());
    }
  }

  /** Compares the map with the verdicts, asks whose answer is missing, and commits what follows. */
  #look(): void {
    const { map } = this;
    if (map === undefined || this.#isStopped || this.watch.onlyListens) return;
    const failover = this.failover(map);
    this.#awaited = new Set(failover.ask);
    this.watch.ask(failover.ask, failover.deathMs);
    if (this.#isReconciling) return;
    if (this.#followed(map) === map) {
      this.#addEvents(this.#noticed.waiting(map));
      return;
    }
    this.#isReconciling = true;
    this.environment.probe?.at({ point: 'promoting' });
    this.commits
      .change((current) => ({ map: current && this.#followed(current), result: undefined }))
      .then(
        () => {
          this.#isReconciling = false;
          this.#look();
        },
        (error) => {
          this.#isReconciling = false;
          this.onFailedWrite(error);
        },
      );
  }

  /** The map with everything in it that follows from who is alive. */
  #followed(map: ClusterMap): ClusterMap {
    const { down, up, answered, isDecided } = this.failover(map);
    let next = up.reduce(withPeerUp, map);
    if (!isDecided) return next;
    for (const peer of down) next = withPeerDown(next, { peer, answered });
    return withPromotions(next, answered);
  }

  /** Takes the planner's next steps. */
  #plan(): void {
    const { map } = this;
    if (map === undefined || this.#isStopped || this.watch.onlyListens) return;
    const { repairGraceMs, quarantineMs } = this.options;
    const nowMs = this.environment.clock.monotonicMs();
    this.#plannedMs = nowMs;
    const changed = this.conditions.look(this.watch.figures(), nowMs);
    this.#addEvents(changed.flatMap(eventsOfCondition));
    const steps = this.#steps(map);
    const wishes = this.planning.dueWishes(steps.handovers, nowMs);
    for (const from of new Set(wishes.map((wish) => wish.from))) {
      this.watch.wish(
        from,
        wishes.filter((wish) => wish.from === from),
      );
    }
    const planned = (current: ClusterMap): ClusterMap => {
      // Decided anew: who answered when this was asked for may be gone by now, and a drop would take the last copy.
      const { joining, drops } = this.#steps(current);
      const stepped = withJoining(withDropped(current, drops), joining);
      const after = withOut(withSettings(stepped, { repairGraceMs, quarantineMs }), this.#dueToBeOut(current));
      this.environment.probe?.at({ point: 'planned', before: current, after });
      return after;
    };
    // A new copy is begun at once; the next step after one that was made can wait for others.
    const patienceMs = steps.joining.length > 0 ? 0 : timing.patientChangeMs;
    if ((this.#isStepping && patienceMs > 0) || planned(map) === map) return;
    this.#isStepping = true;
    this.commits
      .change((current) => ({ map: current && planned(current), result: undefined }), { patienceMs })
      .catch((error) => this.onFailedWrite(error))
      .finally(() => {
        this.#isStepping = false;
      });
  }

  #steps(map: ClusterMap): Steps {
    const nowMs = this.environment.clock.monotonicMs();
    const takenEpochOf = (peer: PeerId): Epoch => this.watch.heardFrom(peer)?.pong.mapEpoch ?? 0;
    const { hasRoom } = this.conditions;
    return this.planning.steps(map, { nowMs, upSinceMs: this.watch.upSinceMs, takenEpochOf, hasRoom });
  }

  #dueToBeOut(map: ClusterMap): readonly PeerId[] {
    const nowMs = this.environment.clock.monotonicMs();
    if (areTooManyAway(map)) this.#calmSinceMs = nowMs;
    const absences = absencesOf(this.watch.membership);
    return dueToBeOut(map, this.planning.wanted(map), { absences, calmSinceMs: this.#calmSinceMs, nowMs });
  }

  #onCommitted(before: ClusterMap | undefined, after: ClusterMap): void {
    if (before !== undefined) this.planning.onCommitted(before, after, this.environment.clock.monotonicMs());
    this.watch.follow(after, this.encodedMap ?? new Uint8Array());
    this.checkpoints.onMap(after);
    this.#server?.onNewMap(after);
    this.#addEvents(eventsBetween(before, after).map((event) => ({ ...event, epoch: after.epoch })));
    // Not here and now: whoever asked for this change is answered first.
    const { clock } = this.environment;
    const restMs = this.#plannedMs + timing.planPauseMs - clock.monotonicMs();
    this.#planSoon ??= clock.after(Math.max(planSoonMs, restMs), () => {
      this.#planSoon = undefined;
      this.#plan();
      if (this.map !== undefined) this.#addEvents(this.#noticed.health(this.map, this.planning.wanted(this.map)));
    });
  }

  #onLate(lateMs: number): void {
    this.#calmSinceMs = this.environment.clock.monotonicMs();
    const text = `The master stood still for ${Math.round(lateMs)} ms; it judges nobody this round`;
    this.addEvent({ kind: 'master-late', text, data: { lateMs: Math.round(lateMs) } });
  }

  #onLivenessChanged(before: Membership, after: Membership): void {
    this.#addEvents(eventsOfVerdicts(before, after));
    this.#look();
  }

  /** A disk without room may have some later: the next round tries again. Anything else ends the master. */
  onFailedWrite(error: unknown): void {
    // What waited when it was told to stop was refused.
    if (this.#isStopped) return;
    if (isRefusal(error)) this.environment.log.warn({ error: error.message }, 'The master could not write');
    else this.#fail(error);
  }

  #fail(error: unknown): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#rounds?.stop();
    this.#planSoon?.cancel();
    this.commits.close();
    this.watch.stop();
    this.options.onFatal(error);
  }
}
