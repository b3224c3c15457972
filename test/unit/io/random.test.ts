import { expect, test } from 'vitest';
import { systemRandom } from '../../../src/io/random.js';

test('no two ids are alike, whatever is done with the ones before', () => {
  const ids = Array.from({ length: 5000 }, (_, at) => {
    const id = systemRandom.bytes(at % 3 === 0 ? 8 : 16);
    const text = Buffer.from(id).toString('hex');
    id.fill(0);
    return text;
  });
  expect(new Set(ids).size).toBe(ids.length);
  expect(new Set(ids.map(({ length }) => length))).toEqual(new Set([16, 32]));
});

test.each([0, 1, 4095, 4096, 4097, 100_000])('%d bytes are as many', (count) => {
  expect(systemRandom.bytes(count)).toHaveLength(count);
});
