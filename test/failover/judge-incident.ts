/**
 * Compares what `dfs incident last` tells with what status-watch.ts saw meanwhile: prints a line for each difference
 * and exits 1, or prints the times.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { Look } from './look.js';

const { values: options } = parseArgs({
  options: {
    incident: { type: 'string', default: '' },
    events: { type: 'string', default: '' },
    watched: { type: 'string', default: '' },
    'killed-at': { type: 'string', default: '0' },
    victim: { type: 'string', default: '' },
  },
});

interface Told {
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly lastedSeconds: number;
  readonly noticedAfterSeconds: number | null;
  readonly promotedAfterSeconds: number | null;
  readonly peers: readonly string[];
  readonly copiedBytes: number;
  readonly steps: readonly { readonly afterSeconds: number }[];
}

// Where other work shares the machine, scripts/test.sh grants more.
const offByMsMax = 100 * Number(process.env.DFS_PAUSE_SLACK ?? 1);
/** Of the bytes copied: rows of the index beside the content. */
const bytesOffMax = 0.05;

const told = JSON.parse(readFileSync(options.incident, 'utf8')) as Told;
const looks = parseLines<Look>(options.watched);
const events = parseLines<{ seq: number; at: string; data: { copiedBytes?: number } }>(options.events);
const killedMs = Number(options['killed-at']);
const complaints = [...differences(), ...gaps()];
const after = (seconds: number | null): string => `${(seconds ?? Number.NaN).toFixed(2)} s`;
console.log(
  complaints.length > 0
    ? complaints.join('\n')
    : `noticed after ${after(told.noticedAfterSeconds)}, led by others after ${after(told.promotedAfterSeconds)}, ` +
        `repaired after ${after(told.lastedSeconds)}, ${Math.round(told.copiedBytes / 1e6)} MB`,
);
process.exitCode = complaints.length > 0 ? 1 : 0;

function parseLines<T>(path: string): readonly T[] {
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as T);
}

function firstLook(what: string, isIt: (look: Look) => boolean, sinceMs = killedMs): Look {
  const found = looks.find((look) => look.atMs >= sinceMs && isIt(look));
  if (found === undefined) throw new Error(`Nobody saw ${what}`);
  return found;
}

function victimIn(look: Look): Look['peers'][number] | undefined {
  return look.peers.find(({ id }) => id === options.victim);
}

function differences(): string[] {
  const noticed = firstLook('the death noticed', (look) => victimIn(look)?.state === 'down');
  const promoted = firstLook('others lead', (look) => victimIn(look)?.primarySlots === 0);
  const repaired = firstLook('all repaired', ({ health }) => health === 'healthy', promoted.atMs);
  const startedMs = Date.parse(told.startedAt);
  const compare = (what: string, seconds: number | null, truthMs: number): string[] => {
    const offByMs = seconds === null ? Number.POSITIVE_INFINITY : startedMs + seconds * 1000 - truthMs;
    return Math.abs(offByMs) <= offByMsMax ? [] : [`${what} is told ${Math.round(offByMs)} ms after it was seen`];
  };
  const isVictim = told.peers.length === 1 && told.peers[0] === options.victim;
  return [
    ...(isVictim ? [] : [`${told.peers.join(', ') || 'nobody'} is said to have failed, not ${options.victim}`]),
    ...compare('the failure itself', 0, killedMs),
    ...compare('the notice', told.noticedAfterSeconds, noticed.atMs),
    ...compare('the promotion', told.promotedAfterSeconds, promoted.atMs),
    ...compare('the repair', told.endedAt === null ? null : told.lastedSeconds, repaired.atMs),
    ...copied(),
  ];
}

/**
 * Nothing else was written meanwhile, and surplus copies are kept: what others store more by the end was copied, some
 * of it only after the incident was over, to bring copies to where they are wanted.
 */
function copied(): string[] {
  const stored = (look: Look | undefined): number =>
    (look?.peers ?? []).reduce((sum, { id, bytes }) => sum + (id === options.victim ? 0 : (bytes ?? 0)), 0);
  const before = looks.findLast(({ atMs }) => atMs < killedMs);
  const grown = stored(looks.at(-1)) - stored(before);
  const since = events.filter(({ at }) => Date.parse(at) >= killedMs);
  const inEvents = since.reduce((sum, { data }) => sum + (data.copiedBytes ?? 0), 0);
  const isTrue = grown > 0 && Math.abs(inEvents - grown) <= grown * bytesOffMax;
  const isPart = told.copiedBytes > 0 && told.copiedBytes <= inEvents;
  return [
    ...(isTrue ? [] : [`${inEvents} bytes are told, ${grown} were copied`]),
    ...(isPart ? [] : [`The incident tells ${told.copiedBytes} of ${inEvents} bytes`]),
  ];
}

/** Steps in order, events without gaps. */
function gaps(): string[] {
  const isInOrder = told.steps.every(({ afterSeconds }, at) => afterSeconds >= (told.steps[at - 1]?.afterSeconds ?? 0));
  const seqs = events.map(({ seq }) => seq);
  const missing = seqs.filter((seq, at) => at > 0 && seq !== (seqs[at - 1] as number) + 1);
  return [
    ...(isInOrder ? [] : ['The steps are not in order']),
    ...(missing.length === 0 ? [] : [`Events are missing before ${missing.join(', ')}`]),
  ];
}
