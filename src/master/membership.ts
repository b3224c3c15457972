/**
 * Judges a peer by its silence, its goodbye, or the refusal of its host: alive → suspect → down.
 *
 * A suspect keeps its slots: a pause looks just like a crash. Only failover.ts acts, and only on `down`. Being judged
 * wrongly costs a failover, never safety. Two guards keep the judge honest about itself: for the first second after
 * its start it only listens, and a master that was late itself (a pause, a busy machine) counts every peer's silence
 * afresh, so that after a pause each gets the whole time to answer. Pure: time comes in. Serves S3, S8.
 */
import type { Absence } from '../cluster/absence.js';
import type { PeerId } from '../core/ids.js';
import { timing } from '../core/timing.js';

/** `deaf`: whatever it was before, it has asked the master for something since, and answers no ping. */
export type DownReason = 'silent' | 'gone' | 'goodbye' | 'deaf';

export type Liveness =
  /** `heardAtMs`: the last sign of life, or when counting its silence began; `answeredMs`: see below. */
  | { readonly state: 'alive'; readonly heardAtMs: number; readonly answeredMs: number }
  | { readonly state: 'suspect'; readonly heardAtMs: number; readonly answeredMs: number }
  | { readonly state: 'down'; readonly sinceMs: number; readonly reason: DownReason };

export interface Membership {
  /** No verdict before this moment. */
  readonly judgesFromMs: number;
  readonly tickedAtMs: number;
  /** `answeredMs` of a member is when the newest ping that it answered was sent; −1 before the first. */
  readonly members: ReadonlyMap<PeerId, Liveness>;
  /** Hosts that refused twice while the master only listened. */
  readonly gone: ReadonlySet<PeerId>;
}

export const neverAnswered = -1;

export function startMembership(nowMs: number): Membership {
  return { judgesFromMs: nowMs + timing.masterListenMs, tickedAtMs: nowMs, members: new Map(), gone: new Set() };
}

/** Follows exactly `peers`: newcomers get the whole time to answer. */
export function withPeers(state: Membership, peers: readonly PeerId[], nowMs: number): Membership {
  if (peers.length === state.members.size && peers.every((peer) => state.members.has(peer))) return state;
  const members = new Map<PeerId, Liveness>();
  for (const peer of peers) {
    members.set(peer, state.members.get(peer) ?? { state: 'alive', heardAtMs: nowMs, answeredMs: neverAnswered });
  }
  return { ...state, members };
}

/** A pong of the ping sent at `sentAtMs`. After a goodbye only a join revives. */
export function onPong(state: Membership, peer: PeerId, at: { sentAtMs: number; nowMs: number }): Membership {
  const member = state.members.get(peer);
  if (member === undefined || (member.state === 'down' && member.reason === 'goodbye')) return state;
  const answeredMs = Math.max(at.sentAtMs, member.state === 'down' ? neverAnswered : member.answeredMs);
  return withMember(state, peer, { state: 'alive', heardAtMs: at.nowMs, answeredMs });
}

/** A process of the peer came: it lives, but has answered no ping yet. */
export function onJoin(state: Membership, peer: PeerId, nowMs: number): Membership {
  return withMember(state, peer, { state: 'alive', heardAtMs: nowMs, answeredMs: neverAnswered });
}

/** Two connects were refused: the process is gone. Counts once the master judges at all. */
export function onGone(state: Membership, peer: PeerId, nowMs: number): Membership {
  const member = state.members.get(peer);
  if (member === undefined || member.state === 'down') return state;
  if (nowMs < state.judgesFromMs) return { ...state, gone: new Set(state.gone).add(peer) };
  return withMember(state, peer, { state: 'down', sinceMs: nowMs, reason: 'gone' });
}

export function onGoodbye(state: Membership, peer: PeerId, nowMs: number): Membership {
  if (!state.members.has(peer)) return state;
  return withMember(state, peer, { state: 'down', sinceMs: nowMs, reason: 'goodbye' });
}

/** It counts as down and asks: its absence is counted afresh, once, so that whoever leads next has answered since. */
export function onAsked(state: Membership, peer: PeerId, nowMs: number): Membership {
  const member = state.members.get(peer);
  if (member?.state !== 'down' || member.reason === 'goodbye' || member.reason === 'deaf') return state;
  return withMember(state, peer, { state: 'down', sinceMs: nowMs, reason: 'deaf' });
}

/** Of everybody who is down: since when, and whether on purpose. */
export function absencesOf(state: Membership): ReadonlyMap<PeerId, Absence> {
  return new Map(
    [...state.members].flatMap(([peer, member]) =>
      member.state === 'down' ? [[peer, { sinceMs: member.sinceMs, saidGoodbye: member.reason === 'goodbye' }]] : [],
    ),
  );
}

/** Those that have answered a ping sent since `sinceMs`. */
export function answeredSince(state: Membership, sinceMs: number): ReadonlySet<PeerId> {
  const isHeard = (member: Liveness): boolean => member.state !== 'down' && member.answeredMs >= sinceMs;
  return new Set([...state.members].filter(([, member]) => isHeard(member)).map(([peer]) => peer));
}

/** The master's own round, meant to come every `timing.masterRoundMs`: judges every silence. */
export function onTick(state: Membership, nowMs: number): Membership {
  const lateMs = nowMs - state.tickedAtMs - timing.masterRoundMs;
  if (lateMs > timing.masterLateMs) return { ...heardAfresh(state, nowMs), tickedAtMs: nowMs };
  if (nowMs < state.judgesFromMs) return { ...state, tickedAtMs: nowMs };
  const members = new Map<PeerId, Liveness>();
  for (const [peer, member] of state.members) members.set(peer, judge(member, state.gone.has(peer), nowMs));
  return { ...state, tickedAtMs: nowMs, members, gone: new Set() };
}

/** True while the judge listens only, having just started. */
export function onlyListens(state: Membership, nowMs: number): boolean {
  return nowMs < state.judgesFromMs;
}

function judge(member: Liveness, isGone: boolean, nowMs: number): Liveness {
  if (member.state === 'down') return member;
  if (isGone) return { state: 'down', sinceMs: nowMs, reason: 'gone' };
  const silentMs = nowMs - member.heardAtMs;
  if (silentMs >= timing.downAfterMs) return { state: 'down', sinceMs: nowMs, reason: 'silent' };
  return silentMs >= timing.suspectAfterMs ? { ...member, state: 'suspect' } : { ...member, state: 'alive' };
}

function heardAfresh(state: Membership, nowMs: number): Membership {
  const members = new Map<PeerId, Liveness>();
  for (const [peer, member] of state.members) {
    members.set(peer, member.state === 'down' ? member : { ...member, heardAtMs: nowMs });
  }
  return { ...state, members, gone: new Set() };
}

function withMember(state: Membership, peer: PeerId, member: Liveness): Membership {
  const gone = new Set(state.gone);
  gone.delete(peer);
  return { ...state, members: new Map(state.members).set(peer, member), gone };
}
