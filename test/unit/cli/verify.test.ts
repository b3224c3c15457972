import { expect, test } from 'vitest';
import type { Context } from '../../../src/cli/command.js';
import { verifyEach } from '../../../src/cli/verify.js';
import type { BadCopy } from '../../../src/client/results.js';

/** The exit code of verifying one file of which these copies are not good, and what was told besides. */
async function verified(bad: readonly BadCopy[], left: readonly BadCopy[] = []) {
  const told: string[] = [];
  const output = {
    json: false,
    answer: async () => undefined,
    tell: async (text: string) => void told.push(text),
    note: async (text: string) => void told.push(text),
  };
  const verify = async (name: string) => ({ bucket: 'files', name, version: '1.1', copies: 2, bad, left });
  const context = { output, connect: async () => ({ verify }) } as unknown as Context;
  return { code: await verifyEach(context, ['a']), told };
}

const copy = (state: BadCopy['state']): BadCopy => ({ index: 0, id: 'p1', address: '127.0.0.1:1', state });

test('verify exits with 0 only when every copy was read and is good by now', async () => {
  expect(await verified([])).toMatchObject({ code: 0 });
  expect(await verified([copy('damaged')])).toMatchObject({ code: 0 });
  expect(await verified([copy('damaged')], [copy('damaged')])).toMatchObject({ code: 7 });
  for (const state of ['unreachable', 'unknown'] as const) {
    const { code, told } = await verified([copy(state)]);
    expect(code).toBe(8);
    expect(told.join()).toContain('could not be looked at');
  }
});
