import { expect, it } from 'vitest';
import { defer } from '../../../src/core/deferred.js';
import { DfsError, refuse } from '../../../src/core/errors.js';
import { timing } from '../../../src/core/timing.js';
import type { Change } from '../../../src/peer/change-lane.js';
import { ClusterClock } from '../../../src/peer/cluster-clock.js';
import { Identity } from '../../../src/peer/identity.js';
import { MasterLink } from '../../../src/peer/master-link.js';
import { CreditPool } from '../../../src/protocol/credit.js';
import { encodeMap } from '../../../src/protocol/map-codec.js';
import { acceptSession, type Session } from '../../../src/protocol/session.js';
import { joinedCluster } from '../cluster/fixtures.js';
import { ManualClock, RecordingLog } from '../manual-clock.js';
import { MemoryNetwork } from '../memory-network.js';

/** A link to a master that takes every change and remembers which came together. */
async function joined() {
  const clock = new ManualClock();
  const random = { bytes: (count: number) => new Uint8Array(count), fraction: () => 0 };
  const network = new MemoryNetwork();
  const map = joinedCluster(1);
  const batches: (readonly Change[])[] = [];
  const reports: string[] = [];
  /** The master answers those not before. */
  const answering = { additions: Promise.resolve() };
  const log = new RecordingLog();
  const environment = { clock, random, network, log };
  const sessions: Session[] = [];
  let joins = 0;
  let refusal: DfsError | undefined;
  await network.listen('master:7420', (connection) =>
    acceptSession(environment, connection, {
      onHello: (_hello, session) => {
        sessions.push(session);
        return { role: 'master', clusterMs: 1, mapEpoch: map.epoch, yourAddress: '127.0.0.1' };
      },
      serve: async (request) => {
        if (request.name === 'change') {
          batches.push(request.header.changes);
          if (request.header.changes.every(({ op }) => op === 'add')) await answering.additions;
        }
        if (request.name === 'report') {
          const what = request.header.named?.[0]?.what ?? '';
          if (what === 'poison') return refuse('invalid', 'No such report');
          reports.push(what);
          return { header: {} };
        }
        if (request.name === 'join') joins += 1;
        if (request.name === 'join' && refusal !== undefined) throw refusal;
        if (request.name !== 'join') return { header: { epoch: map.epoch } };
        return { header: { clusterId: map.clusterId, peerId: 'p1' }, payload: encodeMap(map) };
      },
      creditPoolFor: () => new CreditPool(1000),
    }),
  );
  const link = new MasterLink({
    environment,
    me: new Identity({ storeId: 'store-1', incarnation: 1 }),
    clock: new ClusterClock(clock),
    masters: ['master:7420'],
    zone: '',
    weight: 1,
    advertised: () => 'peer:7421',
    mapEpoch: () => 0,
    lineage: () => undefined,
    onMap: async () => undefined,
    onJoined: async () => undefined,
    onRejected: (error) => expect.unreachable(String(error)),
    onFailure: (error) => expect.unreachable(String(error)),
  });
  link.start();
  await clock.advance(1);
  expect(link.isConnected).toBe(true);
  const refuseIt = (error: DfsError): void => {
    refusal = error;
    sessions.at(-1)?.close('It was refused');
  };
  return {
    ...{ log, refuseIt, clock, link, batches, answering, reports },
    joins: () => joins,
    slotsOf: () => batches.map((batch) => batch.map(({ slot }) => slot)),
  };
}

const add = (slot: number): Change => ({ slot, slotEpoch: 1, op: 'add', peer: 'p2', storeId: 'store-2' });
const remove = (slot: number): Change => ({ slot, slotEpoch: 1, op: 'remove', peer: 'p3' });

it('copies that are in step one after another are added by one change of the map', async () => {
  const { clock, link, slotsOf } = await joined();
  const asked = [link.change([add(1)], false)];
  await clock.advance(timing.gatherAddsMs / 2);
  asked.push(link.change([add(2)], false));
  await clock.advance(timing.gatherAddsMs / 4);
  expect(slotsOf()).toEqual([]);
  await clock.advance(timing.gatherAddsMs);
  expect(slotsOf()).toEqual([[1, 2]]);
  await Promise.all(asked);
  link.close();
});

it('S8: a dead replica is removed at once, whatever is waiting for company', async () => {
  const { clock, link, slotsOf } = await joined();
  const asked = [link.change([add(1)], false)];
  await clock.advance(timing.gatherAddsMs / 4);
  asked.push(link.change([remove(2)]));
  await clock.advance(1);
  expect(slotsOf()).toEqual([[2]]);
  await clock.advance(timing.gatherAddsMs);
  expect(slotsOf()).toEqual([[2], [1]]);
  await Promise.all(asked);
  link.close();
});

it('S8: a dead replica is removed at once, although the master lets earlier additions wait', async () => {
  const { clock, link, slotsOf, answering } = await joined();
  const answer = defer<void>();
  answering.additions = answer.promise;
  const added = link.change([add(1)]);
  await clock.advance(1);
  await link.change([remove(2)]);
  expect(slotsOf()).toEqual([[1], [2]]);
  answer.resolve();
  await added;
  link.close();
});

it('as many changes as travel together fit in a message', async () => {
  const { clock, link, slotsOf } = await joined();
  const large = Array.from({ length: 1024 }, (_, slot): Change => ({ ...add(slot), keys: 1, bytes: 2 ** 40 }));
  const asked = link.change(large);
  await clock.advance(timing.changeRetryMs);
  expect(slotsOf().map((slots) => slots.length)).toEqual([500, 500, 24]);
  await asked;
  link.close();
});

it('a report that the master refuses holds up no other', async () => {
  const { clock, link, reports } = await joined();
  for (const what of ['poison', 'second', 'third']) link.report({ kind: 'copy-damaged', named: [{ slot: 0, what }] });
  await clock.advance(10);
  expect(reports).toEqual(['second', 'third']);
  link.close();
});

it('a closed link refuses what it is asked: who asks until it is so would ask for ever', async () => {
  const { link } = await joined();
  link.close();
  await expect(link.change([add(1)])).rejects.toMatchObject({ code: 'cancelled' });
});

it('a removed peer says so once, in words, and asks only now and then again', async () => {
  const { clock, link, log, refuseIt, joins } = await joined();
  refuseIt(new DfsError('removed', 'p1 was removed', { advice: 'Stop it' }));
  await clock.advance(timing.helloRetryMs + 10);
  const before = joins();
  for (let step = 0; step < 10; step++) await clock.advance(timing.removedRetryMs / 5);
  expect(joins() - before).toBe(2);
  const said = log.lines.filter(({ level }) => level === 'error');
  expect(said).toMatchObject([{ message: 'p1 was removed. Stop it' }]);
  link.close();
});

it('S9: a peer that another master refuses goes on asking, and says once what to do', async () => {
  const { clock, link, log, refuseIt, joins } = await joined();
  refuseIt(new DfsError('wrong-identity', 'p1 joined by a map that is lost', { advice: 'Start it empty' }));
  await clock.advance(30 * timing.helloRetryMs);
  expect(joins()).toBeGreaterThan(20);
  const said = log.lines.filter(({ level }) => level === 'warn' || level === 'error');
  expect(said).toMatchObject([{ level: 'warn', message: 'p1 joined by a map that is lost. Start it empty' }]);
  link.close();
});
