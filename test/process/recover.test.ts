/**
 * The master's memory over real processes: its data folder is lost under load and recovered from the peers, with all of
 * them there or one missing; what is refused meanwhile and afterwards.
 */
import { cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  type Cluster,
  type CommandResult,
  checkout,
  Daemon,
  freePort,
  runCommand,
  until,
  withCluster,
} from '../launcher.js';

const flags = ['--slots', '32', '--repair-grace', '600'];
const names = Array.from({ length: 12 }, (_, at) => `file-${at}`);

function recover(cluster: Cluster, ...args: readonly string[]): Promise<CommandResult> {
  return runCommand(join(checkout, 'bin', 'dfs-master'), ['recover', '--data', cluster.master.dataDir, ...args]);
}

/** What a lost disk leaves: an empty one at the same place. */
async function loseMaster(cluster: Cluster): Promise<void> {
  await cluster.master.kill();
  await rm(cluster.master.dataDir, { recursive: true });
  await mkdir(cluster.master.dataDir);
}

/** Overwrites the files until told to stop; what each was last acknowledged with, and what was refused. */
class Load {
  readonly contents = new Map<string, string>();
  readonly failures: string[] = [];
  readonly #cluster: Cluster;
  #isOver = false;
  #running: Promise<void> | undefined;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async putAll(content: string): Promise<void> {
    for (const name of names) await this.put(name, content);
  }

  async put(name: string, content: string): Promise<void> {
    const result = await this.#cluster.dfs(['--timeout', '20', 'send', '-', '--as', name], { input: content });
    if (result.code === 0) this.contents.set(name, content);
    else this.failures.push(result.stderr);
  }

  start(): void {
    const work = async (): Promise<void> => {
      for (let round = 0; !this.#isOver; round++) {
        const name = names[round % names.length] ?? 'file-0';
        await this.put(name, `round ${round}`);
      }
    };
    this.#running = work();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }

  /** Those whose content is not what was acknowledged. */
  async wrong(): Promise<string[]> {
    const wrong: string[] = [];
    for (const [name, content] of this.contents) {
      const result = await this.#cluster.dfs(['receive', name, '-o', '-']);
      if (result.stdout !== content) wrong.push(`${name}: ${result.stdout}${result.stderr}, not ${content}`);
    }
    return wrong;
  }
}

it('S9, F14: a lost data folder is recovered under load from one address, and the cluster is whole again', async () => {
  await withCluster({ peers: 3, masterFlags: flags }, async (cluster) => {
    const load = new Load(cluster);
    await load.putAll('before');
    const [before] = await cluster.dfsJson(['status']);
    load.start();
    await loseMaster(cluster);
    const [seed] = cluster.peers;
    const recovered = await recover(cluster, '--peer', seed?.address ?? '');
    expect(recovered.stderr).toBe('');
    expect(recovered.stdout).toContain('32 of 32 slots are served again');
    expect(recovered.code).toBe(0);
    await cluster.master.start();
    await cluster.waitHealthy();
    await load.stop();
    const [after] = await cluster.dfsJson(['status']);
    expect(after?.clusterId).toBe(before?.clusterId);
    expect(Number(after?.epoch)).toBeGreaterThan(Number(before?.epoch));
    expect(load.failures).toEqual([]);
    expect(await load.wrong()).toEqual([]);
    await load.putAll('after');
    expect(load.failures).toEqual([]);
  });
});

/** Ids are given in the order of joining, which is anybody's. */
async function idOf(cluster: Cluster, peer: Daemon): Promise<string> {
  const known = (await cluster.dfsJson(['peers'])).find(({ address }) => address === peer.address);
  return String(known?.id);
}

it('F14: slots that only a missing peer holds wait for it, and come back when it does', async () => {
  await withCluster({ peers: 3, replicas: 1, masterFlags: flags }, async (cluster) => {
    const load = new Load(cluster);
    await load.putAll('kept');
    const missing = cluster.peers[2];
    if (missing === undefined) throw new Error('There are three peers');
    const id = await idOf(cluster, missing);
    await missing.kill();
    await loseMaster(cluster);
    const recovered = await recover(cluster, '--peer', cluster.peers[0]?.address ?? '');
    expect(recovered.stdout).toContain(`slots wait for ${id} `);
    expect(recovered.code).toBe(8);
    await cluster.master.start();
    const statusOf = async (): Promise<{ slots: { whole: number; unavailable: number }; reasons: string[] }> =>
      JSON.parse((await cluster.dfs(['--json', 'status'])).stdout);
    await until(async () => {
      const { slots } = await statusOf();
      return slots.unavailable > 0 && slots.whole + slots.unavailable === 32;
    }, 'the other slots are served');
    expect((await statusOf()).reasons.join()).toContain(`recovered without ${id}`);
    const peers = await cluster.dfsJson(['peers']);
    expect(peers.map(({ state }) => state).sort()).toEqual(['awaited', 'up', 'up']);
    await missing.start();
    await cluster.waitHealthy();
    expect(await load.wrong()).toEqual([]);
  });
});

it('F14: a peer that is given up comes back set aside, and deletes nothing until it is enabled', async () => {
  const masterFlags = [...flags, '--quarantine', '1'];
  await withCluster({ peers: 3, masterFlags }, async (cluster) => {
    const load = new Load(cluster);
    await load.putAll('kept');
    const missing = cluster.peers[2];
    if (missing === undefined) throw new Error('There are three peers');
    const missingId = await idOf(cluster, missing);
    // Both at once: nobody has taken the peer out of any set.
    await cluster.master.kill();
    await missing.kill();
    await loseMaster(cluster);
    const recovered = await recover(cluster, '--peer', cluster.peers[1]?.address ?? '');
    expect(recovered.code).toBe(8);
    const again = await recover(cluster, '--peer', cluster.peers[1]?.address ?? '');
    expect(again.code).toBe(78);
    expect(again.stderr).toContain('recovered already');
    const accepted = await recover(cluster, '--accept-missing', missingId);
    expect(accepted.stdout).toContain('32 of 32 slots are served again');
    expect(accepted.code).toBe(0);
    await cluster.master.start();
    await until(async () => (await cluster.dfs(['status'])).code === 0, 'all slots are served');
    await load.putAll('newer');
    await missing.start();
    const stateOfMissing = async () => (await cluster.dfsJson(['peers'])).find(({ id }) => id === missingId);
    await until(async () => (await stateOfMissing())?.state === 'set-aside', 'it is back');
    const held = await stateOfMissing();
    expect(held).toMatchObject({ primarySlots: 0, backupSlots: 0, joiningSlots: 0, mode: 'set-aside' });
    expect(Number(held?.bytes)).toBeGreaterThan(0);
    expect(await load.wrong()).toEqual([]);
    expect((await cluster.dfs(['peer', 'enable', missingId])).code).toBe(0);
    await cluster.waitHealthy();
    expect(await load.wrong()).toEqual([]);
  });
});

it('S10: what is not lost is not recovered, and the former master is refused and stops', async () => {
  await withCluster({ peers: 2, masterFlags: flags }, async (cluster) => {
    const { master, dir } = cluster;
    const [address = ''] = cluster.peers.map((peer) => peer.address);
    const load = new Load(cluster);
    await load.putAll('kept');
    const elsewhere = join(dir, 'elsewhere');
    await mkdir(elsewhere);
    const alive = await runCommand(join(checkout, 'bin', 'dfs-master'), [
      ...['recover', '--data', elsewhere, '--peer', address],
    ]);
    expect(alive.stderr).toContain('A master still leads this cluster');
    expect(alive.code).toBe(78);
    const nobody = await recover(cluster, '--peer', address);
    expect(nobody.code).toBe(75);
    await master.kill();
    const healthy = await recover(cluster, '--peer', address);
    expect(healthy.stderr).toContain('nothing is lost');
    expect(healthy.code).toBe(78);
    const misnamed = await runCommand(join(checkout, 'bin', 'dfs-master'), [
      ...['recover', '--data', elsewhere, '--peer', address, '--accept-missing', 'p99'],
    ]);
    expect(misnamed.stderr).toContain('No peer of this cluster has the id p99');
    // It has bound nobody: the master can still change its map.
    await master.start();
    expect((await cluster.dfs(['peer', 'set', 'p1', 'weight=2'])).code).toBe(0);
    await cluster.waitHealthy();
    await master.kill();

    const former = join(dir, 'former');
    await cp(master.dataDir, former, { recursive: true });
    await rm(join(former, 'lock'), { recursive: true, force: true });
    await loseMaster(cluster);
    expect((await recover(cluster, '--peer', address)).code).toBe(0);
    await master.start();
    await cluster.waitHealthy();
    const old = new Daemon({ name: 'old', program: 'dfs-master', listen: '127.0.0.1:0', dataDir: former, flags });
    expect((await old.launch()).code).toBe(78);
    expect(old.tail()).toContain('recovered from the peers');
    expect(await load.wrong()).toEqual([]);
    expect((await cluster.dfsJson(['status']))[0]?.health).toBe('healthy');
  });
});

it('S10: of two masters over copies of one folder one stops at the first change, and nothing is lost', async () => {
  await withCluster({ peers: 3, masterFlags: flags }, async (cluster) => {
    const load = new Load(cluster);
    await load.putAll('kept');
    const copy = join(cluster.dir, 'copy');
    await cp(cluster.master.dataDir, copy, { recursive: true });
    await rm(join(copy, 'lock'), { recursive: true, force: true });
    const listen = `127.0.0.1:${await freePort()}`;
    const clone = new Daemon({ name: 'clone', program: 'dfs-master', listen, dataDir: copy, flags });
    await clone.start();
    const masters = [cluster.master, clone];
    const victim = cluster.peers[2];
    await victim?.kill();
    await until(() => masters.filter(({ isRunning }) => isRunning).length === 1, 'one of the masters stops');
    for (const master of masters) if (!master.isRunning) expect(master.tail()).toMatch(/not the newest/);
    // Peers look for the one they were started with.
    const survivor = masters.find(({ isRunning }) => isRunning);
    if (survivor === clone) {
      await clone.stop();
      await rm(cluster.master.dataDir, { recursive: true });
      await cp(copy, cluster.master.dataDir, { recursive: true });
      await rm(join(cluster.master.dataDir, 'lock'), { recursive: true, force: true });
      await cluster.master.start();
    }
    await victim?.start();
    await cluster.waitHealthy();
    expect(await load.wrong()).toEqual([]);
  });
});
