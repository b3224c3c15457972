/** `dfs doctor` against real daemons: what answers, what does not, and what answers instead. */
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Finding } from '../../src/cli/diagnosis.js';
import { type Cluster, Daemon, freePort, withCluster } from '../launcher.js';

async function doctor(cluster: Cluster): Promise<{ code: number | null; findings: readonly Finding[] }> {
  const { code, stdout } = await cluster.dfs(['doctor', '--json']);
  return {
    code,
    findings: stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Finding),
  };
}

function wrong(findings: readonly Finding[], check: Finding['check']): readonly Finding[] {
  return findings.filter((finding) => finding.check === check && finding.verdict !== 'ok');
}

/** Of another cluster, whose master listens where that of this one did. */
async function foreignDaemons(cluster: Cluster): Promise<readonly [Daemon, Daemon]> {
  const { address } = cluster.master;
  const place = (name: string, listen: string) => ({ name, listen, dataDir: join(cluster.dir, name) });
  return [
    new Daemon({ ...place('foreign-master', address), program: 'dfs-master', flags: [] }),
    new Daemon({
      ...place('foreign-peer', `127.0.0.1:${await freePort()}`),
      ...{ program: 'dfs-peer', flags: ['--master', address] },
    }),
  ];
}

describe('dfs doctor', () => {
  it('tells a master that is away from another program and another cluster in its place', {
    timeout: 120_000,
  }, async () => {
    await withCluster({ peers: 2 }, async (cluster) => {
      const { code, findings } = await doctor(cluster);
      // A machine that is busy with other tests may stand still for a while.
      const failed = findings.filter(({ verdict, check }) => verdict === 'fail' && check !== 'load');
      expect(failed).toEqual([]);
      if (wrong(findings, 'load').length === 0) expect(code).toBe(0);
      for (const check of ['master', 'health', 'peers', 'clocks', 'disks', 'versions', 'cache'] as const) {
        expect(findings.filter((finding) => finding.check === check)).toHaveLength(1);
        expect(wrong(findings, check)).toEqual([]);
      }
      // Both peers are on this host, and say so.
      expect(wrong(findings, 'safety')).toMatchObject([{ text: expect.stringContaining('All 2 peers are in zone') }]);

      await cluster.peers[1]?.kill();
      await cluster.master.kill();
      const away = await doctor(cluster);
      expect(away.code).toBe(6);
      expect(wrong(away.findings, 'master')).toMatchObject([{ text: `Nothing listens at ${cluster.master.address}` }]);
      // The peers are known from before.
      const absent = expect.stringContaining(`Nothing listens at ${cluster.peers[1]?.address}`);
      expect(wrong(away.findings, 'peers')).toMatchObject([{ verdict: 'fail', text: absent }]);
      expect(away.findings.map(({ check }) => check)).toContain('disks');

      const port = Number(cluster.master.address.split(':')[1]);
      const stranger = createServer((socket) => socket.resume().end('220 mail.example.org ESMTP\r\n'));
      await new Promise<void>((resolve) => stranger.listen(port, '127.0.0.1', resolve));
      const instead = await doctor(cluster);
      await new Promise((resolve) => stranger.close(resolve));
      expect(instead.code).toBe(6);
      expect(wrong(instead.findings, 'master')).toMatchObject([
        { text: expect.stringContaining('does not speak dfs') },
      ]);

      // A master with an empty store makes no new cluster while a peer of the old one calls.
      await cluster.peers[0]?.kill();
      const [foreignMaster, foreignPeer] = await foreignDaemons(cluster);
      try {
        await foreignMaster.start();
        await foreignPeer.start();
        await foreignPeer.waitForLog((line) => line.msg === 'joined');
        const foreign = await doctor(cluster);
        expect(foreign.code).toBe(6);
        expect(wrong(foreign.findings, 'master')).toMatchObject([{ text: expect.stringContaining('as before') }]);
      } finally {
        await Promise.all([foreignMaster.kill(), foreignPeer.kill()]);
      }
    });
  });
});
