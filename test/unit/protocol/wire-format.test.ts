/** docs/wire-format.md says what the code does. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Shape } from '../../../src/protocol/checks.js';
import { packPlain } from '../../../src/protocol/codec.js';
import { messages } from '../../../src/protocol/messages.js';
import { rawFrame } from './raw-frames.js';

const page = readFileSync(new URL('../../../docs/wire-format.md', import.meta.url), 'utf8');

function fields(shape: Shape): string {
  const names = Object.entries(shape).map(([name, check]) => `\`${name}${check.isOptional ? '?' : ''}\``);
  return names.join(', ') || '—';
}

test('the table of messages is the one of messages.ts', () => {
  const rows = page.split('\n').filter((line) => /^\| \d+ \| `[a-z-]+` \| (client|peer|master)/.test(line));
  const wanted = Object.entries(messages).map(
    ([name, { kind, from, request, reply }]) =>
      `| ${kind} | \`${name}\` | ${from.join(', ')} | ${fields(request)} | ${fields(reply)} |`,
  );
  expect(rows).toEqual(wanted);
});

test('every message has a meaning and every field its line', () => {
  const table = page.slice(page.indexOf('## Fields'), page.indexOf('## Rows'));
  const described = new Set([...table.matchAll(/`(\w+)`/g)].map(([, name]) => name));
  for (const [name, { request, reply }] of Object.entries(messages)) {
    expect(page).toContain(`\n| \`${name}\` | `);
    for (const field of Object.keys({ ...request, ...reply })) expect(described, `${name}.${field}`).toContain(field);
  }
});

test('the example is a real frame', () => {
  const header = packPlain({ protocol: 1, role: 'client', software: 'x', generation: 1 });
  const hex = rawFrame({ kind: 1, requestId: 1, header }).toString('hex');
  const example = /```\n([0-9a-f \n]+)```/.exec(page)?.[1] ?? '';
  expect(example.replaceAll(/\s/g, '')).toBe(hex);
  expect(page).toContain(`is ${hex.length / 2} bytes`);
});
