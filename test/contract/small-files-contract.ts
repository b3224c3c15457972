/**
 * What every SmallFiles does, real or simulated.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SmallFiles } from '../../src/core/storage.js';

export interface SmallFilesHarness {
  open(): Promise<SmallFiles>;
  dispose(): Promise<void>;
}

export function smallFilesContract(name: string, makeHarness: () => Promise<SmallFilesHarness>): void {
  describe(`${name} as SmallFiles`, () => {
    let harness: SmallFilesHarness;
    let files: SmallFiles;

    beforeEach(async () => {
      harness = await makeHarness();
      files = await harness.open();
    });

    afterEach(() => harness.dispose());

    const textOf = async (name: string): Promise<string | undefined> => {
      const content = await files.read(name);
      return content && Buffer.from(content).toString();
    };

    it('answers a file that is not there with undefined', async () => {
      expect(await files.read('map')).toBeUndefined();
    });

    it('keeps each file on its own, over a new opening', async () => {
      await files.replace('map', Buffer.from('one'));
      await files.replace('identity', Buffer.from('two'));
      files = await harness.open();
      expect([await textOf('map'), await textOf('identity')]).toEqual(['one', 'two']);
    });

    it('ends with the last content given, however many were given at once', async () => {
      const versions = Array.from({ length: 20 }, (_, at) => `version ${at} ${'x'.repeat(at * 1000)}`);
      const replaced = versions.map((text) => files.replace('map', Buffer.from(text)));
      let isDone = false;
      const done = Promise.all(replaced).then(() => {
        isDone = true;
      });
      while (!isDone) {
        const found = await textOf('map');
        if (found !== undefined) expect(versions).toContain(found);
      }
      await done;
      expect(await textOf('map')).toBe(versions.at(-1));
    });

    it('holds an empty file apart from none', async () => {
      await files.replace('map', new Uint8Array(0));
      expect((await files.read('map'))?.length).toBe(0);
    });
  });
}
