/**
 * Checkpoints of the whole cluster: made, remembered, removed, on request or by the clock.
 *
 * One is made in three steps, each asked of every peer that answered the one before: hold, copy, finish
 * (peer/checkpoints.ts). It is *complete* when for each slot some peer vouches for its copy, and every peer that led a
 * slot meanwhile held to the end; else it is tried again a few times and then kept as incomplete. What is written down
 * here only says which there are: a client that restores one asks the peers. A checkpoint is written down before any
 * peer is told to begin, and until every peer has removed its part, so that whatever stops in between leaves nothing
 * behind. docs/decisions/0012-checkpoints-are-copies-of-the-indexes.md has the argument.
 */
import type { ClusterMap } from '../cluster/map.js';
import { assertDefined } from '../core/assert.js';
import { sleep } from '../core/environment.js';
import { DfsError, isRefusal, refuse } from '../core/errors.js';
import { type PeerId, type SlotNumber, type TimedId, toHex } from '../core/ids.js';
import { toIsoTime } from '../core/iso-time.js';
import { limits } from '../core/limits.js';
import type { SmallFiles } from '../core/storage.js';
import type { RequestOf } from '../protocol/messages.js';
import { decodeVouchRows } from '../protocol/rows.js';
import type { Answer } from '../protocol/session.js';
import type { Master } from './master.js';
import { readSealed, replaceSealed } from './sealed-file.js';

export interface CheckpointRecord {
  readonly id: string;
  /** By the cluster's clock: every write acknowledged before is in it. */
  readonly atMs: number;
  readonly state: 'making' | 'complete' | 'incomplete' | 'removing';
  /** Made by the clock: retention counts and removes these alone. */
  readonly isTimed: boolean;
  /** Who has a part; of one that is being removed, who has not said yet that it is gone. */
  readonly peers: readonly PeerId[];
  /** Of an incomplete one: what is wrong with it. */
  readonly missingSlots: readonly SlotNumber[];
  readonly reasons: readonly string[];
}

export interface CheckpointTimer {
  /** 0: never. */
  readonly everyMs: number;
  readonly keep: number;
}

type Step = RequestOf<'checkpoint-step'>['step'];
type Parts = ReadonlyMap<PeerId, Answer<'checkpoint-step'>>;
type Verdict = Pick<CheckpointRecord, 'peers' | 'missingSlots' | 'reasons'>;

const file = 'checkpoints';
const attempts = 4;
const attemptPauseMs = 1000;
/** A peer that is busy with a full disk or a long commit; a copy takes as long as the index is large. */
const stepTimeoutMs: Readonly<Record<Step, number>> = { hold: 10_000, copy: 3_600_000, finish: 600_000 };
const removeTimeoutMs = 5000;
const listTimeoutMs = 1000;

export class Checkpoints {
  readonly #master: Master;
  #files: SmallFiles | undefined;
  #records: readonly CheckpointRecord[] = [];
  #saving: Promise<void> = Promise.resolve();
  /** Whoever has led a slot since the checkpoint that is being made began. */
  #leaders: Set<PeerId> | undefined;
  #isMaking = false;
  #isRemoving = false;
  #isStopped = false;
  #notBeforeMs = 0;

  constructor(master: Master) {
    this.#master = master;
  }

  /** To be called before anything else. Throws DaemonStop when what is there cannot be read. */
  async load(files: SmallFiles): Promise<void> {
    this.#files = files;
    const content = await readSealed(files, file);
    if (content === undefined) return;
    const records = JSON.parse(Buffer.from(content).toString()) as readonly CheckpointRecord[];
    // One that a former start did not finish is removed: its holds have ended with the connections of that start.
    this.#records = records.map((record) => (record.state === 'making' ? { ...record, state: 'removing' } : record));
  }

  get count(): number {
    return this.#records.filter(({ state }) => state === 'complete' || state === 'incomplete').length;
  }

  stop(): void {
    this.#isStopped = true;
  }

  onMap(map: ClusterMap): void {
    if (this.#leaders !== undefined) addLeaders(this.#leaders, map);
  }

  /** To be called about every second. */
  look(): void {
    if (this.#isStopped || this.#master.map === undefined || this.#master.watch.onlyListens) return;
    this.#removeParts().catch((error: unknown) => this.#master.onFailedWrite(error));
    const { everyMs, keep } = this.#master.options.checkpoints;
    for (const { id } of outdated(this.#records, keep)) {
      this.#become(id, { state: 'removing', peers: this.#everyPeer() });
    }
    const nowMs = this.#master.clusterClock.nowMs();
    const dueMs = Math.max(lastTimedMs(this.#records) + everyMs, this.#notBeforeMs);
    if (everyMs === 0 || this.#isMaking || nowMs < dueMs) return;
    // Also when it is refused.
    this.#notBeforeMs = nowMs + everyMs;
    const suffix = toHex(this.#master.environment.random.bytes(4));
    this.#begin(suffix, { isTimed: true }).catch((error: unknown) => this.#master.onFailedWrite(error));
  }

  /** Begins one and resolves with it. Refuses `conflict` while another is made. */
  async create(requestId: TimedId): Promise<object> {
    const suffix = toHex(requestId).slice(-8);
    const known = this.#records.find(({ id }) => id.endsWith(suffix));
    return toJson(known ?? (await this.#begin(suffix, { isTimed: false })));
  }

  /** Those that are known here, oldest first, and those that only peers know of: made under another master's memory. */
  async list(): Promise<readonly object[]> {
    const known = new Set(this.#records.map(({ id }) => id));
    const strange = new Map<string, CheckpointRecord>();
    const peers = this.#everyPeer();
    const options = { timeoutMs: listTimeoutMs };
    const answers = await Promise.all(
      peers.map((peer) => this.#master.watch.request(peer, 'checkpoint-parts', {}, options).catch(unanswered)),
    );
    for (const [at, peer] of peers.entries()) {
      for (const { checkpoint, atMs } of answers[at]?.header.parts ?? []) {
        if (known.has(checkpoint)) continue;
        const others = strange.get(checkpoint)?.peers ?? [];
        strange.set(checkpoint, unknownRecord(checkpoint, atMs, [...others, peer]));
      }
    }
    return [...this.#records, ...strange.values()].sort((a, b) => a.atMs - b.atMs).map(toJson);
  }

  /** Resolves when it is written down that it goes. */
  async remove(checkpoint: string): Promise<object> {
    const known = this.#records.find(({ id }) => id === checkpoint);
    const listed = known === undefined ? ((await this.list()) as readonly { id: string }[]) : [];
    if (known === undefined && !listed.some(({ id }) => id === checkpoint)) {
      return refuse('not-found', `There is no checkpoint ${checkpoint}`, { advice: 'See dfs checkpoint ls' });
    }
    if (known?.state === 'making') {
      return refuse('conflict', `Checkpoint ${checkpoint} is being made`, { advice: 'Wait until it is there' });
    }
    const record = known ?? unknownRecord(checkpoint, 0, []);
    if (record.state !== 'removing' || known === undefined) {
      const removing: CheckpointRecord = { ...record, state: 'removing', peers: this.#everyPeer() };
      await this.#save([...this.#records.filter(({ id }) => id !== checkpoint), removing]);
      const text = `Checkpoint ${checkpoint} is removed`;
      this.#master.addEvent({ kind: 'checkpoint-removed', text, data: { checkpoint } });
    }
    this.#removeParts().catch((error: unknown) => this.#master.onFailedWrite(error));
    return { id: checkpoint, state: 'removing' };
  }

  // --- Making --------------------------------------------------------------------------------------------------------

  async #begin(suffix: string, { isTimed }: { isTimed: boolean }): Promise<CheckpointRecord> {
    if (this.#master.map === undefined) refuse('not-ready', 'No peer has joined yet');
    if (this.#isMaking) refuse('conflict', 'A checkpoint is being made already', { advice: 'Wait until it is there' });
    if (this.#records.length >= limits.checkpointsMax) {
      refuse('no-space', `There are ${this.#records.length} checkpoints, as many as are kept`, {
        advice: 'Remove one: dfs checkpoint rm ID',
      });
    }
    this.#isMaking = true;
    const atMs = this.#master.clusterClock.nowMs();
    const id = `${toIsoTime(atMs).slice(0, 19).replace(/[-:]/g, '').replace('T', '-')}-${suffix}`;
    const peers = this.#everyPeer();
    const record: CheckpointRecord = {
      ...{ id, atMs, isTimed, peers },
      state: 'making',
      missingSlots: [],
      reasons: [],
    };
    try {
      await this.#save([...this.#records, record]);
    } catch (error) {
      this.#isMaking = false;
      throw error;
    }
    this.#make(record)
      .catch((error: unknown) => {
        this.#become(id, { state: 'removing', peers: this.#everyPeer() });
        this.#master.onFailedWrite(error);
      })
      .finally(() => {
        this.#isMaking = false;
        this.#leaders = undefined;
      });
    return record;
  }

  async #make({ id, atMs }: CheckpointRecord): Promise<void> {
    let verdict: Verdict = { peers: [], missingSlots: [], reasons: [] };
    for (let attempt = 1; attempt <= attempts; attempt++) {
      if (attempt > 1) await sleep(this.#master.environment.clock, attemptPauseMs);
      verdict = await this.#attempt(id, atMs);
      if (this.#isStopped) return;
      if (verdict.reasons.length === 0) break;
    }
    const [reason] = verdict.reasons;
    const state = reason === undefined ? 'complete' : 'incomplete';
    await this.#save(this.#records.map((record) => (record.id === id ? { ...record, ...verdict, state } : record)));
    const text =
      reason === undefined
        ? `Checkpoint ${id} is complete, with parts on ${verdict.peers.length} peers`
        : `Checkpoint ${id} is incomplete: ${reason}`;
    this.#master.addEvent({ kind: 'checkpoint-made', text, data: { checkpoint: id, ...verdict, state } });
  }

  async #attempt(checkpoint: string, atMs: number): Promise<Verdict> {
    const { map, encodedMap } = this.#master;
    if (map === undefined || encodedMap === undefined) return { peers: [], missingSlots: [], reasons: ['No map'] };
    const leaders = new Set<PeerId>();
    this.#leaders = leaders;
    addLeaders(leaders, map);
    const up = map.peers.filter(({ state }) => state === 'up').map(({ id }) => id);
    await this.#writeDown(checkpoint, up);
    const failures: string[] = [];
    const step = async (name: Step, peers: readonly PeerId[]): Promise<Parts> => {
      const header = { checkpoint, step: name, atMs };
      const options = { timeoutMs: stepTimeoutMs[name], ...(name === 'hold' ? { payload: encodedMap } : {}) };
      const asked = peers.map(async (peer) => {
        try {
          return [peer, await this.#master.watch.request(peer, 'checkpoint-step', header, options)] as const;
        } catch (error) {
          if (!isRefusal(error)) throw error;
          failures.push(`${peer} has no part: ${error.message}`);
          return undefined;
        }
      });
      return new Map((await Promise.all(asked)).filter((answer) => answer !== undefined));
    };
    // Each step only when all have answered the one before: no copy is made while anybody may still sweep.
    const held = await step('hold', up);
    const copied = await step('copy', [...held.keys()]);
    const finished = await step('finish', [...copied.keys()]);
    return verdictOn(map.slots.length, finished, { leaders, failures });
  }

  /** Before they are told to begin: after a crash of the master this says whose parts are to be removed. */
  async #writeDown(checkpoint: string, peers: readonly PeerId[]): Promise<void> {
    const record = this.#records.find(({ id }) => id === checkpoint);
    const joined = peers.filter((peer) => record?.peers.includes(peer) === false);
    if (record === undefined || joined.length === 0) return;
    const longer = { ...record, peers: [...record.peers, ...joined] };
    await this.#save(this.#records.map((each) => (each.id === checkpoint ? longer : each)));
  }

  // --- Removing ------------------------------------------------------------------------------------------------------

  /** Tells every peer that may have a part of what is being removed; who is away is told when it is back. */
  async #removeParts(): Promise<void> {
    if (this.#isRemoving) return;
    this.#isRemoving = true;
    try {
      for (const { id, peers } of this.#records.filter(({ state }) => state === 'removing')) {
        const left = await Promise.all(peers.map((peer) => this.#hasPart(peer, id)));
        const waiting = peers.filter((_, at) => left[at]);
        if (this.#isStopped || (waiting.length === peers.length && waiting.length > 0)) continue;
        const others = this.#records.filter((record) => record.id !== id);
        const record = this.#records.find((each) => each.id === id);
        if (record === undefined) continue;
        await this.#save(waiting.length === 0 ? others : [...others, { ...record, peers: waiting }]);
      }
    } finally {
      this.#isRemoving = false;
    }
  }

  async #hasPart(peer: PeerId, checkpoint: string): Promise<boolean> {
    // One that left the cluster for good takes what it has with it.
    if (this.#master.map?.peers.find(({ id }) => id === peer)?.state === 'removed') return false;
    const options = { timeoutMs: removeTimeoutMs };
    const answer = await this.#master.watch
      .request(peer, 'checkpoint-remove', { checkpoint }, options)
      .catch(unanswered);
    return answer === undefined;
  }

  #become(checkpoint: string, change: Pick<CheckpointRecord, 'state' | 'peers'>): void {
    const records = this.#records.map((record) => (record.id === checkpoint ? { ...record, ...change } : record));
    this.#save(records).catch((error: unknown) => this.#master.onFailedWrite(error));
  }

  #everyPeer(): readonly PeerId[] {
    return (this.#master.map?.peers ?? []).filter(({ state }) => state !== 'removed').map(({ id }) => id);
  }

  /** Takes effect at once here, so that changes of one moment see each other; resolves when it is durable. */
  #save(records: readonly CheckpointRecord[]): Promise<void> {
    this.#records = records;
    const files = assertDefined(this.#files, 'What there was is loaded first');
    const write = (): Promise<void> => replaceSealed(files, file, Buffer.from(JSON.stringify(this.#records)));
    // A write that failed was told to whoever asked for it; this one brings what it held too.
    this.#saving = this.#saving.then(write, write);
    return this.#saving;
  }
}

function addLeaders(leaders: Set<PeerId>, map: ClusterMap): void {
  for (const { primary } of map.slots) if (primary !== undefined) leaders.add(primary);
}

/** Pure: whether the parts hold everything, and what is wrong when they do not. */
export function verdictOn(
  slotCount: number,
  finished: ReadonlyMap<PeerId, { readonly payload: Uint8Array | undefined }>,
  of: { readonly leaders: ReadonlySet<PeerId>; readonly failures: readonly string[] },
): Verdict {
  const vouched = new Set<SlotNumber>();
  for (const { payload } of finished.values()) {
    for (const { slot } of decodeVouchRows(payload ?? new Uint8Array(0))) vouched.add(slot);
  }
  const missingSlots = Array.from({ length: slotCount }, (_, slot) => slot).filter((slot) => !vouched.has(slot));
  // One that led a slot and did not hold may have swept segments that a copied record names.
  const loose = [...of.leaders].filter((peer) => !finished.has(peer));
  const reasons = [
    ...(missingSlots.length === 0 ? [] : [`nobody vouches for ${missingSlots.length} slots`]),
    ...loose.map((peer) => `${peer} led slots and did not take part to the end`),
  ];
  const causes = reasons.length === 0 ? [] : of.failures;
  return { peers: [...finished.keys()], missingSlots, reasons: [...reasons, ...causes] };
}

/** Pure: those made by the clock that retention no longer keeps. Incomplete ones go when a newer one is complete. */
export function outdated(records: readonly CheckpointRecord[], keep: number): readonly CheckpointRecord[] {
  const timed = records.filter(({ isTimed }) => isTimed);
  const complete = timed.filter(({ state }) => state === 'complete').sort((a, b) => b.atMs - a.atMs);
  const newestMs = complete[0]?.atMs ?? 0;
  const incomplete = timed.filter(({ state, atMs }) => state === 'incomplete' && atMs < newestMs);
  return [...complete.slice(keep), ...incomplete];
}

/** Also of one that is being removed: it was made. */
function lastTimedMs(records: readonly CheckpointRecord[]): number {
  return Math.max(0, ...records.filter(({ isTimed }) => isTimed).map(({ atMs }) => atMs));
}

function unknownRecord(id: string, atMs: number, peers: readonly PeerId[]): CheckpointRecord {
  const reasons = ['This master did not make it, and does not know whether it is complete'];
  return { id, atMs, peers, state: 'incomplete', isTimed: false, missingSlots: [], reasons };
}

function toJson({ id, atMs, state, isTimed, peers, missingSlots, reasons }: CheckpointRecord): object {
  return { id, at: atMs === 0 ? null : toIsoTime(atMs), state, isTimed, peers, missingSlots, reasons };
}

/** A peer that did not answer is asked again some other time. */
function unanswered(error: unknown): undefined {
  if (!(error instanceof DfsError)) throw error;
  return undefined;
}
