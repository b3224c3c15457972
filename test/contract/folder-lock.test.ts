/**
 * One process at a time on a data folder, and a folder that is wiped while it is held.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockFolder } from '../../src/io/folder-lock.js';
import { temporaryFolder } from './temporary-folder.js';

let folder: { path: string; remove(): Promise<void> };
let data: string;

beforeEach(() => {
  folder = temporaryFolder();
  data = join(folder.path, 'data');
});

afterEach(() => folder.remove());

const sources = ['io/folder-lock', 'io/folder-sync', 'io/system-errors', 'core/errors'];

/** Starts another process that locks the folder and says so. */
async function startHolder(wrapper: readonly string[] = []): Promise<ChildProcess> {
  const compiled = join(folder.path, 'compiled');
  for (const name of sources) {
    const text = readFileSync(new URL(`../../src/${name}.ts`, import.meta.url), 'utf8');
    const options = { module: ts.ModuleKind.ES2022, target: ts.ScriptTarget.ES2023 };
    mkdirSync(dirname(join(compiled, name)), { recursive: true });
    writeFileSync(join(compiled, `${name}.js`), ts.transpileModule(text, { compilerOptions: options }).outputText);
  }
  writeFileSync(join(compiled, 'package.json'), '{"type":"module"}');
  const script = join(compiled, 'holder.js');
  const lines = [
    `import { lockFolder } from './io/folder-lock.js';`,
    `const lock = await lockFolder(${JSON.stringify(data)});`,
    `process.stdin.on('data', async () => { await lock.release(); process.exit(); });`,
    `console.log('locked');`,
  ];
  writeFileSync(script, lines.join('\n'));
  const [command = process.execPath, ...args] = [...wrapper, process.execPath, script];
  const holder = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const [said] = await once(holder.stdout, 'data');
  expect(String(said)).toBe('locked\n');
  return holder;
}

async function end(holder: ChildProcess): Promise<void> {
  const ended = once(holder, 'exit');
  holder.kill('SIGKILL');
  await ended;
}

describe('a data folder', () => {
  it('that another process holds is in use, and free the moment that one is killed', async () => {
    const holder = await startHolder();
    await expect(lockFolder(data)).rejects.toMatchObject({
      reason: 'in-use',
      exitCode: 75,
      message: expect.stringContaining(`process ${holder.pid}`),
    });
    await end(holder);
    const lock = await lockFolder(data);
    expect(lock.stillThere()).toBe(true);
    await lock.release();
  });

  it('that another process released is free', async () => {
    const holder = await startHolder();
    const ended = once(holder, 'exit');
    holder.stdin?.write('release\n');
    await ended;
    await (await lockFolder(data)).release();
  });

  it('is one and the same under all of its names', async () => {
    const lock = await lockFolder(data);
    symlinkSync(data, join(folder.path, 'other'));
    await expect(lockFolder(join(folder.path, 'other'))).rejects.toMatchObject({ reason: 'in-use' });
    await expect(lockFolder(`${data}/../data/`)).rejects.toMatchObject({ reason: 'in-use' });
    await lock.release();
  });

  it.skipIf(process.getuid?.() !== 0)('held from another network namespace is in use (needs root)', async () => {
    const holder = await startHolder(['unshare', '--net']);
    await expect(lockFolder(data)).rejects.toMatchObject({ reason: 'in-use' });
    await end(holder);
    await (await lockFolder(data)).release();
  });

  it('whose lock names a process id that now is another’s is free', async () => {
    mkdirSync(data);
    const lines = [`{"pid":1,"startedAt":"0","bootId":"another boot"}`, 'garbage', '', '{"pid":"x"}', 'null'];
    for (const line of lines) {
      writeFileSync(join(data, 'lock'), line);
      await (await lockFolder(data)).release();
    }
  });

  it('leaves no lock behind when released, and cannot be held twice by one process', async () => {
    const lock = await lockFolder(data);
    await expect(lockFolder(data)).rejects.toMatchObject({ reason: 'in-use' });
    await lock.release();
    expect(readdirSync(data)).toEqual([]);
  });
});

describe('a folder that will not do', () => {
  it('for want of its parent', async () => {
    await expect(lockFolder(join(folder.path, 'no', 'data'))).rejects.toMatchObject({
      reason: 'missing-parent',
      exitCode: 78,
      message: expect.stringContaining('does not exist'),
    });
  });

  it('for being a file, or below one, or a link to nothing', async () => {
    writeFileSync(data, '');
    await expect(lockFolder(data)).rejects.toMatchObject({ reason: 'not-a-folder', exitCode: 78 });
    await expect(lockFolder(join(data, 'below'))).rejects.toMatchObject({ reason: 'not-a-folder' });
    unlinkSync(data);
    symlinkSync(join(folder.path, 'nowhere'), data);
    await expect(lockFolder(data)).rejects.toMatchObject({ reason: 'not-a-folder' });
  });

  it('for being read-only', async () => {
    // /proc refuses writes even from root.
    await expect(lockFolder('/proc/self')).rejects.toMatchObject({ reason: 'not-writable', exitCode: 78 });
    mkdirSync(data);
    chmodSync(data, 0o500);
    if (process.getuid?.() !== 0) {
      await expect(lockFolder(data)).rejects.toMatchObject({ reason: 'not-writable' });
    }
    chmodSync(data, 0o700);
  });
});

describe('a folder that is held', () => {
  it.each<[string, () => void]>([
    ['emptied', () => rmSync(join(data, 'lock'))],
    ['removed', () => rmSync(data, { recursive: true })],
    [
      'removed and made again with the same files',
      () => {
        const text = readFileSync(join(data, 'lock'));
        rmSync(data, { recursive: true });
        mkdirSync(data);
        writeFileSync(join(data, 'lock'), text);
      },
    ],
    [
      'replaced by a copy',
      () => {
        renameSync(data, `${data}.old`);
        mkdirSync(data);
        writeFileSync(join(data, 'lock'), readFileSync(join(`${data}.old`, 'lock')));
      },
    ],
  ])('and %s is not there any more', async (_, wipe) => {
    const lock = await lockFolder(data);
    expect(lock.stillThere()).toBe(true);
    wipe();
    expect(lock.stillThere()).toBe(false);
    await lock.release();
  });
});
