import { describe, expect, it } from 'vitest';
import { loadSettings, type Sources } from '../../../src/main/config.js';
import { masterProgram, peerProgram } from '../../../src/main/daemon-options.js';

function sources(given: { flags?: string; environment?: Sources['environment']; file?: string }): Sources {
  const { flags = '', environment = {}, file } = given;
  const argv = flags === '' ? [] : flags.split(' ');
  return {
    argv: file === undefined ? argv : [...argv, '--config', 'dfs.toml'],
    environment,
    readText: async () => file ?? '',
  };
}

async function masterSettings(given: Parameters<typeof sources>[0]) {
  const loaded = await loadSettings(masterProgram, sources(given));
  if (loaded.kind !== 'run') throw new Error(`It was ${loaded.kind}`);
  return loaded.settings;
}

describe('settings', () => {
  it('have defaults', async () => {
    expect(await masterSettings({})).toEqual({
      'checkpoint-every': 0,
      'checkpoint-keep': 7,
      listen: '127.0.0.1:7420',
      data: './dfs-data/master',
      replicas: 2,
      'min-in-sync': 1,
      slots: 1024,
      'repair-grace': 30_000,
      quarantine: 86_400_000,
      'on-event': undefined,
      'log-level': 'info',
    });
  });

  it('of a peer have defaults too', async () => {
    const loaded = await loadSettings(peerProgram, sources({}));
    expect(loaded).toMatchObject({
      kind: 'run',
      settings: {
        listen: '127.0.0.1:7421',
        master: ['127.0.0.1:7420'],
        data: './dfs-data/peer',
        weight: 1,
        'sweep-after': 86_400_000,
        'replaced-grace': 600_000,
      },
    });
  });

  it('come from the flag, then the environment, then the file, then the default', async () => {
    const file = 'replicas = 1\nlisten = "10.0.0.3:1"\nslots = 64';
    const environment = { DFS_REPLICAS: '2', DFS_LISTEN: '10.0.0.2:1' };
    const settings = await masterSettings({ flags: '--replicas 3', environment, file });
    expect(settings).toMatchObject({ replicas: 3, listen: '10.0.0.2:1', slots: 64, data: './dfs-data/master' });
  });

  it('may be written --flag=value, and lists as lists in the file', async () => {
    expect(await masterSettings({ flags: '--replicas=3 --repair-grace=0.5' })).toMatchObject({
      replicas: 3,
      'repair-grace': 500,
    });
    const loaded = await loadSettings(peerProgram, sources({ file: 'master = ["a:1", "[::1]:2"]' }));
    expect(loaded).toMatchObject({ settings: { master: ['a:1', '[::1]:2'] } });
  });

  it('of an empty variable do not count', async () => {
    expect(await masterSettings({ environment: { DFS_REPLICAS: '' } })).toMatchObject({ replicas: 2 });
  });
});

describe('a configuration that cannot work ends with 78 and one sentence:', () => {
  it.each([
    ['an empty file', { file: ' \n' }, 'Configuration file dfs.toml is empty'],
    ['a binary file', { file: 'a\0b' }, 'Configuration file dfs.toml is not text'],
    ['a file that is not UTF-8', { file: 'a = "\ufffd"' }, 'Configuration file dfs.toml is not text'],
    ['no TOML', { file: 'listen = \n' }, 'Configuration file dfs.toml, line 1, column'],
    ['an unknown key', { file: 'replikas = 2' }, 'unknown key "replikas". Did you mean "replicas"?'],
    [
      'a key that is nothing like one',
      { file: 'xyzzyxyzzy = 2' },
      'unknown key "xyzzyxyzzy". It may hold listen, data',
    ],
    ['a duplicate key', { file: 'slots = 64\nslots = 32' }, 'dfs.toml, line 2: the key "slots" is given twice'],
    ['a table', { file: '[replicas]\nn = 2' }, 'dfs.toml: replicas: The value must be a text, a number'],
    ['a number out of range', { flags: '--replicas 4' }, '--replicas: "4" is not a whole number from 1 to 3'],
    ['a negative number', { file: 'replicas = -1' }, 'dfs.toml: replicas: "-1" is not a whole number from 1 to 3'],
    ['a fraction', { environment: { DFS_REPLICAS: '1.5' } }, 'DFS_REPLICAS: "1.5" is not a whole number'],
    ['min-in-sync above replicas', { flags: '--min-in-sync 3' }, 'min-in-sync is 3, more than the 2 replicas'],
    ['port 70000', { flags: '--listen 127.0.0.1:70000' }, '--listen: "127.0.0.1:70000" is not an address: port 70000'],
    ['no port', { flags: '--listen localhost' }, '--listen: "localhost" is not an address; write HOST:PORT'],
    ['slots that are no power of two', { flags: '--slots 1000' }, '--slots: "1000" is not a power of two'],
    ['an unknown log level', { flags: '--log-level loud' }, '--log-level: "loud" is not one of debug, info'],
  ])('%s', async (_what, given, sentence) => {
    const outcome = await loadSettings(masterProgram, sources(given)).catch((error) => error);
    expect(outcome).toMatchObject({ name: 'DaemonStop', exitCode: 78 });
    expect(outcome.message).toContain(sentence);
  });
});

describe('a wrong command line ends with 2:', () => {
  it.each([
    ['an unknown flag', '--replcas 3', 'Unknown flag --replcas (did you mean --replicas?). See dfs-master --help'],
    ['a flag without its value', '--replicas', 'Flag --replicas needs a value'],
    ['a flag given twice', '--replicas 1 --replicas 2', 'Flag --replicas is given twice'],
    ['an unknown command', 'recovr', 'Unknown command "recovr" (did you mean recover?)'],
  ])('%s', async (_what, flags, sentence) => {
    const outcome = await loadSettings(masterProgram, sources({ flags })).catch((error) => error);
    expect(outcome).toMatchObject({ name: 'DaemonStop', exitCode: 2 });
    expect(outcome.message).toContain(sentence);
  });
});

it('the help starts with examples and names every option', async () => {
  const loaded = await loadSettings(masterProgram, sources({ flags: '--help' }));
  if (loaded.kind !== 'print') throw new Error(`It was ${loaded.kind}`);
  expect(loaded.text).toMatch(/^Examples:\n {2}dfs-master\n/);
  for (const name of Object.keys(masterProgram.options)) expect(loaded.text).toContain(`--${name}`);
});

it('a later command is known by name', async () => {
  expect(await loadSettings(masterProgram, sources({ flags: 'recover' }))).toEqual({
    kind: 'command',
    name: 'recover',
  });
});
