import { describe, expect, it } from 'vitest';
import { parseBytes, parseSeconds } from '../../../src/cli/command.js';
import { parseRange } from '../../../src/cli/receive.js';
import { parseAddresses, parseBucket } from '../../../src/cli/settings.js';
import { DfsError } from '../../../src/core/errors.js';
import { FakeCluster, runDfs } from './fake-world.js';

describe('a mistake in the command line', () => {
  it.each<[string[], RegExp]>([
    [['sned', 'x'], /unknown command 'sned'\n {2}Did you mean send\?/],
    [['send', 'x', '--recursve'], /unknown option '--recursve'\n {2}Did you mean --recursive\?/],
    [['ls', '--bukcet', 'x'], /unknown option '--bukcet'\n {2}Did you mean --bucket\?/],
    [['nonsense'], /unknown command 'nonsense'/],
    [['stat'], /missing required argument 'name'/],
    [['stat', 'a', 'b'], /too many arguments/],
    [['ls', '--limit', 'many'], /"many" is not a whole number/],
    [['ls', '--limit', '0'], /"0" is not a whole number from 1/],
    [['ls', '--master', 'host:70000'], /--master: "host:70000" is not an address/],
    [['ls', '--bucket', 'A'], /--bucket: "A" is not a bucket/],
    [['ls', '--timeout', '-1'], /argument missing|not a number of seconds/],
    [['ls', '--timeout', '0'], /not a number of seconds above 0/],
    [['receive'], /No name is given/],
    [['receive', 'a', '--prefix', 'b', '--recursive'], /cannot be mixed/],
    [['receive', '--prefix', 'b'], /Add --recursive/],
    [['receive', '-r', 'b'], /Did you mean --prefix "b"\?/],
    [['receive', 'a', '--range', '9-5'], /"9-5" is not a range/],
    [['receive', 'a', 'b', '--range', '0-5'], /exactly one name/],
    [['send', '-'], /Give it one with --as NAME/],
    [['send', '-', 'x', '--as', 'y'], /is sent alone/],
    [['send', 'x', 'y', '--as', 'z'], /--as names one file/],
    [['send', 'a/x', 'b/x'], /would both become x/],
    [['send', 'x', '--segment-size', 'big'], /"big" is not a size/],
    [['rm'], /No name is given/],
    [['rm', '--prefix', 'a'], /Add --yes/],
    [['cp', 'a', 'a'], /Both names are the same/],
    [['set-metadata', 'a', 'b'], /Write KEY=VALUE/],
    [['set-metadata', 'a', 'b=1', 'b=2'], /given twice/],
    [['status', '--wait', 'soon'], /neither healthy nor available/],
    [['checkpoint', 'creat'], /"creat" is no action\n {2}Did you mean create\?/],
    [['checkpoint', 'create', 'x'], /gets its id from the cluster/],
    [['checkpoint', 'rm'], /No checkpoint is given/],
    [['checkpoint', 'restore', 'x'], /Give names, --prefix PREFIX, or --all/],
    [['checkpoint', 'restore', 'x', 'a', '--all'], /Give names, --prefix PREFIX, or --all/],
    [['checkpoint', 'restore', 'x', 'a', 'b', '--as', 'c'], /--as goes with one name/],
    [['dev', '--peers', '0'], /whole number from 1/],
  ])('%j is told with exit code 2', async (argv, message) => {
    const ran = await runDfs(new FakeCluster(), argv);
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' });
    expect(ran.stderr).toMatch(message);
  });

  it('is to ask for JSON and bytes on one standard output', async () => {
    const ran = await runDfs(new FakeCluster(), ['receive', 'a', '-o', '-', '--json']);
    expect(ran.exitCode).toBe(2);
    expect(JSON.parse(ran.stdout).error.message).toBe('--json and -o - both want standard output');
  });

  it('is JSON too when that is asked for', async () => {
    const ran = await runDfs(new FakeCluster(), ['sned', '--json']);
    expect(ran).toMatchObject({ exitCode: 2, stderr: '' });
    const { error } = JSON.parse(ran.stdout);
    expect(error).toEqual({
      ...{ code: 'invalid', message: "unknown command 'sned'", requestId: null },
      advice: 'Did you mean send?',
    });
  });
});

describe('commands of later versions', () => {
  it.each([
    ['force-promote', '3'],
    ['force-promote', '--help'],
  ])('%s %s answer "not in this version" with exit code 2', async (...argv) => {
    const ran = await runDfs(new FakeCluster(), argv);
    expect(ran.exitCode).toBe(2);
    expect(ran.stderr).toContain(`dfs ${argv[0]} is not in this version`);
  });
});

describe('help', () => {
  const commands = ['send', 'receive', 'ls', 'stat', 'rm', 'cp', 'mv', 'set-metadata', 'locate', 'status', 'peers'];

  it.each([[], ...[...commands, 'events', 'dev'].map((name) => [name])])(
    'of %s begins with examples',
    async (...argv) => {
      const ran = await runDfs(new FakeCluster(), [...argv, '--help']);
      expect(ran).toMatchObject({ exitCode: 0, stderr: '' });
      expect(ran.stdout).toMatch(/^Examples:\n {2}(dfs|tar c) /);
    },
  );

  it('is shown as a mistake when no command is given', async () => {
    const ran = await runDfs(new FakeCluster(), []);
    expect(ran).toMatchObject({ exitCode: 2, stdout: '' });
    expect(ran.stderr).toContain('Examples:');
  });

  it('tells the version', async () => {
    expect(await runDfs(new FakeCluster(), ['--version'])).toEqual({ exitCode: 0, stdout: '1.2.3\n', stderr: '' });
  });
});

describe('settings', () => {
  const seen = async (...[argv, environment, config]: [string[], Record<string, string>?, object?]) => {
    const cluster = new FakeCluster();
    const settings = { ...(environment && { environment }), ...(config && { config: { ...config } }) };
    const ran = await runDfs(cluster, ['ls', ...argv], settings);
    return { ...ran, ...cluster.settings };
  };

  it('come from the flag, then the environment, then the file, then the default', async () => {
    const config = { master: ['file:1'], bucket: 'filed' };
    const environment = { DFS_MASTER: 'env:1,env:2', DFS_CONFIG: 'dfs.toml' };
    expect(await seen(['--master', 'flag:1'], environment, config)).toMatchObject({ masters: ['flag:1'] });
    expect(await seen([], environment, config)).toMatchObject({ masters: ['env:1', 'env:2'], bucket: 'filed' });
    expect(await seen(['--config', 'x'], {}, config)).toMatchObject({ masters: ['file:1'] });
    expect(await seen([])).toMatchObject({ masters: ['127.0.0.1:7420'], bucket: 'files', timeoutMs: 30_000 });
  });

  it('are taken before and after the command', async () => {
    const cluster = new FakeCluster();
    await runDfs(cluster, ['--master', 'before:1', 'ls', '--timeout', '1.5']);
    expect(cluster.settings).toMatchObject({ masters: ['before:1'], timeoutMs: 1500 });
  });

  it('of the file are named when they are unknown or wrong', async () => {
    const unknown = await seen(['--config', 'dfs.toml'], {}, { mastr: 'x:1' });
    expect(unknown).toMatchObject({ exitCode: 2 });
    expect(unknown.stderr).toContain('dfs.toml: unknown key "mastr"\n  Did you mean "master"?');
    const wrong = await seen(['--config', 'dfs.toml'], {}, { timeout: -3 });
    expect(wrong.stderr).toContain('dfs.toml, key "timeout": "-3" is not a number of seconds above 0');
  });
});

describe('values', () => {
  const refused = (parse: () => unknown) => expect(parse).toThrow(DfsError);

  it.each([
    ['0', 0],
    ['512', 512],
    ['64K', 65536],
    ['4M', 4194304],
    ['4MiB', 4194304],
    ['1.5G', 1610612736],
  ])('size %s is %d bytes', (text, bytes) => expect(parseBytes(text)).toBe(bytes));
  it.each(['', 'M', '-1', '1X', '1e3', '9999999999999999T'])('size %j is refused', (text) => {
    refused(() => parseBytes(text));
  });

  it.each([
    ['0-0', { start: 0, end: 1 }],
    ['5-9', { start: 5, end: 10 }],
    ['5-', { start: 5 }],
  ])('range %s is %j', (text, range) => expect(parseRange(text)).toEqual(range));
  it.each(['', '-', '-5', '9-5', 'a-b', '1-2-3', '1.5-2'])('range %j is refused', (text) => {
    refused(() => parseRange(text));
  });

  it.each(['a:1', '127.0.0.1:7420', '[::1]:7420', 'a:1, b:65535'])('masters %s are taken', (text) => {
    expect(parseAddresses(text)).toEqual(text.split(', '));
  });
  it.each(['', 'a', 'a:', ':1', 'a:0', 'a:65536', 'a:1,,b:2', 'a b:1', '::1:7420'])(
    'masters %j are refused',
    (text) => {
      refused(() => parseAddresses(text));
    },
  );

  it.each(['', 'ab', 'Files', 'a_b', 'x'.repeat(64)])('bucket %j is refused', (text) =>
    refused(() => parseBucket(text)),
  );
  it.each(['0', '-1', 'x', '', 'Infinity', '1e3'])('%j seconds are refused', (text) =>
    refused(() => parseSeconds(text)),
  );
});
