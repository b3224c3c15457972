import { expect, it } from 'vitest';
import { diagnose, type Finding, type Here } from '../../../src/cli/diagnosis.js';
import type { Examination, MasterContact, PeerContact } from '../../../src/client/examination.js';
import type { ClusterMap, PeerRecord } from '../../../src/cluster/map.js';
import { software } from '../../../src/core/version.js';
import { peerRecord, plainMap } from '../cluster/fixtures.js';
import { FakeCluster, runDfs } from './fake-world.js';

const GiB = 2 ** 30;
const here: Here = { nodeVersion: '20.19.0', cacheProblem: undefined };
const nowMs = 1_800_000_000_000;
const dayMs = 86_400_000;
const clusterId = 'a'.repeat(32);

const answers = {
  ...{ state: 'answers' as const, software, clusterId, clusterMs: nowMs, clusterAheadMs: 0, wallAheadMs: 0 },
};
const goodMaster: MasterContact = { ...answers, role: 'master', about: { wallMs: nowMs, node: '22.1.0' } };
const goodPeer: Extract<PeerContact, { state: 'answers' }> = {
  ...answers,
  role: 'peer',
  about: {
    ...{ wallMs: nowMs, node: '20.19.1', lagMs: 12, freeBytes: 50 * GiB, totalBytes: 100 * GiB, reserveBytes: 2 * GiB },
    ...{ damaged: 0, verifiedSinceMs: nowMs - dayMs, isJoined: true },
  },
};

function peer(number: number, more: Partial<PeerRecord> = {}): PeerRecord {
  const address = `10.0.0.${number}:7421`;
  return peerRecord(number, { address, tokenAddress: address, zone: `z${number}`, ...more });
}

interface World {
  readonly masters?: readonly { address: string; contact: MasterContact }[];
  readonly peers?: readonly (readonly [PeerRecord, PeerContact])[];
  readonly map?: Partial<ClusterMap>;
  readonly health?: Examination['health'];
  readonly remembered?: string;
}

/** A cluster in which all is well but what is given. */
function examination(world: World = {}): Examination {
  const pairs = world.peers ?? [[peer(1), goodPeer] as const, [peer(2), goodPeer] as const];
  const pool = { name: 'default', replicas: 2, minInSync: 1 };
  return {
    masters: world.masters ?? [{ address: '10.0.0.9:7420', contact: goodMaster }],
    health: world.health ?? { health: 'healthy', reasons: [] },
    map: { ...plainMap, slots: [], clusterId, pool, peers: pairs.map(([record]) => record), ...world.map },
    rememberedClusterId: world.remembered,
    peers: pairs.map(([record, contact]) => ({ record, contact })),
  };
}

function wrong(world: World, machine: Here = here): readonly Finding[] {
  return diagnose(examination(world), machine).filter(({ verdict }) => verdict !== 'ok');
}

function onlyPeer(more: Partial<(typeof goodPeer)['about']>, contact: object = {}): World {
  const told: PeerContact = { ...goodPeer, ...contact, about: { ...goodPeer.about, ...more } };
  return { peers: [[peer(1), goodPeer] as const, [peer(2), told] as const] };
}

const master = (contact: MasterContact, address = '10.0.0.9:7420') => ({ address, contact });

it('says of every check that all is well, once', () => {
  const findings = diagnose(examination(), here);
  expect(new Set(findings.map(({ verdict }) => verdict))).toEqual(new Set(['ok']));
  const checks = ['master', 'health', 'peers', 'clocks', 'disks', 'copies', 'versions', 'load', 'safety', 'cache'];
  expect(findings.map(({ check }) => check)).toEqual(checks);
});

it.each<[string, World, Partial<Finding>, RegExp]>([
  [
    'no master',
    { masters: [master({ state: 'refused' })] },
    { check: 'master', verdict: 'fail' },
    /Nothing listens at 10/,
  ],
  ['a silent master', { masters: [master({ state: 'silent' })] }, { verdict: 'fail' }, /Nothing answers from 10.0.0.9/],
  [
    'another program at its port',
    { masters: [master({ state: 'stranger', message: 'no hello' })] },
    { check: 'master', verdict: 'fail' },
    /does not speak dfs/,
  ],
  [
    'another protocol',
    { masters: [master({ state: 'rejected', code: 'wrong-version', message: 'Protocol 2' })] },
    { check: 'master', verdict: 'fail', advice: 'Run one version of dfs everywhere' },
    /Protocol 2/,
  ],
  [
    'a peer named as the master',
    { masters: [master({ ...goodMaster, role: 'peer' })] },
    { check: 'master', verdict: 'fail' },
    /a peer answers, no master/,
  ],
  ['another cluster', { remembered: 'b'.repeat(32) }, { check: 'master', verdict: 'fail' }, /leads cluster a+, not b+/],
  [
    'a master over an empty folder',
    { masters: [master({ ...goodMaster, clusterId: undefined })], remembered: clusterId },
    { check: 'master', verdict: 'fail' },
    /has no cluster, but there it led cluster a+ before/,
  ],
  [
    'a cluster without peers',
    { masters: [master({ ...goodMaster, clusterId: undefined })], peers: [] },
    { check: 'master', verdict: 'warn' },
    /no peers yet/,
  ],
  [
    'masters of two clusters',
    { masters: [master(goodMaster), master({ ...goodMaster, clusterId: 'b' }, '10.0.0.8:7420')] },
    { check: 'master', verdict: 'fail' },
    /different clusters/,
  ],
  [
    'a second master that is away',
    { masters: [master(goodMaster), master({ state: 'refused' }, '10.0.0.8:7420')] },
    { check: 'master', verdict: 'warn' },
    /Nothing listens at 10.0.0.8/,
  ],
  [
    'a degraded cluster',
    { health: { health: 'degraded', reasons: ['p2 is down'] } },
    { verdict: 'warn' },
    /: p2 is down/,
  ],
  [
    'an unavailable one',
    { health: { health: 'unavailable', reasons: [] } },
    { check: 'health', verdict: 'fail' },
    /unav/,
  ],
  [
    'a peer that the master reaches, but not this machine',
    {
      peers: [
        [peer(1), goodPeer],
        [peer(2), { state: 'silent' }],
      ],
    },
    { check: 'peers', verdict: 'fail', about: 'p2' },
    /p2 is up in the newest map known here, but: Nothing answers from 10.0.0.2/,
  ],
  [
    'a peer that is advertised at loopback, seen from elsewhere',
    {
      peers: [
        [peer(1), goodPeer],
        [peer(2, { address: '127.0.0.1:7421' }), { state: 'refused' }],
      ],
    },
    { check: 'peers', verdict: 'fail', advice: expect.stringContaining('--advertise') as unknown as string },
    /p2 is advertised as 127.0.0.1:7421/,
  ],
  [
    'the same, seen from its own machine',
    {
      peers: [
        [peer(1), goodPeer],
        [peer(2, { address: '127.0.0.1:7421' }), goodPeer],
      ],
    },
    { check: 'peers', verdict: 'warn' },
    /only programs on its own machine reach/,
  ],
  [
    'somebody else at the address of a peer',
    {
      peers: [
        [peer(1), goodPeer],
        [peer(2), { state: 'rejected', code: 'wrong-identity', message: 'This is peer p7' }],
      ],
    },
    { check: 'peers', verdict: 'fail' },
    /p2 cannot be asked: This is peer p7/,
  ],
  [
    'a peer that is down',
    {
      peers: [
        [peer(1), goodPeer],
        [peer(3), goodPeer],
        [peer(2, { state: 'down' }), { state: 'refused' }],
      ],
    },
    { check: 'peers', verdict: 'fail' },
    /p2 is down: Nothing listens/,
  ],
  [
    'a peer without a master',
    onlyPeer({ isJoined: false }),
    { check: 'peers', verdict: 'warn' },
    /no connection to a master/,
  ],
  ['a wrong clock', onlyPeer({}, { wallAheadMs: -3200 }), { check: 'clocks', verdict: 'warn' }, /p2 is 3.2 s behind/],
  [
    'an odd cluster time',
    onlyPeer({}, { clusterAheadMs: 5000 }),
    { check: 'clocks', verdict: 'warn' },
    /5.0 s ahead of/,
  ],
  [
    'a cluster time that is too far off',
    onlyPeer({}, { clusterAheadMs: -700_000 }),
    { check: 'clocks', verdict: 'fail' },
    /refuses changes as too old/,
  ],
  ['a full disk', onlyPeer({ freeBytes: GiB }), { check: 'disks', verdict: 'fail', about: 'p2' }, /no-space/],
  [
    'a nearly full disk',
    onlyPeer({ freeBytes: 3 * GiB }),
    { check: 'disks', verdict: 'warn' },
    /takes no further slots/,
  ],
  ['bad copies', onlyPeer({ damaged: 2 }), { check: 'copies', verdict: 'warn' }, /2 bad copies/],
  [
    'no scrub for long',
    onlyPeer({ verifiedSinceMs: nowMs - 40 * dayMs }),
    { check: 'copies', verdict: 'warn' },
    /40 d 0 h/,
  ],
  [
    'another version',
    onlyPeer({}, { software: 'dfs-store 0.0.9' }),
    { check: 'versions', verdict: 'warn' },
    /0.0.9 runs as p2/,
  ],
  [
    'an old Node',
    onlyPeer({ node: '18.20.1' }),
    { check: 'versions', verdict: 'warn' },
    /Node 18.20.1 of p2 is too old/,
  ],
  ['a slow peer', onlyPeer({ lagMs: 200 }), { check: 'load', verdict: 'warn' }, /stood still for 200 ms/],
  ['a peer that stood still', onlyPeer({ lagMs: 1500 }), { check: 'load', verdict: 'fail' }, /counts as down/],
  [
    'one copy',
    { map: { pool: { name: '', replicas: 1, minInSync: 1 } } },
    { check: 'safety', verdict: 'warn' },
    /one copy/,
  ],
  [
    'too few peers',
    { peers: [[peer(1), goodPeer]] },
    { check: 'safety', verdict: 'warn' },
    /1 peer cannot hold 2 copies/,
  ],
  [
    'one zone',
    {
      peers: [
        [peer(1, { zone: 'a' }), goodPeer],
        [peer(2, { zone: 'a' }), goodPeer],
      ],
    },
    { check: 'safety', verdict: 'warn' },
    /All 2 peers are in zone a/,
  ],
  [
    'all copies needed',
    { map: { pool: { name: '', replicas: 2, minInSync: 2 } } },
    { verdict: 'warn' },
    /need all 2 copies/,
  ],
  ['paused moves', { map: { movesPaused: true } }, { check: 'safety', verdict: 'warn' }, /Moves are paused/],
  [
    'a maintenance that goes on',
    {
      peers: [
        [peer(1), goodPeer],
        [peer(2, { mode: 'maintenance' }), goodPeer],
      ],
    },
    { check: 'safety', verdict: 'warn' },
    /p2 is under maintenance/,
  ],
])('finds %s', (_what, world, finding, text) => {
  expect(wrong(world)).toMatchObject([{ ...finding, text: expect.stringMatching(text) }]);
});

it('knows this machine itself', () => {
  expect(wrong({}, { nodeVersion: '20.18.9', cacheProblem: 'EACCES' })).toMatchObject([
    { check: 'versions', text: 'Node 20.18.9 of this machine is too old for dfs' },
    { check: 'cache', text: expect.stringContaining('EACCES') },
  ]);
});

it('judges nothing that could not be measured', () => {
  const nothing = { ...examination({ masters: [master({ state: 'refused' })], peers: [] }), health: undefined };
  const checks = diagnose({ ...nothing, map: undefined }, here).map(({ check }) => check);
  expect(checks).toEqual(['master', 'versions', 'cache']);
});

it('prints a line for each finding, and ends with 6 only when something fails', async () => {
  const cluster = new FakeCluster();
  cluster.examined = { cluster: examination(onlyPeer({ lagMs: 200 })), here };
  const warned = await runDfs(cluster, ['doctor']);
  expect(warned).toMatchObject({ exitCode: 0, stderr: '' });
  expect(warned.stdout).toMatch(/^ok {4}master {4}The master at .*\.\n/);
  expect(warned.stdout).toMatch(/\nwarn {2}load {6}p2 stood still for 200 ms.*\. Its machine is overloaded/);
  cluster.examined = { cluster: examination(onlyPeer({ lagMs: 2000 })), here };
  const failed = await runDfs(cluster, ['doctor', '--json']);
  expect(failed.exitCode).toBe(6);
  const rows = failed.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Finding);
  expect(rows.find(({ verdict }) => verdict === 'fail')).toMatchObject({ check: 'load', about: 'p2' });
});
