import { describe, expect, it } from 'vitest';
import { judge, type NextStep } from '../../../src/client/judgement.js';
import { DfsError, type ErrorCode } from '../../../src/core/errors.js';

const attempt = { isChange: true, wasSent: true, wasOpen: false, isMapConfirmed: true };

describe('what follows from a failed attempt', () => {
  it.each<[ErrorCode, NextStep, boolean]>([
    // code, the step, and whether a change may still take effect
    ['connection-lost', 'look-for-map', true],
    ['timed-out', 'wait', true],
    ['cancelled', 'wait', true],
    ['unknown-outcome', 'wait', true],
    ['failed', 'unknown', true],
    ['stale-term', 'look-for-map', false],
    ['wrong-role', 'look-for-map', false],
    ['wrong-identity', 'look-for-map', false],
    ['not-ready', 'look-for-map', false],
    ['unavailable', 'look-for-map', false],
    ['busy', 'wait', false],
    ['too-few-copies', 'wait', false],
    ['integrity', 'wait', false],
    ['no-space', 'fail', false],
    ['conflict', 'fail', false],
    ['not-found', 'fail', false],
    ['denied', 'fail', false],
    ['invalid', 'fail', false],
    ['too-large', 'fail', false],
    ['void-upload', 'fail', false],
    ['wrong-cluster', 'fail', false],
    ['wrong-version', 'fail', false],
    ['expired-id', 'renew-id', false],
  ])('%s, as the only attempt of a change: %s (open: %s)', (code, step, isOpen) => {
    expect(judge({ ...attempt, error: new DfsError(code, 'x') })).toEqual({ step, isOpen });
  });

  it.each<[ErrorCode, NextStep, boolean]>([
    ['stale-term', 'look-for-map', true],
    ['busy', 'wait', true],
    ['no-space', 'wait', true],
    ['expired-id', 'unknown', true],
    ['wrong-version', 'unknown', true],
    ['wrong-cluster', 'unknown', true],
    ['conflict', 'fail', false],
    ['not-found', 'fail', false],
    ['void-upload', 'fail', false],
  ])('%s, after an attempt that is open: %s (open: %s)', (code, step, isOpen) => {
    expect(judge({ ...attempt, wasOpen: true, error: new DfsError(code, 'x') })).toEqual({ step, isOpen });
  });

  it('what was never sent leaves nothing open', () => {
    const error = new DfsError('connection-lost', 'x');
    expect(judge({ ...attempt, wasSent: false, error })).toEqual({ step: 'look-for-map', isOpen: false });
  });

  it('what a closed client cannot send any more leaves open what it has sent before', () => {
    const cancelled = { ...attempt, wasSent: false, error: new DfsError('cancelled', 'x') };
    expect(judge(cancelled)).toEqual({ step: 'fail', isOpen: false });
    expect(judge({ ...cancelled, wasOpen: true })).toEqual({ step: 'unknown', isOpen: true });
  });

  it('a read is never open', () => {
    for (const code of ['connection-lost', 'timed-out', 'failed'] as const) {
      expect(judge({ ...attempt, isChange: false, error: new DfsError(code, 'x') }).isOpen).toBe(false);
    }
  });

  it('another cluster behind a cached map is looked for, not an error', () => {
    const error = new DfsError('wrong-cluster', 'x');
    expect(judge({ ...attempt, isMapConfirmed: false, error }).step).toBe('look-for-map');
  });
});
