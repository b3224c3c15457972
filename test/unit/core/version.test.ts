/** The version that hello tells is the package's. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { packageVersion, software } from '../../../src/core/version.js';

test('the version in the code is the one in package.json', () => {
  const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  expect({ version: packageVersion }).toEqual({ version: manifest.version });
  expect(software).toContain(packageVersion);
});
