import { configDefaults, defineConfig } from 'vitest/config';

const guard = 'test/guard/**/*.test.ts'; // alone on the machine: `DFS_GUARD=1`
const only = process.env.DFS_GUARD === '1';

export default defineConfig({
  test: {
    include: only ? [guard] : ['test/**/*.test.ts'],
    exclude: only ? configDefaults.exclude : [...configDefaults.exclude, guard],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
