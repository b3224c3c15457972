import { expect, it } from 'vitest';
import { silentLog } from '../../../src/core/environment.js';
import { Identity } from '../../../src/peer/identity.js';
import { PeerCalls } from '../../../src/peer/peer-calls.js';
import { peerRecord } from '../cluster/fixtures.js';
import { ManualClock } from '../manual-clock.js';
import { MemoryNetwork } from '../memory-network.js';

it('whoever shares an attempt to reach a peer hears the same refusal when it fails', async () => {
  const random = { bytes: (count: number) => new Uint8Array(count), fraction: () => 0 };
  const environment = { clock: new ManualClock(), random, network: new MemoryNetwork(), log: silentLog };
  const calls = new PeerCalls(environment, new Identity({ storeId: 'store-1', incarnation: 1 }));
  const header = { slot: 0, slotEpoch: 1, peer: 'p2', storeId: 'store-2' };
  const ask = () => calls.ask(peerRecord(3), 'may-drop', header, { timeoutMs: 100 });
  const outcomes = await Promise.allSettled([ask(), ask(), ask()]);
  for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: { code: 'connection-lost' } });
});
