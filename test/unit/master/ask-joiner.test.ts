import { expect, it } from 'vitest';
import { askJoiner } from '../../../src/master/recovery.js';
import { CreditPool } from '../../../src/protocol/credit.js';
import { encodeMap } from '../../../src/protocol/map-codec.js';
import { acceptSession } from '../../../src/protocol/session.js';
import { levelCluster } from '../cluster/fixtures.js';
import { refusalOf, World } from './harness.js';

const address = '127.0.0.1:7430';
const map = levelCluster(['p1', 'p2'], 2);

/** Asks a peer of the store that the map has for p1; it says hello without saying which peer it is. */
async function ask(payload: Uint8Array | undefined) {
  const world = new World();
  const credit = new CreditPool(1024 * 1024);
  await world.network.listen(address, (connection) =>
    acceptSession(world, connection, {
      onHello: () => ({
        ...{ role: 'peer', storeId: 'store-1', incarnation: 1, clusterMs: 0, mapEpoch: 0 },
        yourAddress: '127.0.0.1',
      }),
      serve: async ({ name }) => ({
        ...(name === 'look-back' && { header: { promised: 0 } }),
        ...(payload && { payload }),
      }),
      creditPoolFor: () => credit,
    }),
  );
  return askJoiner(world, map, { peer: 'p1', storeId: 'store-1', address });
}

it('F14: a peer that never had a map has nothing to tell, and counts as heard', async () => {
  expect(await ask(undefined)).toMatchObject({ peer: 'p1', map });
});

it('F14: one that has a map and does not say which peer it is, is not taken for one that never had any', async () => {
  expect(await refusalOf(ask(encodeMap({ ...map, epoch: map.epoch + 1 })))).toMatchObject({ code: 'not-ready' });
});
