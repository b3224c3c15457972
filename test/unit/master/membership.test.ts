import { expect, it } from 'vitest';
import { timing } from '../../../src/core/timing.js';
import {
  type Membership,
  onGone,
  onGoodbye,
  onJoin,
  onPong,
  onTick,
  startMembership,
  withPeers,
} from '../../../src/master/membership.js';

/** Peers p1 and p2, both just heard at `nowMs`, by a master that judges. */
function heardBoth(nowMs = 10_000): Membership {
  let state = withPeers(startMembership(nowMs - 2000), ['p1', 'p2'], nowMs - 2000);
  for (const peer of ['p1', 'p2']) state = onPong(state, peer, { sentAtMs: nowMs - 1, nowMs });
  return { ...state, tickedAtMs: nowMs };
}

/** Rounds until `toMs`; p2 answers each. */
function rounds(from: Membership, toMs: number): Membership {
  let state = from;
  for (let nowMs = state.tickedAtMs + timing.masterRoundMs; nowMs <= toMs; nowMs += timing.masterRoundMs) {
    state = onTick(onPong(state, 'p2', { sentAtMs: nowMs - 1, nowMs }), nowMs);
  }
  return state;
}

const stateOf = (state: Membership, peer = 'p1') => state.members.get(peer)?.state;

it.each([
  [500, 'alive'],
  [600, 'suspect'],
  [950, 'suspect'],
  [1000, 'down'],
])('a peer silent for %d ms is %s', (silentMs, verdict) => {
  const state = rounds(heardBoth(), 10_000 + silentMs);
  expect(stateOf(state)).toBe(verdict);
  expect(stateOf(state, 'p2')).toBe('alive');
});

it('a suspect that answers is alive again', () => {
  const suspect = rounds(heardBoth(), 10_700);
  expect(stateOf(onPong(suspect, 'p1', { sentAtMs: 10_690, nowMs: 10_700 }))).toBe('alive');
});

it('nobody is judged in the first second after the start', () => {
  const started = withPeers(startMembership(0), ['p1', 'p2'], 0);
  expect(stateOf(rounds(started, 950))).toBe('alive');
  expect(stateOf(rounds(started, 1000))).toBe('down');
});

it('a host that refused while the master only listened counts once it judges', () => {
  const started = onGone(withPeers(startMembership(0), ['p1', 'p2'], 0), 'p1', 100);
  expect(stateOf(started)).toBe('alive');
  const returned = onPong(started, 'p1', { sentAtMs: 890, nowMs: 900 });
  expect(stateOf(rounds(returned, 1000))).toBe('alive');
  expect(rounds(started, 1000).members.get('p1')).toMatchObject({ state: 'down', reason: 'gone' });
});

it('two refused connects are a verdict at once', () => {
  expect(onGone(heardBoth(), 'p1', 10_001).members.get('p1')).toEqual({
    state: 'down',
    sinceMs: 10_001,
    reason: 'gone',
  });
});

it('a master that was late judges nobody and counts every silence afresh', () => {
  const suspect = rounds(heardBoth(), 10_900);
  const late = onTick(suspect, 20_000);
  expect(stateOf(late)).toBe('suspect');
  expect(stateOf(rounds(late, 20_950))).toBe('suspect');
  expect(stateOf(rounds(late, 21_000))).toBe('down');
});

it('a little lateness changes nothing', () => {
  const suspect = rounds(heardBoth(), 10_900);
  expect(stateOf(onTick(suspect, 10_900 + timing.masterRoundMs + timing.masterLateMs))).toBe('down');
});

it('a goodbye is down at once, and only a join revives', () => {
  const gone = onGoodbye(heardBoth(), 'p1', 10_050);
  expect(gone.members.get('p1')).toMatchObject({ state: 'down', reason: 'goodbye' });
  expect(stateOf(onPong(gone, 'p1', { sentAtMs: 10_060, nowMs: 10_061 }))).toBe('down');
  expect(onJoin(gone, 'p1', 10_100).members.get('p1')).toEqual({ state: 'alive', heardAtMs: 10_100, answeredMs: -1 });
});

it('a pong after a silence revives, with that ping as the first answered', () => {
  const down = rounds(heardBoth(), 11_200);
  expect(onPong(down, 'p1', { sentAtMs: 11_210, nowMs: 11_211 }).members.get('p1')).toEqual({
    state: 'alive',
    heardAtMs: 11_211,
    answeredMs: 11_210,
  });
});

it('only peers of the map are followed', () => {
  const state = withPeers(heardBoth(), ['p2', 'p3'], 10_500);
  expect([...state.members.keys()]).toEqual(['p2', 'p3']);
  expect(state.members.get('p3')).toEqual({ state: 'alive', heardAtMs: 10_500, answeredMs: -1 });
});
