import { describe, expect, it } from 'vitest';
import { Bench, nameKey, recordOf, version } from './monitor-bench.js';

const first = recordOf(version(1, 1));

describe('a receipt', () => {
  const about = { slot: 0, term: 1, slotEpoch: 1, key: nameKey, version: version(1, 1) };

  function committed(bench: Bench, on: readonly string[]): void {
    bench.store(on, first);
    bench.at('p1', { point: 'ownEntryCommitted', ...about });
    bench.complaints.length = 0;
  }

  it('that counts who is not in the set, is complained of', () => {
    const bench = new Bench();
    committed(bench, ['p1', 'p2', 'p3']);
    bench.at('p1', { point: 'acknowledging', ...about, durable: ['p1', 'p2', 'p3'] });
    expect(bench.complaints.join()).toContain('counts p3');
  });

  it('that counts a copy that is not there, is complained of', () => {
    const bench = new Bench();
    committed(bench, ['p1']);
    bench.at('p1', { point: 'acknowledging', ...about, durable: ['p1', 'p2'] });
    expect(bench.complaints.join()).toContain('counts p2, where nothing is durable');
  });

  it('that counts a copy which has gone as surplus since, is fine: its primary may have been paused', () => {
    const bench = new Bench();
    committed(bench, ['p1', 'p2']);
    bench.commitMap({ inSync: ['p1'] });
    bench.drop('p2', nameKey);
    bench.at('p1', { point: 'acknowledging', ...about, durable: ['p1', 'p2'] });
    expect(bench.complaints).toEqual([]);
  });

  it('for too few copies, is complained of', () => {
    const bench = new Bench({ minInSync: 2 });
    committed(bench, ['p1', 'p2']);
    bench.at('p1', { point: 'acknowledging', ...about, durable: ['p1'] });
    expect(bench.complaints.join()).toContain('with 1 copies of 2');
  });

  it('of a peer that does not lead the term, is complained of', () => {
    const bench = new Bench();
    committed(bench, ['p1', 'p2']);
    bench.at('p2', { point: 'acknowledging', ...about, durable: ['p1', 'p2'] });
    expect(bench.complaints.join()).toContain('p2 acknowledges 1.1 of "files\\u0000a" in term 1, in which p1 leads');
  });

  it('at a slotEpoch of no durable map, is complained of', () => {
    const bench = new Bench();
    committed(bench, ['p1', 'p2']);
    bench.at('p1', { point: 'acknowledging', ...about, slotEpoch: 9, durable: ['p1', 'p2'] });
    expect(bench.complaints.join()).toContain('which no durable map has');
  });
});
