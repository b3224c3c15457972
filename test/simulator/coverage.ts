/**
 * Which modules of the product a run has loaded, and how many of their lines it has executed.
 *
 * Counted by V8 itself over the compiled modules (Inspector protocol, Profiler.takePreciseCoverage). A line is one with
 * code on it; one is covered when all of its code was run at least once.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The engine, whose very code runs in the simulator; src/core is what it stands on, src/io what is simulated. */
export const productFolders = ['client', 'cluster', 'master', 'peer', 'protocol'] as const;

export interface ModuleCoverage {
  /** Such as "peer/commit.js". */
  readonly module: string;
  readonly isLoaded: boolean;
  readonly lines: number;
  readonly covered: number;
  /** Numbers of the lines that were not run, from 1. */
  readonly missed: readonly number[];
}

interface CountedRange {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

const modulesTold = 12;
/** What modules say to each other is no code that could be left out. */
const isLinkage = /^(import |export (\{|\*)|\} from )/;

const sourceFolder = fileURLToPath(new URL('../../src/', import.meta.url));

export class Coverage {
  readonly #session = new Session();

  /** Counts from here on; what a module did while it was loaded only when it is loaded later. */
  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post('Profiler.enable');
    await this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  async take(): Promise<readonly ModuleCoverage[]> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage');
    const ranges = new Map<string, readonly CountedRange[]>();
    for (const script of result) {
      if (!script.url.startsWith('file:')) continue;
      const module = relative(sourceFolder, fileURLToPath(script.url));
      ranges.set(
        module,
        script.functions.flatMap((each) => each.ranges),
      );
    }
    return modules().map((module) => coverageOf(module, ranges.get(module)));
  }
}

/** One line for people, and one for each module that was not loaded. */
export function describeCoverage(coverage: readonly ModuleCoverage[]): string {
  const loaded = coverage.filter(({ isLoaded }) => isLoaded);
  const sum = (of: (each: ModuleCoverage) => number): number => loaded.reduce((total, each) => total + of(each), 0);
  const share = ((100 * sum(({ covered }) => covered)) / sum(({ lines }) => lines)).toFixed(1);
  const folders = productFolders.map((folder) => {
    const own = coverage.filter(({ module }) => module.startsWith(`${folder}/`));
    return `${folder} ${own.filter(({ isLoaded }) => isLoaded).length} of ${own.length}`;
  });
  const absent = coverage.filter(({ isLoaded }) => !isLoaded).map(({ module }) => `  not loaded: ${module}`);
  const least = loaded.filter(({ missed }) => missed.length > 0).sort((a, b) => b.missed.length - a.missed.length);
  const missing = least
    .slice(0, modulesTold)
    .map(({ module, lines, missed }) => `  ${module}: ${missed.length} of ${lines} lines not run, ${spans(missed)}`);
  return [
    `Product modules loaded: ${folders.join(', ')}; ${share} % of their lines were run`,
    ...absent,
    ...missing,
  ].join('\n');
}

/** "3–5, 9" */
function spans(numbers: readonly number[]): string {
  const texts: string[] = [];
  let from = numbers[0];
  numbers.forEach((number, at) => {
    if (numbers[at + 1] === number + 1) return;
    texts.push(from === number ? `${number}` : `${from}–${number}`);
    from = numbers[at + 1];
  });
  return texts.join(', ');
}

function modules(): readonly string[] {
  return productFolders.flatMap((folder) =>
    readdirSync(`${sourceFolder}${folder}`)
      .filter((file) => file.endsWith('.js'))
      .map((file) => `${folder}/${file}`),
  );
}

function coverageOf(module: string, ranges: readonly CountedRange[] | undefined): ModuleCoverage {
  const text = readFileSync(`${sourceFolder}${module}`, 'utf8');
  const hasRun = ranges === undefined ? undefined : runsOf(text.length, ranges);
  const missed: number[] = [];
  let lines = 0;
  let offset = 0;
  let isInComment = false;
  for (const [at, line] of text.split('\n').entries()) {
    const code = line.trim();
    if (code.startsWith('/*')) isInComment = true;
    const isCode = !isInComment && /\w/.test(code) && !code.startsWith('//') && !isLinkage.test(code);
    if (code.endsWith('*/')) isInComment = false;
    if (isCode) {
      lines++;
      const from = offset + line.indexOf(code);
      if (hasRun?.subarray(from, from + code.length).includes(0)) missed.push(at + 1);
    }
    offset += line.length + 1;
  }
  // A module of types alone leaves nothing to run.
  const isLoaded = hasRun !== undefined || lines === 0;
  return { module, isLoaded, lines, covered: isLoaded ? lines - missed.length : 0, missed };
}

/** For each character whether it was run: inner ranges come after the outer ones they correct. */
function runsOf(length: number, ranges: readonly CountedRange[]): Uint8Array {
  const runs = new Uint8Array(length).fill(1);
  const outerFirst = [...ranges].sort((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset);
  for (const { startOffset, endOffset, count } of outerFirst) runs.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  return runs;
}
