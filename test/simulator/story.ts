/**
 * Tells a failing run so that somebody who never saw it understands what was set up, what happened and what is wrong.
 *
 * Pure over the plan, the lines of the trace and the complaints. Of the trace only what may matter is told: the life of
 * processes, faults, changes of the map, and what clients did to the name that is complained about.
 */
import { hashOfName } from '../../src/cluster/hashing.js';
import { slotOfHash } from '../../src/cluster/map.js';
import type { Plan } from './plan/plan.js';
import { sizeOf } from './shorten.js';

const complaintsTold = 3;
const linesTold = 120;

/** What a complaint means, by how it begins: the promise that is broken, in a sentence. */
const meanings: readonly (readonly [begin: RegExp, meaning: string])[] = [
  [/may answer in term|answers a read in term/, 'S3: two peers may answer reads of one slot that claim to be current.'],
  [/in term \d+, (which|in which)/, 'F9: a peer answers for a slot that no map lets it lead.'],
  [/serves (term .* )?unlevelled/, 'F2, F28: a primary serves though a member of its set differs from it.'],
  [/holds .* of which .* (acknowledged|read)/, 'S1: an in-sync copy lacks what somebody was told or has read.'],
  [/which never was the slot's/, 'S1: a write is acknowledged that is not on every in-sync copy.'],
  [/counts .* not of the in-sync set|a receipt for|copies of \d+$/, 'F23, F16: a receipt claims what is not so.'],
  [/having promised only|promise of .* falls|; \d+ is durable there/, 'F4: a replica acts below what it has promised.'],
  [/is durable there|is not durable|is durable$/, 'S1: a peer answers for what its disk does not hold for good.'],
  [/reads .* after /, 'S2: a current read shows less than was acknowledged or read before.'],
  [/whose effect was|told yes for two/, 'S6, F5: one request id took effect twice.'],
  [/sweeps|was swept|was never stored|removes the file/, 'F13, F19: something is removed that is still needed.'],
  [/twice, as/, 'S6: one request took effect twice.'],
  [
    /The master (plans|makes)|map .* falls|takes map|incarnation of/,
    'S10, F17: a map that must never be made or taken.',
  ],
  [/Not linearizable/, 'S2: no order of the operations explains what the clients were told.'],
  [/has versions/, 'S6: one request took effect twice.'],
  [/names .* and /, 'F27: one version names two contents.'],
  [/Went back/, 'S2: somebody was told an older version after a newer one.'],
  [/Slot epoch .* with /, 'F23: receipts under one slot epoch speak of different sets of copies.'],
  [/Bad bytes/, 'S5: a reader was given bytes that no client wrote.'],
  [/is not whole/, 'S7: after all faults ended the wanted copies did not come back in time.'],
  [/did not end within|was never answered|Not settled/, 'S8: a client waits for ever although everything is healed.'],
  [/ended by itself|Nobody handled/, 'A process ended of a bug.'],
  [/on p\d+: the digest/, 'F22: a digest does not say what the entries are.'],
  [/Slot \d+, p\d+ and p\d+/, 'S1, S7: in-sync copies of a slot differ although nothing is under way.'],
  [/Slot \d+ on p\d+/, 'S1: an in-sync copy lacks bytes that its entry names.'],
  [/segments belong to no file|replaced files are still/, 'F13: what nobody needs any more is never swept.'],
  [/no copy is left/, 'S7: the last copy of a slot is gone, or the cluster says of other slots than those that it is.'],
  [/cannot be read in the end/, 'S1, S7: a file is not to be read though everything is whole again.'],
  [/bytes wait on one connection/, 'A queue grows beyond what its credit allows.'],
  [/real world|Not the same again/, 'The run is not shut off from the real world, so it cannot be repeated.'],
];

/** Half a page or more of text, with line ends. `trace` has one line for each happening, its time first. */
export function story(plan: Plan, trace: readonly string[], complaints: readonly string[]): string {
  const [first = 'nothing'] = complaints;
  const cast = castOf(plan, trace, complaints);
  const told = trace.map((line) => tellOf(line, cast)).filter((line) => line !== undefined);
  const { names } = cast;
  return [
    `What is wrong: ${withNames(first.split('\n')[0] ?? '', cast)}`,
    `What that means: ${complaints.map(meaningOf).find((text) => text !== undefined) ?? 'see docs/safety.md.'}`,
    '',
    'What was set up',
    ...setUp(plan, cast).map(indented),
    '',
    `What happened (virtual seconds${names.length > 0 ? `; of the files only ${names.join(', ')}` : ''})`,
    ...shortened(told).map(indented),
    '',
    complaints.length > 1 ? `What was found, ${complaints.length} complaints in all` : 'What was found',
    ...complaints
      .slice(0, complaintsTold)
      .flatMap((complaint) => withNames(complaint, cast).split('\n').slice(0, 6))
      .map(indented),
    '',
  ].join('\n');
}

/** Who is who, and what the complaints are about. */
interface Cast {
  /** By the address of the host: "p2", "the master". */
  readonly hosts: ReadonlyMap<string, string>;
  /** Names of files; none when the complaints are about something else. */
  readonly names: readonly string[];
  /** When the first complaint was made; nothing later can have led to it. */
  readonly endMs: number;
  /** Lines of the trace: changes that clients had begun by then and heard nothing of. */
  readonly unanswered: ReadonlySet<string>;
}

function castOf({ setting }: Plan, trace: readonly string[], complaints: readonly string[]): Cast {
  const [first = ''] = complaints;
  const hosts = new Map([['10.0.0.100', 'the master']]);
  for (const line of trace) {
    const joined = / (p\d+) joined from (10\.0\.0\.\d+):/.exec(line);
    if (joined !== null) hosts.set(joined[2] ?? '', joined[1] ?? '');
    if (hosts.size > setting.peers + setting.spares) break;
  }
  const atMs = /^At ([\d.]+) ms: /.exec(first)?.[1];
  const endMs = atMs === undefined ? Number.POSITIVE_INFINITY : Number(atMs);
  const names = [...new Set(first.match(/(name|metadata)-\d+/g) ?? [])];
  return { hosts, names, endMs, unanswered: unansweredIn(trace, endMs) };
}

/** A client does one thing at a time: whatever it says next ends what it has begun. */
function unansweredIn(trace: readonly string[], endMs: number): ReadonlySet<string> {
  const begun = new Map<string, string>();
  for (const line of trace) {
    const [, atMs, worker = '', change] = /^ *([\d.]+) {5}(\S+)(?: begins (\S+))?/.exec(line) ?? [];
    if (atMs === undefined || Number(atMs) > endMs) continue;
    if (change !== undefined && /put|delete|upload|set-/.test(change)) begun.set(worker, line);
    else begun.delete(worker);
  }
  return new Set(begun.values());
}

function indented(line: string): string {
  return `  ${line}`;
}

export function meaningOf(complaint: string): string | undefined {
  return meanings.find(([begin]) => begin.test(complaint))?.[1];
}

function setUp(plan: Plan, { hosts, names }: Cast): string[] {
  const { peers, spares, replicas, minInSync, slots, reads } = plan.setting;
  const active = plan.clients.filter(({ steps }) => steps.length > 0);
  const later = spares > 0 ? `, ${spares} more may join` : '';
  const places = [...hosts].filter(([, who]) => who !== 'the master').map(([host, who]) => `${who} on ${host}`);
  return [
    `Seed ${plan.seed}: ${peers} peers${later}; ${replicas} copies wanted, at least ${minInSync} for a write.`,
    `${places.join(', ')}; "p1#2" is the second start of p1's process.`,
    `Reads are answered ${reads === 'lease' ? 'by lease' : 'after a round trip'}. ` +
      `Clients: ${active.map(({ worker }) => worker).join(', ') || 'none'}; faults: ${plan.faults.length}; ` +
      `events in all, with the steps of clients: ${sizeOf(plan)}.`,
    `Slots: ${slots}${names.map((name) => `; ${name} is in slot ${slotOfHash(hashOfName(name), slots)}`).join('')}.`,
  ];
}

/** The line for people; undefined when it does not matter. */
function tellOf(line: string, cast: Cast): string | undefined {
  const match = /^\s*([\d.]+) (.*)$/s.exec(line);
  if (match === null) return undefined;
  const [, atMs = '', text = ''] = match;
  const said = Number(atMs) > cast.endMs ? undefined : sentenceOf(text, cast, cast.unanswered.has(line));
  if (said === undefined) return undefined;
  return `${(Number(atMs) / 1000).toFixed(3).padStart(8)}  ${withNames(said, cast)}`;
}

/** Hosts by whom they run. */
function withNames(text: string, { hosts }: Cast): string {
  return text.replace(/\b10\.0\.0\.\d+/g, (host) => hosts.get(host) ?? host).replaceAll('files\\u0000', '');
}

function sentenceOf(text: string, { names }: Cast, isUnanswered: boolean): string | undefined {
  if (text.startsWith('--- ')) return `[fault] ${text.slice(4).trim()}`;
  if (text.startsWith('    ')) return operationOf(text.trim(), names, isUnanswered);
  if (text.startsWith('10.0.1.')) return undefined;
  const logged = /^(\S+) (debug|info|warn|error) (.*?) (\{.*\})$/s.exec(text);
  if (logged === null) return text;
  const [, who = '', level = '', message = '', fields = ''] = logged;
  if (level === 'debug' || quiet.some((pattern) => pattern.test(message))) return undefined;
  if (fields.includes('"kind":')) return `${who}: ${message}`;
  return level === 'info' && !loud.test(message) ? undefined : `${who}: ${message} ${briefly(fields)}`.trim();
}

const quiet = [/^Connection closed/, /^The cluster is/, /^housekeeping/, /^p\d+ joined/, /^Start \d+ of the master/];
const loud = /levelled|in step|handed over|dropped a surplus|stray/;

/** The few fields that say where. */
function briefly(fields: string): string {
  const { slot, peer, error, why } = JSON.parse(fields) as Record<string, unknown>;
  const parts = [slot === undefined ? '' : `slot ${slot}`, `${peer ?? ''}`, `${why ?? error ?? ''}`.slice(0, 100)];
  const said = parts.filter((part) => part !== '').join(', ');
  return said === '' ? '' : `(${said})`;
}

/** "c0 put c0:3 of name-1 → done as version 5.2"; what has begun only when it stays unanswered. */
function operationOf(text: string, names: readonly string[], isUnanswered: boolean): string | undefined {
  const begun = /^\S+ begins \S+ of (\S+)$/.exec(text);
  if (begun !== null) {
    const isTold = isUnanswered && (names.length === 0 || names.includes(begun[1] ?? ''));
    return isTold ? `${text}, and hears nothing by the end` : undefined;
  }
  const match = /^(\S+) (\S+) (\{.*?\}) → (\{.*\})$/s.exec(text);
  if (match === null) return text;
  const [, worker = '', name = '', action = '', outcome = ''] = match;
  if (names.length > 0 && !names.includes(name)) return undefined;
  const { kind, value, ifVersion, ifAbsent } = JSON.parse(action) as Record<string, string>;
  const { state, version, value: seen, code } = JSON.parse(outcome) as Record<string, string>;
  const condition = ifVersion === undefined ? (ifAbsent ? ' if absent' : '') : ` if ${ifVersion}`;
  const what = `${kind}${value === undefined ? '' : ` ${value}`}${condition}`;
  const told = [state, code, seen, version === undefined ? undefined : `as version ${version}`];
  return `${worker} ${what} of ${name} → ${told.filter((part) => part !== undefined).join(' ')}`;
}

/** The same line again and again is told once; of a long story the beginning and the end. */
function shortened(lines: readonly string[]): string[] {
  const folded: { text: string; line: string; count: number }[] = [];
  for (const line of lines) {
    const text = line.slice(10);
    const last = folded.at(-1);
    if (last?.text === text) last.count++;
    else folded.push({ text, line, count: 1 });
  }
  const all = folded.map(({ line, count }) => (count > 1 ? `${line} (${count} times)` : line));
  if (all.length <= linesTold) return all;
  const head = Math.floor(linesTold / 4);
  const left = all.length - linesTold;
  return [...all.slice(0, head), `… ${left} lines left out: run it with --trace to see all`, ...all.slice(head + left)];
}
