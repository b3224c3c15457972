import { describe, expect, it } from 'vitest';
import { drawPlan, type Plan } from '../../simulator/plan/plan.js';
import { meaningOf, story } from '../../simulator/story.js';

const drawn = drawPlan(11);
const plan: Plan = {
  ...drawn,
  setting: { ...drawn.setting, peers: 2, spares: 0, replicas: 2, minInSync: 1, slots: 4, reads: 'lease' },
  faults: drawn.faults.slice(0, 1),
};
const event = (kind: string): string => JSON.stringify({ seq: 7, epoch: 5, kind, peer: 'p2' });
const read = '{"kind":"get"}';
const trace = [
  '     0.00 10.0.0.2#1 starts',
  `    20.10 10.0.0.100#1 info p1 joined from 10.0.0.2:7421 ${event('peer-joined')}`,
  `    40.10 10.0.0.100#1 info p2 joined from 10.0.0.1:7421 ${event('peer-joined')}`,
  '    41.00 10.0.1.1#1 starts',
  '  1190.50     c0 begins put of name-1',
  '  1200.50     c0 name-1 {"kind":"put","value":"c0:1"} → {"state":"done","version":"4.1"}',
  '  1300.50     c0 name-3 {"kind":"put","value":"c0:2"} → {"state":"done","version":"4.2"}',
  '  1400.00     c0 begins delete of name-1',
  '  1500.00 --- crash-primary',
  '  1500.00 10.0.0.2#1 crashes with its host',
  '  1501.00 10.0.0.1#1 debug replica not reached {"peer":"p1"}',
  '  1502.00 10.0.0.1#1 warn replica is dead {"peer":"p1","why":"silent for 400 ms"}',
  '  1503.00 10.0.0.1#1 warn replica is dead {"peer":"p1","why":"silent for 400 ms"}',
  `  1600.00 10.0.0.100#1 info p2 was promoted to primary of slot 2 that p1 served ${event('promoted')}`,
  `  1700.00     c1 name-1 ${read} → {"state":"absent"}`,
];
const complaint = 'name-1: Not linearizable: The file holds c0:1, and no order explains: c1 get [1.6 … 1.7] absent';

describe('the story of a failing plan', () => {
  const text = story(plan, trace, [complaint, 'Slot 2, p1 and p2: "name-1" is absent']);

  it('says first what is wrong, and which promise that breaks', () => {
    expect(text.split('\n')[0]).toBe(`What is wrong: ${complaint}`);
    expect(text).toContain('S2: no order of the operations explains');
  });

  it('tells of the name that is complained about, and of no other', () => {
    expect(text).toContain('c0 put c0:1 of name-1 → done as version 4.1');
    expect(text).toContain('c1 get of name-1 → absent');
    expect(text).not.toContain('c0:2');
    expect(text).toMatch(/name-1 is in slot \d/);
  });

  it('tells of a change that was begun and not answered, and only of such', () => {
    expect(text).toContain('   1.400  c0 begins delete of name-1, and hears nothing by the end');
    expect(text).not.toContain('begins put');
  });

  it('calls hosts by the peers they run, and tells their life', () => {
    expect(text).toContain('p1 on 10.0.0.2, p2 on 10.0.0.1');
    expect(text).toContain('   1.500  p1#1 crashes with its host');
    expect(text).toContain('the master#1: p2 was promoted to primary of slot 2 that p1 served');
  });

  it('leaves out what is said for programmers, and says twice nothing', () => {
    expect(text).not.toContain('not reached');
    expect(text).not.toContain('10.0.1.1');
    expect(text).toContain('replica is dead (p1, silent for 400 ms) (2 times)');
  });

  it('ends where a check at a step complained', () => {
    const early = story(plan, trace, [`At 1501.50 ms: Slot 2: name-1 is not on p2`]);
    expect(early).toContain('[fault] crash-primary');
    expect(early).not.toContain('promoted');
  });
});

it.each([
  ['Error: The cluster is not whole after 20000 ms: p1:p1+p2', 'S7'],
  ['name-0: c1:3 has versions 2.1 and 4.1', 'S6'],
  ['name-0: Version 2.1 names a and b', 'F27'],
  ['Slot 1, p1 and p2: "name-0" is absent here', 'S1'],
  ['At 9.10 ms: Slot 1: 10.0.0.1#1 says it has promised 7; 5 is durable there', 'F4'],
  ['At 9.10 ms: Slot 1: 10.0.0.1#1 acknowledges 7.1 of "a"; nothing is durable there', 'S1'],
  ['At 9.10 ms: Slot 1: 10.0.0.1#1 reads 7.1 of "a" after record 7.2', 'S2'],
  ['At 9.10 ms: Slot 1: 10.0.0.1#1 serves term 7 unlevelled: p2 has nothing of "a", not record 7.2', 'F28'],
])('a complaint such as %j is explained', (text, promise) => {
  expect(meaningOf(text)).toContain(promise);
});
