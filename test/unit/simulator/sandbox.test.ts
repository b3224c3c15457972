import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { forbidRealWorld } from '../../simulator/world/sandbox.js';

const uses: Readonly<Record<string, () => unknown>> = {
  'the time of day': () => Date.now(),
  'a date of now': () => new Date(),
  'the time since the start': () => performance.now(),
  'a timer': () => setTimeout(() => undefined, 1),
  'an immediate': () => setImmediate(() => undefined),
  chance: () => Math.random(),
  'chance of the platform': () => crypto.getRandomValues(new Uint8Array(1)),
  'chance of Node': () => randomBytes(1),
  'a real file': () => readFileSync('/etc/hostname'),
  'a real network': () => fetch('http://127.0.0.1:1'),
};

describe('within a run', () => {
  it.each(Object.entries(uses))('%s is out of reach, and within it again afterwards', async (_, use) => {
    const reports: string[] = [];
    const undo = forbidRealWorld((sentence) => reports.push(sentence));
    let thrown: unknown;
    try {
      use();
    } catch (error) {
      thrown = error;
    } finally {
      undo();
    }
    expect(String(thrown)).toMatch(/is of the real world/);
    expect(reports).toHaveLength(1);
    await Promise.resolve(use()).catch((error: unknown) => expect(String(error)).not.toMatch(/real world/));
  });

  it('a date that tells nothing of now stays', () => {
    const undo = forbidRealWorld();
    try {
      expect(new Date(0).toISOString()).toBe('1970-01-01T00:00:00.000Z');
      expect(new Date(0)).toBeInstanceOf(Date);
    } finally {
      undo();
    }
  });
});
