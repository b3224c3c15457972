import { expect, test } from 'vitest';
import { fromIsoTime, toIsoTime } from '../../../src/core/iso-time.js';

test.each([0, 1, 951_782_400_000, 951_868_799_999, 1_709_164_800_000, 1_735_689_599_999, 4_107_542_400_000])(
  'moment %d is written as the platform writes it',
  (atMs) => {
    expect(toIsoTime(atMs)).toBe(new Date(atMs).toISOString());
    expect(fromIsoTime(toIsoTime(atMs))).toBe(atMs);
  },
);
