/** The version that hello tells is the package's. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { nodeVersionMin, packageVersion, software } from '../../../src/core/version.js';

test('the versions in the code are those in package.json', () => {
  const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  expect({ version: packageVersion }).toEqual({ version: manifest.version });
  expect({ node: `>=${nodeVersionMin}` }).toEqual(manifest.engines);
  expect(software).toContain(packageVersion);
});
