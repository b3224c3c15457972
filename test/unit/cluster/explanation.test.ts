import { expect, test } from 'vitest';
import { explainSlot } from '../../../src/cluster/explanation.js';
import { withOperation } from '../../../src/cluster/operations.js';
import { wantedPlacement } from '../../../src/cluster/placement.js';
import { joinedCluster, withRecords } from './fixtures.js';

const map = joinedCluster(3, { slotCount: 256 });
const wanted = wantedPlacement(map.peers, 256, 2);
const settled = withRecords(map, (slot) => ({ primary: wanted[slot]?.[0], inSync: wanted[slot] ?? [] }));

test('most slots go to the owner of the next token, some beyond its share to another, each with its reason', () => {
  const cases = new Map<string, number>();
  for (const slot of settled.slots.keys()) {
    const { placementCase, tokenOwner, wanted: wish, reasons } = explainSlot(settled, wanted, slot);
    cases.set(placementCase, (cases.get(placementCase) ?? 0) + 1);
    expect(wish).toEqual(wanted[slot]);
    expect(placementCase === 'bound').toBe(tokenOwner !== wish[0]);
    expect(reasons).toHaveLength(2);
    expect(reasons[0]).toContain(`${wish[0]} is to lead it`);
    expect(reasons[1]).toContain(`it comes after ${wish[0]}`);
  }
  expect(cases.get('token')).toBeGreaterThan(128);
});

test('what is not as wanted is told, with what will be done', () => {
  const lone = explainSlot(map, wanted, 0).reasons.join('; ');
  expect(lone).toMatch(/has no copy yet: one will be made/);
  const drained = withOperation(settled, 'p1', { kind: 'drain' });
  const slot = wanted.findIndex(([primary]) => primary === 'p1');
  const told = explainSlot(drained, wantedPlacement(drained.peers, 256, 2), slot).reasons.join('; ');
  expect(told).toMatch(/p1 has a copy and is being drained/);
  expect(told).toMatch(/p1 leads it now, and hands it over once p\d/);
});
