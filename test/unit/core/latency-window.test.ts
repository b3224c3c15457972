import { expect, test } from 'vitest';
import { LatencyWindow } from '../../../src/core/latency-window.js';

function filled(spanMs: number, durations: readonly number[]): LatencyWindow {
  const window = new LatencyWindow(spanMs);
  for (const duration of durations) window.note(duration, 0);
  return window;
}

test('a quantile is at least the true one, and at most a fifth more', () => {
  const window = filled(
    1000,
    Array.from({ length: 1000 }, (_, index) => (index + 1) / 10),
  );
  for (const fraction of [0.01, 0.5, 0.95, 0.99, 1]) {
    const told = window.quantileMs(fraction, { atLeast: 1, nowMs: 0 }) ?? 0;
    expect(told).toBeGreaterThanOrEqual(fraction * 100 - 1e-9);
    expect(told).toBeLessThanOrEqual(fraction * 100 * 1.2);
  }
});

test('one long duration in a hundred is not the 99th percentile, two are', () => {
  const quick = Array.from({ length: 99 }, () => 1);
  expect(filled(1000, [...quick, 500]).quantileMs(0.99, { atLeast: 100, nowMs: 0 })).toBeLessThan(2);
  expect(filled(1000, [...quick, 500, 500]).quantileMs(0.99, { atLeast: 100, nowMs: 0 })).toBeGreaterThanOrEqual(500);
});

test('too few durations tell nothing', () => {
  expect(filled(1000, [1, 2]).quantileMs(0.5, { atLeast: 3, nowMs: 0 })).toBeUndefined();
  expect(filled(1000, []).quantileMs(0.5, { atLeast: 0, nowMs: 0 })).toBeUndefined();
});

test('a duration counts for at least half of the span and at most all of it', () => {
  const window = new LatencyWindow(1000);
  window.note(5, 100);
  expect(window.count(599)).toBe(1);
  expect(window.count(1099)).toBe(1);
  expect(window.count(1100)).toBe(0);
  window.note(5, 5000);
  expect(window.count(9000)).toBe(0);
});

test('no duration is too short or too long to be counted', () => {
  const window = filled(1000, [0, 1e12]);
  expect(window.quantileMs(0.5, { atLeast: 1, nowMs: 0 })).toBeLessThan(0.1);
  expect(window.quantileMs(1, { atLeast: 1, nowMs: 0 })).toBeGreaterThan(100_000);
});
