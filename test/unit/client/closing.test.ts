import { describe, expect, test } from 'vitest';
import type { PointName } from '../../../src/core/probe.js';
import { Scenario } from '../../simulator/scenario.js';

describe('a client that is closed while it stores a file', () => {
  test.each([
    ['versionGiven', 'unknown-outcome'],
    ['ownEntryCommitted', 'unknown-outcome'],
  ] as const satisfies readonly (readonly [PointName, string])[])(
    'S6: does not say that nothing was stored, when that has got as far as %s',
    async (point, code) => {
      const scenario = await Scenario.start();
      const { client } = await scenario.cluster.client();
      const told = client.put('name', Buffer.from('new'));
      scenario.cluster.points.arm({ point, skip: 0, act: () => void client.close() });
      expect(await scenario.codeOf(told)).toBe(code);
      await scenario.world.runFor(1000);
      expect(await scenario.get('name')).toBe('new');
    },
  );

  test('says that it was cancelled, when nothing was sent', async () => {
    const scenario = await Scenario.start();
    const { client } = await scenario.cluster.client();
    await scenario.world.until(client.close());
    expect(await scenario.codeOf(client.put('name', Buffer.from('new')))).toBe('cancelled');
    expect(await scenario.get('name')).toBeUndefined();
  });
});
