import { expect, it } from 'vitest';
import { Scenario } from '../../simulator/scenario.js';

it('events are kept and told also where no command is run at each', async () => {
  const scenario = await Scenario.start();
  const events = await scenario.world.until(scenario.client.events());
  expect(events.map(({ kind }) => kind)).toContain('peer-joined');
});
