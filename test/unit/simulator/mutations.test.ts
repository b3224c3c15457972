import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { mutations } from '../../simulator/mutations/catalogue.js';
import { withFocus } from '../../simulator/mutations/focus.js';
import type { Mutation } from '../../simulator/mutations/mutation.js';
import { applyEdits, PatchFailure, patchedText } from '../../simulator/mutations/patch.js';
import { drawPlan } from '../../simulator/plan/plan.js';

const checkout = fileURLToPath(new URL('../../..', import.meta.url));
const compilerOptions: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
};

function compiled(file: string): string {
  const text = readFileSync(join(checkout, file.replace(/\.js$/, '.ts')), 'utf8');
  return ts.transpileModule(text, { compilerOptions }).outputText;
}

describe('the mutations', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dfs-patches-'));

  it.each(mutations.map((mutation) => [mutation.name, mutation] as const))('%s still applies', (_name, mutation) => {
    const { edits } = mutation;
    for (const { file } of edits) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), compiled(file));
    }
    applyEdits(folder, edits);
    rmSync(folder, { recursive: true });
  });

  it('have names of their own and say what they break', () => {
    expect(new Set(mutations.map(({ name }) => name)).size).toBe(mutations.length);
    for (const { name, rules, breaks, edits } of mutations) {
      expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
      expect(
        rules.every((rule) => /^[FS]\d+$/.test(rule)),
        name,
      ).toBe(true);
      expect(rules.length * edits.length, name).toBeGreaterThan(0);
      expect(breaks, name).toMatch(/^[A-Z].*\.$/);
    }
  });

  it('break every rule that can be broken on purpose', () => {
    const rules = new Set(mutations.flatMap((mutation: Mutation) => mutation.rules));
    const mandatory = ['F1', 'F2', 'F3', 'F4', 'F5', 'F6', 'F7', 'F8', 'F9', 'F16', 'F17', 'F19'];
    expect(mandatory.filter((rule) => !rules.has(rule))).toEqual([]);
  });
});

describe('a patch', () => {
  const edit = { file: 'a.js', find: 'if (a)\n  b();', replace: 'b($&);' };

  it('replaces the one place, however it is laid out', () => {
    expect(patchedText('x(); if (a)   b(); y();', edit)).toBe('x(); b($&); y();');
  });

  it.each([
    ['is nowhere', 'x();', '0 places'],
    ['is there twice', 'if (a) b(); if (a) b();', '2 places'],
  ])('fails when what it looks for %s', (_what, text, sentence) => {
    expect(() => patchedText(text, edit)).toThrow(sentence);
  });

  it('fails when its file is gone', () => {
    const nowhere = join(tmpdir(), 'dfs-no-such-build');
    expect(existsSync(nowhere)).toBe(false);
    expect(() => applyEdits(nowhere, [edit])).toThrow(PatchFailure);
  });
});

describe('a focus', () => {
  it('bends most faults, adds clients and keeps the numbers in step', () => {
    const plans = Array.from({ length: 50 }, (_, seed) => drawPlan(seed));
    const plan = plans.find(({ faults }) => faults.length > 20) ?? drawPlan(1);
    const bent = withFocus(plan, {
      setting: { peers: 2, replicas: 3, minInSync: 3 },
      faults: ['flap'],
      actions: [{ kind: 'list' }],
    });
    expect(bent.setting).toMatchObject({ peers: 2, replicas: 2, minInSync: 2 });
    expect(bent.faults.filter(({ kind }) => kind === 'flap').length).toBeGreaterThan(bent.faults.length / 2);
    expect(bent.clients.length).toBe(plan.clients.length + 2);
    expect(withFocus(plan, {})).toEqual(plan);
  });
});
