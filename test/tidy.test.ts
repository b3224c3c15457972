/**
 * Holds the lines of the house: who imports whom, what touches the world, sizes and names.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { reportImports } from './tidy/import-rules.js';
import { complaintsAbout } from './tidy/source-rules.js';

const checkout = fileURLToPath(new URL('..', import.meta.url));

function filesUnder(folder: string): string[] {
  return readdirSync(join(checkout, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(checkout.length));
}

function textOf(path: string): string {
  return readFileSync(join(checkout, path), 'utf8');
}

/** Reports on a made-up source tree. */
async function reportOn(files: Readonly<Record<string, string>>) {
  const dir = mkdtempSync(join(tmpdir(), 'dfs-tidy-'));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, path)), { recursive: true });
      writeFileSync(join(dir, path), text);
    }
    return await reportImports(dir);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe('imports', () => {
  it('go one way, and each package has one home', async () => {
    const report = await reportImports(checkout);
    expect(report.moduleCount).toBeGreaterThan(10);
    expect(report.violations).toEqual([]);
    for (const [name, homes] of report.homes) expect(homes, `files that import ${name}`).toHaveLength(1);
    const { dependencies } = JSON.parse(textOf('package.json')) as { dependencies: Record<string, string> };
    expect([...report.homes.keys()].sort()).toEqual(Object.keys(dependencies).sort());
  });

  it.each([
    ['core', 'cluster'],
    ['cluster', 'protocol'],
    ['protocol', 'peer'],
    ['master', 'peer'],
    ['peer', 'client'],
    ['client', 'io'],
    ['client', 'cli'],
    ['cli', 'io'],
    ['io', 'cluster'],
    ['cli', 'main'],
  ])('from %s to %s are refused', async (from, to) => {
    const report = await reportOn({
      'src/main/program.ts': `import '../${from}/a.js';`,
      [`src/${from}/a.ts`]: `import '../${to}/b.js';`,
      [`src/${to}/b.ts`]: 'export const b = 1;',
    });
    expect(report.violations.join()).toContain(`src/${from}/a.ts → src/${to}/b.ts`);
  });

  it.each(['node:net', 'node:fs', 'node:fs/promises', 'node:timers', 'node:crypto', 'fs'])(
    'of %s outside src/io are refused',
    async (name) => {
      const files = { 'src/main/program.ts': `import '../core/a.js';`, 'src/core/a.ts': `import '${name}';` };
      expect((await reportOn(files)).violations.join()).toContain('only src/io touches the world');
    },
  );

  it('of files no program uses are noticed', async () => {
    const files = { 'src/main/program.ts': 'export const a = 1;', 'src/core/dead.ts': 'export const b = 1;' };
    expect((await reportOn(files)).violations.join()).toContain('src/core/dead.ts');
  });
});

describe('sources', () => {
  const sources = [...filesUnder('src'), ...filesUnder('test')].filter((path) => path.endsWith('.ts'));

  it('keep to the house', () => {
    expect(sources.length).toBeGreaterThan(20);
    expect(sources.flatMap((path) => complaintsAbout(path, textOf(path)))).toEqual([]);
  });

  it.each([
    ['const at = Date.now();', 'the global Date'],
    ['const at = new Date();', 'the global Date'],
    ['const chance = Math.random();', 'Math.random'],
    ['setTimeout(run, 5);', 'the global setTimeout'],
    ['const home = process.env.HOME;', 'the global process'],
    ['const late = performance.now();', 'the global performance'],
    ['let x: any;', 'any'],
    ['enum Colour { Red }', 'an enum'],
    ['class A { constructor(readonly b: number) {} }', 'a parameter property'],
    ['try { run(); } catch {}', 'an empty catch'],
    ['run().catch(() => {});', 'a rejection swallowed'],
    ['export default 1;', 'a default export'],
    [`export * from './a.js';`, 'a re-export'],
    ['// TODO: later', 'unfinished'],
    [`const a = '${'x'.repeat(120)}';`, 'columns'],
    ['a();\n'.repeat(400), 'lines, more than'],
    [`function long() {\n${'  a();\n'.repeat(70)}}`, 'a function of 72 lines'],
  ])('are refused with %j', (line, complaint) => {
    expect(complaintsAbout('src/core/a.ts', `/** A. */\n${line}\n`).join()).toContain(complaint);
  });

  it.each(['const Date = 1; use(Date);', 'clock.setTimeout(1);', 'const a = { process: 1 };', '/** Date. */'])(
    'may hold %j',
    (line) => {
      expect(complaintsAbout('src/core/a.ts', `/** A. */\n${line}\n`)).toEqual([]);
    },
  );

  it.each(['src/core/utils.ts', 'src/core/index.ts', 'src/core/bigFile.ts'])('are not called %s', (path) => {
    expect(complaintsAbout(path, '/** A. */\n')).toHaveLength(1);
  });
});

describe('programs', () => {
  it.each(['dfs', 'dfs-master', 'dfs-peer'])('bin/%s only starts the compiled program', (name) => {
    expect(existsSync(join(checkout, 'bin', name)), `bin/${name} exists`).toBe(true);
    const lines = textOf(`bin/${name}`).trimEnd().split('\n');
    expect(lines[0]).toMatch(/^#!\/usr\/bin\/env .*node/);
    expect(lines.length).toBeLessThanOrEqual(5);
    expect(textOf(`bin/${name}`)).toContain(`../dist/main/${name}.js`);
  });

  it('and scripts are executable', () => {
    const listed = execFileSync('git', ['ls-files', '--stage', 'bin', 'scripts', 'test/failover', '.ci/run'], {
      cwd: checkout,
      encoding: 'utf8',
    });
    const plain = listed
      .split('\n')
      .filter((line) => /^100644 .*\t(bin\/|scripts\/|\.ci\/run|.*\/\d\d-.*\.sh$)/.test(line));
    expect(plain).toEqual([]);
  });
});
