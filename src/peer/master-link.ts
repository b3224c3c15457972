/**
 * This peer's connection to a master: says hello again and again until answered, for ever, and asks for changes of the
 * map.
 *
 * Every answer to a change carries the map after it. Serves S1, S9.
 */
import { type Deferred, defer } from '../core/deferred.js';
import type { Environment } from '../core/environment.js';
import { sleep } from '../core/environment.js';
import { DfsError, isRefusal, refuse } from '../core/errors.js';
import type { Address, PeerId } from '../core/ids.js';
import { ConnectFailure } from '../core/network.js';
import { timing } from '../core/timing.js';
import type { RequestOf } from '../protocol/messages.js';
import { openSession, type Session } from '../protocol/session.js';
import { type Change, ChangeLane } from './change-lane.js';
import type { ClusterClock } from './cluster-clock.js';
import type { Identity } from './identity.js';

export interface MasterLinkParts {
  readonly environment: Environment;
  readonly me: Identity;
  readonly clock: ClusterClock;
  readonly masters: readonly Address[];
  readonly zone: string;
  readonly weight: number;
  /** The address others reach this peer at; `yourAddress` is what the master sees. */
  advertised(yourAddress: string): Address;
  mapEpoch(): number;
  /** Of the map this peer follows. */
  lineage(): string | undefined;
  /** Resolves when the map is durable here. */
  onMap(encoded: Uint8Array): Promise<void>;
  onJoined(clusterId: string, peerId: PeerId): Promise<void>;
  /** The master has refused this start for a while: the process must end with the sentence. */
  onRejected(error: DfsError): void;
  /** Its disk is broken, or there is a bug: the process must end. */
  onFailure(error: unknown): void;
}

const changeTimeoutMs = 2000;
/** A master that has just started answers after it has listened for a while. */
const joinTimeoutMs = 5000;
/** An older process on the same folder may need so long to end. */
const rejectedForMs = 3000;
const reportsKeptMax = 1000;

export class MasterLink {
  readonly #parts: MasterLinkParts;
  #session: Session | undefined;
  #waiting: Deferred<void>[] = [];
  readonly #additions: ChangeLane;
  readonly #otherChanges: ChangeLane;
  #closed = false;
  #complained: string | undefined;
  #hasJoined = false;
  #isRemoved = false;
  #rejectedSinceMs: number | undefined;
  readonly #reports: RequestOf<'report'>[] = [];
  #isReporting = false;

  constructor(parts: MasterLinkParts) {
    this.#parts = parts;
    const laneParts = {
      clock: parts.environment.clock,
      gatherMs: timing.gatherAddsMs,
      send: (changes: readonly Change[]) => this.#send(changes),
      onFailure: (error: unknown) => parts.onFailure(error),
    };
    this.#additions = new ChangeLane(laneParts);
    this.#otherChanges = new ChangeLane(laneParts);
  }

  start(): void {
    this.#keepJoined().catch((error: unknown) => this.#parts.onFailure(error));
  }

  get isConnected(): boolean {
    return this.#session !== undefined;
  }

  close(): void {
    this.#closed = true;
    this.#session?.close('the peer stops');
    this.#session = undefined;
    for (const waiting of this.#waiting) waiting.resolve();
    this.#additions.close();
    this.#otherChanges.close();
  }

  /** Says again who this is: the master takes the peer for another process. */
  rejoin(): void {
    this.#session?.close('the master takes this peer for another');
  }

  /**
   * Resolves when the master has answered and the map of its answer was taken; what it says is in the map. Refused
   * `cancelled` once the link is closed: who asks until it is so would ask for ever. Copies to be added wait for others
   * unless they are hurried, here and at the master: fewer maps for everyone. Nothing else ever waits for them.
   */
  async change(changes: readonly Change[], isHurried = true): Promise<void> {
    if (this.#closed) refuse('cancelled', 'This peer stops: it asks the master for nothing more');
    const lane = changes.every(({ op }) => op === 'add') ? this.#additions : this.#otherChanges;
    await lane.ask(changes, isHurried);
  }

  async #send(changes: readonly Change[]): Promise<boolean> {
    const session = this.#session;
    if (session === undefined) return false;
    try {
      const answer = await session.request('change', { changes }, { timeoutMs: changeTimeoutMs });
      if (answer.payload !== undefined) await this.#parts.onMap(answer.payload);
      return true;
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
      this.#parts.environment.log.warn({ error: error.message }, 'a change of the map is asked for again');
      // After a cut the old connection would wait out TCP's back-off; a new one is there at once.
      if (error.code === 'timed-out') session.close('the master did not answer');
      return false;
    }
  }

  /** Tells the master that a connection to a peer broke; it looks for itself. */
  suspect(peer: PeerId): void {
    this.#session?.request('suspect', { peer }, { timeoutMs: changeTimeoutMs }).catch((error: unknown) => {
      this.#parts.environment.log.debug({ peer, error: String(error) }, 'suspicion not delivered');
    });
  }

  /** Tells the master for the log of events; while it is away the newest few are kept for it. */
  report(report: RequestOf<'report'>): void {
    this.#reports.push(report);
    if (this.#reports.length > reportsKeptMax) this.#reports.shift();
    void this.#sendReports();
  }

  async #sendReports(): Promise<void> {
    if (this.#isReporting) return;
    this.#isReporting = true;
    try {
      for (let next = this.#reports[0]; next !== undefined && this.#session !== undefined; next = this.#reports[0]) {
        await this.#sendReport(this.#session, next);
        // It was perhaps pushed out by newer ones meanwhile.
        if (this.#reports[0] === next) this.#reports.shift();
      }
    } catch (error) {
      this.#parts.environment.log.debug({ error: String(error) }, 'a report was not delivered yet');
    } finally {
      this.#isReporting = false;
    }
  }

  async #sendReport(session: Session, report: RequestOf<'report'>): Promise<void> {
    try {
      await session.request('report', report, { timeoutMs: changeTimeoutMs });
    } catch (error) {
      // One that no master can take would hold up all that come after it.
      if (!isRefusal(error, 'invalid', 'unsupported')) throw error;
      this.#parts.environment.log.warn({ report, error: error.message }, 'a report was not taken');
    }
  }

  async goodbye(): Promise<void> {
    const answer = await this.#session?.request('goodbye', {}, { timeoutMs: changeTimeoutMs });
    if (answer?.payload !== undefined) await this.#parts.onMap(answer.payload);
  }

  /** The newest map of the master, if it is newer. */
  async fetchMap(): Promise<void> {
    const answer = await this.#session?.request(
      'map',
      { newerThan: this.#parts.mapEpoch(), waitMs: 0 },
      { timeoutMs: changeTimeoutMs },
    );
    if (answer?.payload !== undefined) await this.#parts.onMap(answer.payload);
  }

  async #keepJoined(): Promise<void> {
    for (let attempt = 0; !this.#closed; attempt++) {
      const address = this.#parts.masters[attempt % this.#parts.masters.length];
      if (address === undefined) return;
      try {
        const closed = defer<void>();
        await this.#joinAt(address, () => closed.resolve());
        this.#complained = undefined;
        await closed.promise;
      } catch (error) {
        this.#onNotJoined(address, error);
      }
      this.#session = undefined;
      await sleep(this.#parts.environment.clock, this.#isRemoved ? timing.removedRetryMs : timing.helloRetryMs);
    }
  }

  async #joinAt(address: Address, onClose: () => void): Promise<void> {
    const { me, environment } = this.#parts;
    const session = await openSession(environment, address, {
      hello: { role: 'peer', generation: me.nextGeneration(), ...me.named() },
      timeoutMs: timing.helloTimeoutMs,
      onClose,
    });
    try {
      if (session.remote.role !== 'master') {
        throw new DfsError('wrong-identity', `${address} is a ${session.remote.role}, not a dfs-master`);
      }
      if (session.remote.clusterMs !== undefined) this.#parts.clock.onTold(session.remote.clusterMs);
      const answer = await session.request(
        'join',
        {
          ...me.named(),
          address: this.#parts.advertised(session.remote.yourAddress ?? ''),
          zone: this.#parts.zone,
          weight: this.#parts.weight,
          mapEpoch: this.#parts.mapEpoch(),
          ...this.#lineage(),
        },
        { timeoutMs: joinTimeoutMs },
      );
      if (answer.payload === undefined) throw new DfsError('invalid', 'The master answered a join without a map');
      await this.#parts.onJoined(answer.header.clusterId, answer.header.peerId);
      await this.#parts.onMap(answer.payload);
      environment.log.info({ master: address, peer: answer.header.peerId }, 'joined');
      this.#session = session;
      this.#hasJoined = true;
      this.#isRemoved = false;
      void this.#sendReports();
    } catch (error) {
      session.close('joining failed');
      throw error;
    }
  }

  #lineage(): { lineage?: string } {
    const lineage = this.#parts.lineage();
    return lineage === undefined ? {} : { lineage };
  }

  /** A peer that has joined goes on serving, whatever now answers at the master's address (S9). */
  #onRejected(error: DfsError): void {
    const nowMs = this.#parts.environment.clock.monotonicMs();
    this.#rejectedSinceMs ??= nowMs;
    if (!this.#hasJoined && nowMs - this.#rejectedSinceMs >= rejectedForMs) this.#parts.onRejected(error);
  }

  #onNotJoined(address: Address, error: unknown): void {
    if (!(error instanceof DfsError || error instanceof ConnectFailure)) throw error;
    this.#isRemoved = this.#hasJoined && isRefusal(error, 'removed');
    if (isRefusal(error, 'wrong-cluster', 'wrong-identity', 'removed')) this.#onRejected(error);
    else this.#rejectedSinceMs = undefined;
    if (this.#complained === error.message) return;
    this.#complained = error.message;
    const { log } = this.#parts.environment;
    // It goes on for a while: its surplus copies are dropped only once others have confirmed theirs (F15).
    if (isRefusal(error, 'removed')) log.error({ master: address }, `${error.message}. ${error.advice ?? ''}`);
    else if (isRefusal(error, 'not-ready', 'conflict', 'wrong-cluster', 'wrong-identity'))
      log.warn({ master: address }, `${error.message}. ${error.advice ?? 'It goes on asking'}`);
    else log.warn({ master: address, error: error.message }, 'the master does not answer; trying on');
  }
}
