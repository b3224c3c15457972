/**
 * Who may import whom, as rules for dependency-cruiser.
 *
 * core ← cluster ← protocol ← master | peer | client ← cli ← main; io stands beside them and is handed in by main, by
 * the public library (src/dfs.ts) and by tests only. Each third-party package has one home file.
 */
import { cruise, type IForbiddenRuleType } from 'dependency-cruiser';

/** The folders of src, each with the folders it may import besides itself. */
const layers: Readonly<Record<string, readonly string[]>> = {
  core: [],
  cluster: ['core'],
  protocol: ['core', 'cluster'],
  io: ['core', 'protocol'],
  master: ['core', 'cluster', 'protocol'],
  peer: ['core', 'cluster', 'protocol'],
  client: ['core', 'cluster', 'protocol'],
  cli: ['core', 'cluster', 'protocol', 'client'],
  main: ['core', 'cluster', 'protocol', 'io', 'master', 'peer', 'client', 'cli'],
};

/** Parts of Node that neither touch the world nor tell the time. */
const harmlessNodeModules = ['path', 'path/posix', 'util', 'stream', 'events', 'buffer', 'url', 'string_decoder'];

const onlyHomes: Readonly<Record<string, string>> = {
  msgpackr: '^src/protocol/codec\\.ts$',
  'xxhash-wasm': '^src/core/checksum\\.ts$',
  lmdb: '^src/io/lmdb-index\\.ts$',
  pino: '^src/io/log\\.ts$',
  'pino-pretty': '^src/io/log\\.ts$',
  'smol-toml': '^src/(main|io)/[^/]+\\.ts$',
  commander: '^src/(cli|main)/[^/]+\\.ts$',
  chalk: '^src/(cli|io)/[^/]+\\.ts$',
  ora: '^src/(cli|io)/[^/]+\\.ts$',
};

function layerRules(): IForbiddenRuleType[] {
  return Object.entries(layers).map(([layer, allowed]) => ({
    name: `${layer} imports ${allowed.join(', ') || 'nothing else'}`,
    severity: 'error',
    from: { path: `^src/${layer}/` },
    to: { path: '^src/', pathNot: `^src/(${[layer, ...allowed].join('|')})/` },
  }));
}

const otherRules: IForbiddenRuleType[] = [
  {
    name: 'only src/io touches the world',
    severity: 'error',
    from: { path: '^src/', pathNot: '^src/io/' },
    to: { dependencyTypes: ['core'], pathNot: `^(node:)?(${harmlessNodeModules.join('|')})$` },
  },
  {
    name: 'nothing is unresolvable',
    severity: 'error',
    from: { path: '^src/' },
    to: { couldNotResolve: true },
  },
  {
    name: 'no cycles',
    severity: 'error',
    from: { path: '^src/' },
    to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
  },
  {
    name: 'everything is used by a program or the library',
    severity: 'error',
    from: { path: '^src/(main/[^/]+|dfs)\\.ts$' },
    to: { path: '^src/', pathNot: '^src/(main/[^/]+|dfs)\\.ts$', reachable: false },
  },
];

const homeRules: IForbiddenRuleType[] = Object.entries(onlyHomes).map(([name, home]) => ({
  name: `${name} has one home`,
  severity: 'error',
  from: { path: '^src/', pathNot: home },
  to: { path: `^node_modules/${name}/` },
}));

export interface ImportReport {
  readonly moduleCount: number;
  readonly violations: readonly string[];
  /** For each third-party package, the files of src that import it. */
  readonly homes: ReadonlyMap<string, readonly string[]>;
}

/** Reads every module of `src` under `baseDir`. */
export async function reportImports(baseDir: string): Promise<ImportReport> {
  const { output } = await cruise(['src'], {
    baseDir,
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'node'] },
    moduleSystems: ['es6'],
    validate: true,
    ruleSet: { forbidden: [...layerRules(), ...otherRules, ...homeRules] },
  });
  if (typeof output === 'string') throw new Error('dependency-cruiser answered text');
  const homes = new Map<string, string[]>();
  const own = output.modules.filter((module) => module.source.startsWith('src/'));
  for (const module of own) {
    for (const { resolved } of module.dependencies) {
      const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(resolved)?.[1];
      if (name) homes.set(name, [...new Set([...(homes.get(name) ?? []), module.source])]);
    }
  }
  return {
    moduleCount: own.length,
    violations: output.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`),
    homes,
  };
}
