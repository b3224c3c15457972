import { expect, it } from 'vitest';
import { keyOfName, keyOfVoid, queueKeyOf } from '../../../src/peer/entry.js';

const file = { bucket: 'files', name: 'a' };

it('a void shares the queue of its name, and its key stays as it is, also when it is a Buffer', () => {
  const key = Buffer.from(keyOfVoid(file, new Uint8Array(16).fill(7)));
  const before = Uint8Array.from(key);
  expect(queueKeyOf(key)).toBe(queueKeyOf(keyOfName(file)));
  expect(Uint8Array.from(key)).toEqual(before);
});
