import { expect, it } from 'vitest';
import { timing } from '../../../src/core/timing.js';
import { Operations } from '../../../src/master/operations.js';
import { MemoryFiles, refusalOf, startPair, World } from './harness.js';

it('S5, S7: a peer that is away is not removed while another looks for good copies', async () => {
  const world = new World();
  const { master, peers } = await startPair(world, new MemoryFiles());
  const [first, second] = peers;
  const remove = () => new Operations(master).changePeer({ peer: 'p2', op: 'remove', dryRun: false });
  await second.kill();
  await world.clock.advance(timing.downAfterMs + 200);
  first.damaged = 1;
  await world.clock.advance(2 * timing.pingIntervalMs);
  expect(await refusalOf(remove())).toEqual({
    code: 'conflict',
    message: 'There are bad copies on p1, and p2 may have the only good ones',
  });
  // What it said counts while it is away, too.
  await first.kill();
  await world.clock.advance(timing.downAfterMs + 200);
  expect(await refusalOf(remove())).toMatchObject({ code: 'conflict', message: expect.stringContaining('bad copies') });
  await first.restart();
  const joined = first.join();
  await world.clock.advance(timing.patientChangeMs);
  await joined;
  first.damaged = 0;
  await world.clock.advance(2 * timing.pingIntervalMs);
  const removed = remove();
  await world.clock.advance(timing.patientChangeMs);
  await removed;
  expect(master.map?.peers[1]?.state).toBe('removed');
});
