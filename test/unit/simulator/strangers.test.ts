import { beforeAll, describe, expect, test } from 'vitest';
import { intrusionNames } from '../../simulator/plan/intrusions.js';
import { misuses } from '../../simulator/plan/misuses.js';
import { Stranger } from '../../simulator/plan/stranger.js';
import { Scenario } from '../../simulator/scenario.js';

describe('in a quiet cluster', () => {
  let scenario: Scenario;
  let stranger: Stranger;

  beforeAll(async () => {
    scenario = await Scenario.start({ slots: 4 });
    stranger = new Stranger(scenario.cluster, '10.0.2.1');
  });

  test.each(intrusionNames)('a stranger that %s is turned away as it should be', async (name) => {
    const { world, monitor } = scenario.cluster;
    const before = monitor.map;
    for (let chance = 1; chance <= 40; chance++) {
      expect(await world.until(stranger.intrude(name, chance))).toBe(true);
      expect(world.complaints).toEqual([]);
    }
    expect(monitor.map).toBe(before);
    await scenario.put('after', 'all is well');
    expect(await scenario.get('after')).toBe('all is well');
  });

  test.each(misuses.map((misuse, at) => [at, misuse] as const))(
    'misuse %i of the library is refused',
    async (_, misuse) => {
      const { code, call } = misuse;
      await scenario.put('name', 'as it was');
      expect(await scenario.codeOf(call(scenario.client, 'name'))).toBe(code);
      expect(await scenario.get('name')).toBe('as it was');
    },
  );
});
