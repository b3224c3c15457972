import { describe, expect, test } from 'vitest';
import { limits } from '../../../src/core/limits.js';
import { timing } from '../../../src/core/timing.js';
import {
  Conditions,
  type Fullness,
  fullnessOf,
  isSlowPace,
  type PeerFigures,
  sentenceOfCondition,
} from '../../../src/master/conditions.js';

const totalBytes = 1000;

function spaceWith(freeBytes: number, reserveBytes = 20) {
  return { freeBytes, totalBytes, reserveBytes };
}

describe('how full a disk is', () => {
  test.each<[number, Fullness, Fullness]>([
    [150, 'roomy', 'roomy'],
    [149, 'roomy', 'soft-full'],
    [199, 'soft-full', 'soft-full'],
    [200, 'soft-full', 'roomy'],
    [40, 'roomy', 'soft-full'],
    [39, 'roomy', 'full'],
    [59, 'full', 'full'],
    [60, 'full', 'soft-full'],
  ])('with %i of 1000 free and a reserve of 20, %s before, is %s', (freeBytes, before, after) => {
    expect(fullnessOf(spaceWith(freeBytes), before)).toBe(after);
  });

  test('a small disk is not roomy before it has room above the reserve', () => {
    expect(fullnessOf(spaceWith(250, 100), 'full')).toBe('full');
    expect(fullnessOf(spaceWith(290, 100), 'soft-full')).toBe('soft-full');
    expect(fullnessOf(spaceWith(300, 100), 'full')).toBe('roomy');
  });

  test('one that goes up and down a little never goes to and fro', () => {
    let fullness: Fullness = 'roomy';
    const seen = [145, 155, 140, 190, 150, 199].map((free) => {
      fullness = fullnessOf(spaceWith(free), fullness);
      return fullness;
    });
    expect(new Set(seen)).toEqual(new Set(['soft-full']));
  });
});

describe('whether a pace is slow', () => {
  const { slowFactor } = limits;
  test('it is from many times that of most others, and until it is below half of that', () => {
    expect(isSlowPace(slowFactor * 20, [20, 20, 20], false)).toBe(true);
    expect(isSlowPace(slowFactor * 20 - 1, [20, 20, 20], false)).toBe(false);
    expect(isSlowPace(slowFactor * 20 - 1, [20, 20, 20], true)).toBe(true);
    expect(isSlowPace(slowFactor * 10 - 1, [20, 20, 20], true)).toBe(false);
  });

  test('what nobody would notice is not slow', () => {
    expect(isSlowPace(timing.slowFromMs - 1, [0.1], false)).toBe(false);
    expect(isSlowPace(timing.slowFromMs, [0.1], false)).toBe(true);
  });

  test('another slow one hides nothing', () => {
    expect(isSlowPace(500, [1, 500], false)).toBe(true);
    expect(isSlowPace(1, [500, 500], false)).toBe(false);
  });

  test('when all are alike none is slow', () => {
    expect(isSlowPace(900, [800, 1000, 700], false)).toBe(false);
  });

  test('without figures, or anybody to compare with, it stays as it was', () => {
    for (const wasSlow of [true, false]) {
      expect(isSlowPace(undefined, [1], wasSlow)).toBe(wasSlow);
      expect(isSlowPace(500, [], wasSlow)).toBe(wasSlow);
    }
  });
});

function figures(more: Partial<PeerFigures> = {}): PeerFigures {
  return { space: spaceWith(500), paces: {}, ...more };
}

describe('conditions over time', () => {
  const quick = figures({ paces: { reads: 1, syncs: 2, pings: 1 } });
  const slow = figures({ paces: { reads: 400, syncs: 2, pings: 1 } });

  test('a change is told once', () => {
    const conditions = new Conditions();
    const peers = new Map([
      ['p1', quick],
      ['p2', slow],
      ['p3', quick],
    ]);
    expect(conditions.look(peers, 0)).toMatchObject([{ peer: 'p2', after: { slowBy: ['reads'] } }]);
    expect(conditions.look(peers, 1)).toEqual([]);
    expect(conditions.slowPeers).toEqual(['p2']);
    expect(conditions.look(new Map(peers).set('p2', quick), 2)).toMatchObject([{ peer: 'p2', after: { slowBy: [] } }]);
    expect(conditions.slowPeers).toEqual([]);
  });

  test('a slow peer that has nothing to show any more gets another chance after a while', () => {
    const conditions = new Conditions();
    const peers = new Map([
      ['p1', quick],
      ['p2', slow],
    ]);
    conditions.look(peers, 0);
    const silent = new Map(peers).set('p2', figures());
    conditions.look(silent, timing.slowForgottenMs - 1);
    expect(conditions.slowPeers).toEqual(['p2']);
    conditions.look(silent, timing.slowForgottenMs);
    expect(conditions.slowPeers).toEqual([]);
  });

  test('a soft-full peer takes repairs only, a full one nothing', () => {
    const conditions = new Conditions();
    conditions.look(
      new Map([
        ['roomy', figures()],
        ['soft', figures({ space: spaceWith(100) })],
        ['full', figures({ space: spaceWith(10) })],
      ]),
      0,
    );
    const takes = ['roomy', 'soft', 'full', 'unheard'].map((id) => [
      conditions.hasRoom(id, false),
      conditions.hasRoom(id, true),
    ]);
    expect(takes).toEqual([
      [true, true],
      [false, true],
      [false, false],
      [true, true],
    ]);
  });

  test('nothing is remembered of a peer that does not run', () => {
    const conditions = new Conditions();
    conditions.look(new Map([['p1', figures({ space: spaceWith(10) })]]), 0);
    conditions.look(new Map(), 1);
    expect(conditions.of('p1')).toEqual({ fullness: 'roomy', slowBy: [] });
  });

  test('the sentences name the figures', () => {
    const space = { freeBytes: 300 * 2 ** 20, totalBytes: 2 ** 40, reserveBytes: 256 * 2 ** 20 };
    const condition = { fullness: 'full', slowBy: ['reads', 'pings'] } as const;
    expect(sentenceOfCondition('p1', condition, { space, paces: { reads: 480 } })).toEqual({
      fullness: 'p1 has 300 MiB free: no copies are made there, and below its reserve of 256 MiB it takes no writes',
      pace:
        'p1 is slower than the others and is read last: one read in a hundred takes over 480 ms, ' +
        'one ping in a hundred takes long',
    });
  });
});
