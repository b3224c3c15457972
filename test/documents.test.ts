/** The tables of docs/safety.md name files, tests and checks that exist. */
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const root = new URL('../', import.meta.url);
const page = readFileSync(new URL('docs/safety.md', root), 'utf8');
const rows = page
  .split('\n')
  .filter((line) => /^\| \*\*[SF]\d+\*\* \|/.test(line))
  .map((line) => line.slice(2, -2).split(' | '));

test('every promise and rule has its row, in order', () => {
  const ids = rows.map(([id]) => id?.replaceAll('*', ''));
  const numbered = (letter: string, count: number) =>
    Array.from({ length: count }, (_, index) => `${letter}${index + 1}`);
  expect(ids).toEqual([...numbered('S', 10), ...numbered('F', 28)]);
});

test.each(rows)('%s is kept in files that exist', (_id, _text, kept = '') => {
  for (const [, path] of kept.matchAll(/`([a-z]+\/[a-z-]+\.ts)`/g)) {
    expect(existsSync(new URL(`src/${path}`, root)), path).toBe(true);
  }
});

test.each(rows)('%s is shown by tests that exist', (_id, _text, _kept, shown = '') => {
  if (shown === '—') return;
  const cited = [...shown.matchAll(/`([\w/.-]+)`((?: “[^”]+”,?)*)/g)];
  expect(cited).not.toEqual([]);
  for (const [, path = '', claims = ''] of cited) {
    const source = readFileSync(new URL(path.endsWith('.sh') ? `test/${path}` : `test/${path}.test.ts`, root), 'utf8');
    for (const [, claim] of claims.matchAll(/“([^”]+)”/g)) expect(source, path).toContain(claim);
  }
});

test('checks of the simulator exist, and each promise and rule is said to be watched by one or by none', () => {
  const [, section = ''] = page.split('## What the simulator watches');
  const checks = section.split('\n## ')[0]?.split('\n') ?? [];
  const files = checks.flatMap((line) => /^\| `([\w./-]+\.ts)` \|/.exec(line)?.[1] ?? []);
  expect(files.length).toBeGreaterThan(5);
  for (const file of files) expect(existsSync(new URL(`test/simulator/${file}`, root)), file).toBe(true);
  const watched = new Set(checks.flatMap((line) => line.match(/\b[SF]\d+\b/g) ?? []));
  expect(rows.map(([id = '']) => id.replaceAll('*', '')).filter((id) => !watched.has(id))).toEqual([]);
});
