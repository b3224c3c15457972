/** A segment of a void upload goes by its serving primary, and by nobody who has just been that. */
import { describe, expect, it } from 'vitest';
import { keyOfSegment, type StoredEntry, toEntry } from '../../../src/peer/entry.js';
import { Uploads, type UploadsParts } from '../../../src/peer/uploads.js';
import type { Incoming } from '../../../src/protocol/session.js';
import { joinedCluster } from '../cluster/fixtures.js';

const file = { bucket: 'files', name: 'a' };
const uploadId = new Uint8Array(16);
const nowMs = 1_000_000;

/** `phases`: what this peer is for the segment's slot, one look after the other; the last one lasts. */
function uploads({ phases, isHeld = true }: { phases: readonly (string | undefined)[]; isHeld?: boolean }) {
  const key = keyOfSegment(uploadId, 1);
  const body = { ...file, uploadId, index: 1, storedAtMs: 0 };
  const version = { epoch: 1, counter: 1 };
  const entry: StoredEntry = { ...toEntry(key, 'segment', version, body), placed: { where: 'none' } };
  const removed: Uint8Array[] = [];
  const left = [...phases];
  const led = (): object | undefined => {
    const phase = left.length > 1 ? left.shift() : left[0];
    return phase === undefined ? undefined : { phase };
  };
  const parts = {
    index: { lookup: () => (isHeld ? { state: 'present', entry } : { state: 'absent' }), slotOf: () => 0 },
    leadership: { led },
    calls: { ask: async () => ({ header: { state: 'void', sinceMs: 0 } }) },
    commits: { removeEverywhere: async () => removed.push(key) > 0 },
    clock: { nowMs: () => nowMs },
    admission: { lastSegmentMs: () => undefined },
    checkpoints: { isHolding: false },
    currentMap: () => joinedCluster(1),
    replacedGraceMs: 1000,
    sweepAfterMs: 1000,
  };
  const made = new Uploads(parts as unknown as UploadsParts);
  const header = { slot: 0, ...file, uploadId, indexes: [1] };
  return { removed, entry, uploads: made, hint: () => made.onHint({ header } as unknown as Incoming<'sweep-hint'>) };
}

describe('a hint that the segments of an upload may go', () => {
  it('F13: is taken by the serving primary of the segment, which removes it', async () => {
    const { hint, removed } = uploads({ phases: ['serving'] });
    await hint();
    expect(removed).toHaveLength(1);
  });

  it('F13: is not taken by a primary whose term ended while it asked', async () => {
    const { hint, removed } = uploads({ phases: ['serving', undefined] });
    await expect(hint()).rejects.toMatchObject({ code: 'not-ready' });
    expect(removed).toHaveLength(0);
  });

  it.each([undefined, 'levelling'])('F13: is not taken by who is %s, whatever it lacks', async (phase) => {
    const { hint } = uploads({ phases: [phase], isHeld: false });
    await expect(hint()).rejects.toMatchObject({ code: 'not-ready' });
  });
});

it('a segment is looked at again by a primary whose term ended while it asked', async () => {
  const { uploads: made, entry, removed } = uploads({ phases: [undefined] });
  expect(await made.sweepSegment(entry)).toBeGreaterThan(nowMs);
  expect(removed).toHaveLength(0);
});
