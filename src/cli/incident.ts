/** `dfs incident`: the last failure, or all that are remembered, told from their first sign to their end. */
import { type Incident, incidentsOf } from '../client/incidents.js';
import type { ClusterEvent } from '../client/results.js';
import { type Context, defineCommand, usage } from './command.js';
import { printable } from './escaping.js';
import type { Paint } from './paint.js';
import { alignColumns, formatBytes, formatDuration } from './units.js';

export const incident = defineCommand({
  operands: [{ name: '<which>', about: 'last, or ls for all of them' }],
  options: {},
  examples: ['dfs incident last', 'dfs incident ls'],
  run: tellIncidents,
});

const pageRows = 1000;

async function tellIncidents(context: Context, [which = '']: readonly string[]): Promise<number> {
  if (which !== 'last' && which !== 'ls') usage(`"${which}" is neither last nor ls`);
  const incidents = incidentsOf(await allEvents(context));
  const last = incidents.at(-1);
  if (last === undefined) {
    await context.output.answer(which === 'last' ? null : [], () => 'Nothing has gone wrong since the log begins.');
  } else if (which === 'last') await context.output.answer(last, (paint) => toText(last, paint));
  else for (const each of incidents) await context.output.answer(each, (paint) => toLine(each, paint));
  return 0;
}

async function allEvents(context: Context): Promise<readonly ClusterEvent[]> {
  const client = await context.connect();
  const events: ClusterEvent[] = [];
  for (;;) {
    const page = await client.events({ after: events.at(-1)?.seq ?? 0, limit: pageRows, signal: context.interrupted });
    events.push(...page);
    if (page.length < pageRows) return events;
  }
}

function toLine(found: Incident, paint: Paint): string {
  const who = found.peers.length === 0 ? '' : `, ${found.peers.join(', ')} failed`;
  return `${String(found.id).padStart(6)}  ${found.startedAt}  ${judge(found, paint)}${who}, ${ending(found)}`;
}

function toText(found: Incident, paint: Paint): string {
  const steps = found.steps.map(({ afterSeconds, text }) => [`+${afterSeconds.toFixed(1)} s`, printable(text)]);
  const { noticedAfterSeconds: noticed, promotedAfterSeconds: promoted, copiedBytes } = found;
  const facts = [
    ending(found),
    ...(noticed === null ? [] : [`noticed after ${noticed.toFixed(1)} s`]),
    ...(promoted === null ? [] : [`led by others after ${promoted.toFixed(1)} s`]),
    ...(copiedBytes === 0 ? [] : [`${formatBytes(copiedBytes)} copied`]),
  ];
  return [paint.bold(`Incident ${found.id}, ${found.startedAt}: ${facts.join(', ')}`), alignColumns(steps, [0])].join(
    '\n',
  );
}

function judge({ health }: Incident, paint: Paint): string {
  if (health === 'unavailable') return paint.bad(health);
  return health === 'degraded' ? paint.warning(health) : 'no copy was missing';
}

function ending({ endedAt, lastedSeconds }: Incident): string {
  if (endedAt === null) return 'not over yet';
  return `over after ${lastedSeconds < 60 ? `${lastedSeconds.toFixed(1)} s` : formatDuration(lastedSeconds)}`;
}
