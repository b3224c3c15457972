/**
 * How much a number of seeds must at least have tried, so that "no complaint" means something.
 */
import type { Counts } from './run-plan.js';

/** Seeds, and a count, below which chance alone may miss a floor. */
const seedsForFloors = 200;
const countForFloor = 10;
const virtualMsMin = 30_000;
const unknownShareMax = 0.2;

/** Per 1,000 seeds. */
const floors = {
  acknowledgedWrites: 25_000,
  promotions: 1500,
  resyncs: 5000,
  newStores: 200,
  unsyncedCrashes: 150,
  lostSlots: 5, // seldom: counts from 2,000 seeds on
} as const satisfies Partial<Record<keyof Counts, number>>;

/** One sentence for each floor that was missed; none for too few seeds. */
export function floorComplaints(seeds: number, sums: Counts): string[] {
  if (seeds < seedsForFloors) return [];
  const complaints = Object.entries(floors).flatMap(([name, least]) => {
    const count = sums[name as keyof typeof floors];
    const floor = (least * seeds) / 1000;
    return floor < countForFloor || count >= floor
      ? []
      : [`${name}: only ${count} in ${seeds} seeds, fewer than ${least} in 1000`];
  });
  if (sums.virtualMs < virtualMsMin * seeds) {
    complaints.push(`Only ${(sums.virtualMs / 1000 / seeds).toFixed(1)} virtual seconds a seed`);
  }
  if (sums.unknownOutcomes >= unknownShareMax * sums.operations) {
    complaints.push(`${sums.unknownOutcomes} of ${sums.operations} operations had an unknown outcome`);
  }
  return complaints;
}
