import { expect, it } from 'vitest';
import { Scenario } from '../../simulator/scenario.js';

it('events are kept and told also where no command is run at each', async () => {
  const scenario = await Scenario.start();
  const events = await scenario.world.until(scenario.client.events());
  expect(events.map(({ kind }) => kind)).toContain('peer-joined');
});

it('a master that is killed tells at its next start what it had changed and not told', async () => {
  const scenario = await Scenario.start({ peers: 3, repairGraceMs: 600_000 });
  const { cluster, world } = scenario;
  const [lost] = cluster.peers;
  lost?.crash();
  await world.runUntil(() => cluster.map?.peers.some(({ state }) => state === 'down') === true, 5000);
  cluster.master.crash();
  cluster.master.start();
  await world.runFor(3000);
  const events = await world.until(scenario.client.events());
  const numbers = events.map(({ seq }) => seq);
  expect(numbers).toEqual(numbers.map((_, at) => (numbers[0] ?? 0) + at));
  const promoted = new Set(events.filter(({ kind }) => kind === 'promoted').flatMap(({ slots = [] }) => slots));
  const left = new Set(events.filter(({ kind }) => kind === 'copy-removed').flatMap(({ slots = [] }) => slots));
  expect(promoted.size + left.size).toBeGreaterThan(0);
  expect(events.filter(({ kind }) => kind === 'master-started')).toHaveLength(2);
});
