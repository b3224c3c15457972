import { describe, expect, it } from 'vitest';
import { Bench, nameKey, recordOf, requestId, version } from './monitor-bench.js';

const first = recordOf(version(1, 1));
const second = recordOf(version(1, 2));
const takenBack = { point: 'rolledBack', slot: 0, term: 1, key: nameKey, version: second.version } as const;

describe('a change that was taken back', () => {
  it('and is with nobody, or replaced everywhere, is not complained of', () => {
    const bench = new Bench();
    bench.write('p1', first);
    bench.at('p1', takenBack);
    bench.write('p1', recordOf(version(1, 3)));
    expect(bench.complaints).toEqual([]);
  });

  it('and that a member still holds is complained of', () => {
    const bench = new Bench();
    bench.store(['p2'], second);
    bench.at('p1', takenBack);
    expect(bench.complaints.join()).toContain('p1 refuses 1.2 of "files\\u0000a", which p2 holds and is in sync');
  });

  it('and that a member stores later is complained of', () => {
    const bench = new Bench();
    bench.at('p1', takenBack);
    bench.store(['p2'], second);
    expect(bench.complaints.join()).toContain('p2 stores 1.2 of "files\\u0000a", which was taken back');
  });

  it('may be with a peer that has left the set', () => {
    const bench = new Bench();
    bench.commitMap({ inSync: ['p1'] });
    bench.at('p1', takenBack);
    bench.store(['p2'], second);
    expect(bench.complaints).toEqual([]);
  });
});

it('what a new primary holds is the effect of the request that wrote it, also where its id is not', () => {
  const bench = new Bench();
  bench.storeId('p1', version(1, 1));
  bench.store(['p2'], first);
  bench.commitMap({ primary: 'p2', inSync: ['p2'] });
  bench.serve('p2');
  bench.write('p2', recordOf(version(2, 1)), { on: ['p2'], durable: ['p2'], requestId });
  expect(bench.complaints.join()).toContain('whose effect was 1.1');
});
