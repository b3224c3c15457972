import { describe, expect, it } from 'vitest';
import {
  Bench,
  nameKey,
  recordOf,
  requestId,
  segmentKey,
  segmentOf,
  storeOf,
  tombstoneOf,
  uploadId,
  version,
} from './monitor-bench.js';

const first = recordOf(version(1, 1));
const second = recordOf(version(1, 2));

describe('what is acknowledged', () => {
  it('is on every member, and nothing is complained of', () => {
    const bench = new Bench();
    bench.serve('p1');
    bench.write('p1', first);
    bench.read('p1', 1, first);
    bench.write('p1', second);
    bench.commitMap({ primary: 'p2', inSync: ['p2'] });
    bench.serve('p2');
    bench.read('p2', 2, second);
    expect(bench.complaints).toEqual([]);
  });

  it('while a member of the durable map lacks it, is complained of', () => {
    const bench = new Bench();
    bench.write('p1', first, { on: ['p1'], durable: ['p1'] });
    expect(bench.complaints.join()).toContain('p2 holds nothing of "files\\u0000a"');
  });

  it('alone is enough once the map without the other is durable', () => {
    const bench = new Bench();
    bench.commitMap({ inSync: ['p1'] });
    bench.serve('p1');
    bench.write('p1', recordOf(version(2, 1)), { on: ['p1'], durable: ['p1'] });
    expect(bench.complaints).toEqual([]);
  });

  it('and is not durable on its own disk, is complained of', () => {
    const bench = new Bench();
    bench.write('p1', first, { on: ['p2'] });
    expect(bench.complaints.join()).toContain('p1 commits 1.1 of "files\\u0000a"; nothing is durable there');
  });

  it('and then dropped by a member, is complained of', () => {
    const bench = new Bench();
    bench.write('p1', first);
    bench.drop('p2', nameKey);
    expect(bench.complaints.join()).toContain('after a change there, though it is in sync');
  });

  it('may be dropped by one that is no longer a member', () => {
    const bench = new Bench();
    bench.write('p1', first);
    bench.commitMap({ inSync: ['p1'] });
    bench.drop('p2', nameKey);
    expect(bench.complaints).toEqual([]);
  });

  it('and then replaced by something older, is complained of', () => {
    const bench = new Bench();
    bench.write('p1', second);
    bench.store(['p2'], first);
    expect(bench.complaints).toHaveLength(1);
  });

  it('and missing on a replica that the map adds, is complained of', () => {
    const bench = new Bench();
    bench.write('p1', first);
    bench.commitMap({ joining: ['p3'] });
    bench.commitMap({ inSync: ['p1', 'p2', 'p3'], joining: [] });
    expect(bench.complaints.join()).toContain('though map 3 has p3 in sync');
  });

  it('is checked again when a member starts with an index that has lost it', () => {
    const bench = new Bench();
    bench.write('p1', first);
    bench.teller('p2').disk.onWiped();
    expect(bench.complaints).toEqual([]);
    bench.start('p2');
    expect(bench.complaints.join()).toContain('p2 holds nothing');
  });

  it('with segments that were never stored, is complained of', () => {
    const bench = new Bench();
    bench.write('p1', recordOf(version(1, 1), { segments: 2 }));
    expect(bench.complaints.join()).toContain('was never stored');
  });
});

describe('a request id', () => {
  it('with a second effect is complained of', () => {
    const bench = new Bench();
    bench.write('p1', first, { requestId });
    bench.write('p1', second);
    bench.commitMap({ primary: 'p2', inSync: ['p2'] });
    bench.serve('p2');
    const third = recordOf(version(2, 1));
    bench.store(['p2'], third);
    bench.at('p2', {
      ...{ point: 'ownEntryCommitted', slot: 0, term: 2, slotEpoch: 2, key: nameKey, requestId },
      version: third.version,
    });
    expect(bench.complaints.join()).toContain('whose effect was 1.1');
  });

  it('answered with a version that was rolled back is complained of', () => {
    const bench = new Bench();
    bench.serve('p1');
    bench.store(['p1', 'p2'], second);
    const about = { slot: 0, term: 1, slotEpoch: 1, key: nameKey, requestId };
    bench.at('p1', { point: 'acknowledging', ...about, version: version(1, 1), durable: ['p1', 'p2'] });
    expect(bench.complaints.join()).toContain("which never was the slot's");
  });
});

describe('a current read', () => {
  it('of an older version than was acknowledged is complained of', () => {
    const bench = new Bench();
    bench.write('p1', second);
    bench.read('p1', 1, first);
    expect(bench.complaints.join()).toContain('p1 reads 1.1 of "files\\u0000a" after record 1.2');
  });

  it('that finds nothing of what was acknowledged is complained of', () => {
    const bench = new Bench();
    bench.write('p1', first);
    bench.read('p1', 1, undefined);
    expect(bench.complaints.join()).toContain('reads nothing');
  });

  it('of a deleted name is complained of, and of its tombstone is not', () => {
    const bench = new Bench();
    bench.write('p1', first);
    bench.complaints.length = 0;
    const tombstone = tombstoneOf(version(1, 2));
    bench.store(['p1', 'p2'], tombstone);
    const about = { slot: 0, term: 1, slotEpoch: 1, key: nameKey, version: tombstone.version };
    bench.at('p1', { point: 'ownEntryCommitted', ...about });
    bench.read('p1', 1, tombstone);
    expect(bench.complaints).toEqual([]);
    bench.read('p1', 1, first);
    expect(bench.complaints).toHaveLength(1);
  });

  it('makes what it saw as good as acknowledged', () => {
    const bench = new Bench();
    bench.store(['p1'], first);
    bench.read('p1', 1, first);
    expect(bench.complaints.join()).toContain('p2 holds nothing');
  });

  it('of an older term than one that serves is complained of', () => {
    const bench = new Bench();
    bench.commitMap({ primary: 'p2', inSync: ['p2'] });
    bench.serve('p2');
    bench.read('p1', 1, undefined);
    expect(bench.complaints.join()).toContain('in term 1 while term 2 serves');
  });

  it('by a peer that never led the term is complained of', () => {
    const bench = new Bench();
    bench.read('p2', 1, undefined);
    expect(bench.complaints.join()).toContain('in which p1 leads');
  });
});

describe('a new primary', () => {
  it('that serves while leases of the old one last is complained of', () => {
    const bench = new Bench();
    bench.nowMs = 1000;
    bench.serve('p1', { leaseUntilMs: () => 1100 });
    bench.commitMap({ primary: 'p2', inSync: ['p2'] });
    bench.serve('p2');
    expect(bench.complaints.join()).toContain(
      'p1 may answer in term 1 while term 2 serves: its leases last for 100.0 ms',
    );
  });

  it('that serves when they have run out, or their holder is dead, is not', () => {
    const bench = new Bench();
    bench.serve('p1', { leaseUntilMs: () => 1100 });
    bench.commitMap({ primary: 'p2', inSync: ['p2'] });
    bench.nowMs = 1101;
    bench.serve('p2');
    expect(bench.complaints).toEqual([]);
    const other = new Bench();
    other.serve('p1', { leaseUntilMs: () => 1100 });
    other.kill('p1');
    other.commitMap({ primary: 'p2', inSync: ['p2'] });
    other.serve('p2');
    expect(other.complaints).toEqual([]);
  });

  it('beside an old one that thinks it is alone is complained of', () => {
    const bench = new Bench({ reads: 'confirm' });
    bench.serve('p1', { isAlone: () => true });
    bench.commitMap({ primary: 'p2', inSync: ['p2'] });
    bench.serve('p2');
    expect(bench.complaints.join()).toContain('it thinks it is alone');
  });

  it('that serves before its members are equal is complained of', () => {
    const bench = new Bench();
    bench.store(['p2'], first);
    bench.serve('p1');
    expect(bench.complaints.join()).toContain('unlevelled: p2 has record 1.1');
  });

  it('that serves while request ids differ is complained of', () => {
    const bench = new Bench();
    bench.store(['p1', 'p2'], first);
    bench.storeId('p1', version(1, 1));
    bench.serve('p1');
    expect(bench.complaints.join()).toContain('a request id of "files\\u0000a" on p2');
  });

  it('whose promise of the term is not durable is complained of', () => {
    const bench = new Bench();
    bench.at('p1', { point: 'afterPromiseBeforeLevelling', slot: 0, term: 5, slotEpoch: 5 });
    expect(bench.complaints.join()).toContain('says it has promised 5; 1 is durable there');
  });
});

describe('a sweep', () => {
  it('of a segment that a file names is complained of', () => {
    const bench = new Bench();
    const segment = segmentOf(version(1, 1));
    bench.write('p1', segment);
    bench.complaints.length = 0;
    bench.store(['p1', 'p2'], recordOf(version(1, 2), { segments: 2 }));
    const about = { slot: 0, term: 1, slotEpoch: 1 };
    bench.at('p1', { point: 'ownEntryCommitted', ...about, key: nameKey, version: version(1, 2) });
    bench.at('p1', { point: 'sweeping', ...about, key: segmentKey, version: segment.version });
    expect(bench.complaints.join()).toContain('which "a" needs');
    expect(uploadId).toHaveLength(16);
  });

  it('of a segment that no file names may drop it, and nothing else may', () => {
    const bench = new Bench();
    bench.write('p1', segmentOf(version(1, 1)));
    bench.at('p1', { point: 'sweeping', slot: 0, term: 1, key: segmentKey, version: version(1, 1) });
    bench.drop('p2', segmentKey);
    expect(bench.complaints).toEqual([]);
    const other = new Bench();
    other.write('p1', segmentOf(version(1, 1)));
    other.drop('p2', segmentKey);
    expect(other.complaints).toHaveLength(1);
  });

  it('of a tombstone that nobody was told of ends what was acknowledged before it', () => {
    const bench = new Bench();
    bench.store(['p1', 'p2'], recordOf(version(1, 1)));
    const about = { slot: 0, term: 1, slotEpoch: 1, key: nameKey };
    bench.at('p1', { point: 'ownEntryCommitted', ...about, version: version(1, 1) });
    bench.store(['p1', 'p2'], tombstoneOf(version(1, 2)));
    bench.at('p1', { point: 'sweeping', ...about, version: version(1, 2) });
    bench.drop('p2', nameKey);
    expect(bench.complaints).toEqual([]);
  });

  it('that leaves the entry with a member is complained of, and so is a member that comes with it', () => {
    const bench = new Bench();
    bench.store(['p1', 'p2'], tombstoneOf(version(1, 1)));
    bench.at('p1', { point: 'sweeping', slot: 0, term: 1, key: nameKey, version: version(1, 1) });
    bench.drop('p1', nameKey);
    expect(bench.complaints.join()).toContain(
      'p2 is in sync and keeps tombstone 1.1 of "files\\u0000a", which was swept',
    );
    bench.complaints.length = 0;
    bench.drop('p2', nameKey);
    bench.commitMap({ inSync: ['p1'] });
    bench.store(['p2'], tombstoneOf(version(1, 1)));
    bench.commitMap({ inSync: ['p1', 'p2'] });
    expect(bench.complaints.join()).toContain('p2 is in sync and keeps tombstone 1.1');
  });

  it('of a tombstone whose request ids are still there is complained of', () => {
    const bench = new Bench();
    bench.store(['p1', 'p2'], tombstoneOf(version(1, 1)));
    bench.storeId('p1', version(1, 1));
    bench.at('p1', { point: 'sweeping', slot: 0, term: 1, key: nameKey, version: version(1, 1) });
    expect(bench.complaints.join()).toContain('still has its request ids');
  });
});

describe('a disk', () => {
  it('whose promise falls is complained of, unless it was wiped', () => {
    const bench = new Bench();
    bench.promise('p1', 4);
    bench.promise('p1', 3);
    expect(bench.complaints.join()).toContain('falls from 4 to 3');
    const other = new Bench();
    other.promise('p1', 4);
    other.teller('p1').disk.onWiped();
    other.promise('p1', 3);
    expect(other.complaints).toEqual([]);
  });

  it('whose incarnation falls is complained of', () => {
    const bench = new Bench();
    bench.start('p1', { incarnation: 3 });
    bench.start('p1', { incarnation: 2 });
    expect(bench.complaints.join()).toContain('falls from 3 to 2');
  });

  it('with an entry whose file is not durable is complained of', () => {
    const bench = new Bench();
    const fileId = 'ab'.repeat(16);
    bench.store(['p1'], recordOf(version(1, 1), { placed: { where: 'file', fileId, size: 5 } }));
    expect(bench.complaints.join()).toContain(`names the file ${fileId}, which is not durable`);
  });

  it('that removes a file its entry names, or uses an id twice, is complained of', () => {
    const bench = new Bench();
    const fileId = 'ab'.repeat(16);
    const { disk } = bench.teller('p1');
    disk.onFileCreated(fileId);
    bench.store(['p1'], recordOf(version(1, 1), { placed: { where: 'file', fileId, size: 5 } }));
    expect(bench.complaints).toEqual([]);
    disk.onFileRemoved(fileId);
    disk.onFileCreated(fileId);
    expect(bench.complaints.join()).toMatch(/removes the file .* names.*a second time/);
  });
});

describe('lost slots', () => {
  it('are those of which every in-sync store is gone', () => {
    const bench = new Bench();
    bench.teller('p1').disk.onWiped();
    expect(bench.monitor.lostSlots()).toEqual(new Set());
    bench.teller('p2').disk.onWiped();
    bench.start('p2', { storeId: 'a new one' });
    expect(bench.monitor.lostSlots()).toEqual(new Set([0]));
    expect(storeOf('p2')).not.toBe('a new one');
  });

  it('are nobody’s fault when the last other copy goes after the holder took the map that names it', () => {
    const lostAfter = (tookEpoch: number): number => {
      const bench = new Bench();
      const { disk } = bench.teller('p2');
      disk.takenEpoch = tookEpoch;
      disk.onWiped();
      bench.start('p2', { storeId: 'a new one' });
      const map = bench.nextMap({ primary: 'p2', inSync: ['p2'] });
      bench.at('master', { point: 'mapCommitted', before: bench.map, after: map });
      expect(bench.monitor.lostSlots()).toEqual(new Set([0]));
      return bench.monitor.lostUnexpectedly().size;
    };
    const epoch = new Bench().map?.slots[0]?.slotEpoch ?? 0;
    expect(lostAfter(epoch - 1)).toBe(1);
    expect(lostAfter(epoch)).toBe(0);
  });
});

it('a term may begin at a slotEpoch that no durable map has, when more changed in the same commit', () => {
  const bench = new Bench();
  const epoch = (bench.map?.epoch ?? 0) + 2;
  const map = bench.nextMap({ primary: 'p2', inSync: ['p2'], term: epoch - 1, slotEpoch: epoch });
  bench.at('master', { point: 'mapCommitted', before: bench.map, after: { ...map, epoch } });
  bench.promise('p2', epoch);
  bench.serve('p2', { term: epoch - 1 });
  expect(bench.complaints).toEqual([]);
});
