/**
 * How the daemons start, refuse to start, and end: exit codes and sentences, over real processes and folders.
 */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandResult, checkout, Daemon, freePort, runCommand, until, withCluster } from '../launcher.js';

let dir = '';
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dfs-daemons-'));
});
afterAll(() => rm(dir, { recursive: true }));

function run(program: 'dfs-master' | 'dfs-peer', ...args: readonly string[]): Promise<CommandResult> {
  return runCommand(join(checkout, 'bin', program), args);
}

async function masterOver(dataDir: string, flags: readonly string[] = []): Promise<Daemon> {
  return new Daemon({ name: 'master', program: 'dfs-master', listen: `127.0.0.1:${await freePort()}`, dataDir, flags });
}

function isListening(address: string): Promise<boolean> {
  const [host, port] = address.split(':');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) });
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** A master's folder with a cluster in it. */
async function folderWithCluster(name: string): Promise<string> {
  const dataDir = join(dir, name);
  const master = await masterOver(dataDir);
  await master.start();
  const peer = new Daemon({
    ...{
      name: 'peer',
      program: 'dfs-peer',
      listen: `127.0.0.1:${await freePort()}`,
      dataDir: join(dir, `${name}-peer`),
    },
    flags: ['--master', master.address],
  });
  await peer.start();
  await until(() => master.log.some((line) => line.kind === 'peer-joined'), 'the peer joins');
  await peer.kill();
  await master.stop();
  return dataDir;
}

describe('a data folder', () => {
  it.each<[string, (path: string) => Promise<unknown>, number, string]>([
    ['whose parent is missing', async () => undefined, 78, 'does not exist'],
    ['that is a file', (path) => mkdir(join(path, '..')).then(() => writeFile(path, '')), 78, 'is not a folder'],
    [
      'of a peer',
      (path) => mkdir(path, { recursive: true }).then(() => writeFile(join(path, 'store.json'), '{}')),
      78,
      'belongs to a dfs-peer',
    ],
    [
      'with a map of a newer format',
      async (path) => {
        await mkdir(path, { recursive: true });
        await writeFile(join(path, 'cluster-map'), Buffer.from(`dfs-mstr${'\0'.repeat(3)}\x09${'\0'.repeat(12)}`));
      },
      78,
      'has format 9; this version reads up to 1',
    ],
    [
      'with a map that is no map',
      (path) => mkdir(path, { recursive: true }).then(() => writeFile(join(path, 'cluster-map'), 'garbage')),
      70,
      'is damaged',
    ],
  ])('%s is refused with its own sentence', async (what, prepare, exitCode, sentence) => {
    const path = join(dir, what.replaceAll(' ', '-'), 'data');
    await prepare(path);
    const result = await run('dfs-master', '--listen', '127.0.0.1:0', '--data', path);
    expect([result.code, result.stderr]).toEqual([exitCode, expect.stringContaining(sentence)]);
  });

  it('in use is refused with 75', async () => {
    const master = await masterOver(join(dir, 'in-use'));
    await master.start();
    const result = await run('dfs-master', '--listen', '127.0.0.1:0', '--data', master.dataDir);
    expect(await master.stop()).toMatchObject({ code: 0 });
    expect([result.code, result.stderr]).toEqual([75, expect.stringContaining(`is in use by process`)]);
  });

  it('whose map lost a bit starts nothing', async () => {
    const dataDir = await folderWithCluster('one-bit');
    const map = await readFile(join(dataDir, 'cluster-map'));
    map[100] = (map[100] ?? 0) ^ 4;
    await writeFile(join(dataDir, 'cluster-map'), map);
    const result = await run('dfs-master', '--listen', '127.0.0.1:0', '--data', dataDir);
    expect([result.code, result.stderr]).toEqual([70, expect.stringContaining('checksum does not match')]);
    expect(await readFile(join(dataDir, 'cluster-map'))).toEqual(map);
  });
});

describe('a command line', () => {
  it.each([
    [['recover'], 2, 'no peer is named'],
    [['--replcas', '3'], 2, 'did you mean --replicas?'],
    [['--listen', '127.0.0.1:70000'], 78, 'port 70000 is above 65535'],
    [['--min-in-sync', '3'], 78, 'more than the 2 replicas'],
    [['--config', '/nowhere/dfs.toml'], 78, '/nowhere/dfs.toml'],
  ])('%j ends with %d', async (args, exitCode, sentence) => {
    const result = await run('dfs-master', ...args, '--data', join(dir, 'never-made'));
    expect([result.code, result.stderr]).toEqual([exitCode, expect.stringContaining(sentence)]);
  });

  it('with an address in use ends with 78', async () => {
    const master = await masterOver(join(dir, 'address'));
    await master.start();
    const result = await run('dfs-master', '--listen', master.address, '--data', join(dir, 'other'));
    await master.stop();
    expect([result.code, result.stderr]).toEqual([78, expect.stringContaining('is in use')]);
  });

  it('for help is answered on stdout, examples first', async () => {
    for (const program of ['dfs-master', 'dfs-peer'] as const) {
      const result = await run(program, '--help');
      expect([result.code, result.stdout.split('\n')[0]]).toEqual([0, 'Examples:']);
    }
  });
});

describe('a master', () => {
  it('says first that it listens, and stops cleanly', async () => {
    const master = await masterOver(join(dir, 'first-line'));
    await master.start();
    expect(master.log[0]).toMatchObject({ msg: 'listening', address: master.address });
    expect(await master.stop()).toEqual({ code: 0, signal: null });
  });

  it('reads its log level again at SIGHUP', async () => {
    const config = join(dir, 'dfs.toml');
    await writeFile(config, 'log-level = "error"');
    const master = await masterOver(join(dir, 'hang-up'), ['--config', config]);
    const ended = master.launch();
    await until(() => isListening(master.address), 'it listens');
    expect(master.log).toEqual([]);
    await writeFile(config, 'log-level = "info"');
    master.signal('SIGHUP');
    await until(() => master.log.some((line) => line.level === 30), 'it logs again');
    await master.stop();
    expect(await ended).toMatchObject({ code: 0 });
  });

  it('hands each event to a command', async () => {
    const events = join(dir, 'events.txt');
    const master = await masterOver(join(dir, 'on-event'), ['--on-event', `cat >> ${events}; echo >> ${events}`]);
    await master.start();
    const text = () => readFile(events, 'utf8').catch(() => '');
    await until(async () => (await text()).includes('\n'), 'the command ran');
    await master.stop();
    expect(JSON.parse((await text()).split('\n')[0] ?? '')).toMatchObject({ seq: 1, kind: 'master-started' });
  });
});

describe('an identity', () => {
  it('of another cluster, a copied one, and a store that is not the newest are refused with 78', async () => {
    await withCluster({ peers: 2 }, async (cluster) => {
      const [first, second] = cluster.peers;
      if (first === undefined || second === undefined) throw new Error('Two peers were started');

      const copy = join(cluster.dir, 'copy');
      await cp(first.dataDir, copy, { recursive: true });
      await rm(join(copy, 'lock'));
      const twin = await run('dfs-peer', '--listen', '127.0.0.1:0', '--master', cluster.master.address, '--data', copy);
      expect([twin.code, twin.stderr]).toEqual([78, expect.stringContaining('has a copy of its identity')]);

      const oldStore = join(cluster.dir, 'old-store');
      await cp(cluster.master.dataDir, oldStore, { recursive: true });
      await rm(join(oldStore, 'lock'));
      await second.stop();
      await second.start();
      await cluster.waitHealthy();
      await cluster.master.kill();
      const address = ['--listen', cluster.master.address];
      const old = await run('dfs-master', ...address, '--data', oldStore);
      expect([old.code, old.stderr]).toEqual([78, expect.stringContaining('not the newest')]);

      const empty = await masterOver(join(cluster.dir, 'empty'));
      await empty.start();
      const other = new Daemon({
        ...{ name: 'other', program: 'dfs-peer', listen: `127.0.0.1:${await freePort()}` },
        dataDir: join(cluster.dir, 'other'),
        flags: ['--master', empty.address],
      });
      await other.start();
      await until(() => empty.log.some((line) => line.kind === 'cluster-created'), 'another cluster is made');
      await second.stop();
      const stranger = await run(
        'dfs-peer',
        '--listen',
        '127.0.0.1:0',
        '--master',
        empty.address,
        '--data',
        second.dataDir,
      );
      expect([stranger.code, stranger.stderr]).toEqual([78, expect.stringContaining('belongs to')]);
      await other.kill();
      await empty.kill();
    });
  });
});
