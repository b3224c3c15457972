/**
 * `dfs what-if`: what would become unreadable, unwritable or lost if some peers stopped now.
 *
 * Exit code 0: nothing; 5: something could not be read or written; 7: something would be lost.
 */
import type { FileClient } from '../client/file-client.js';
import type { Harm, WhatIf } from '../client/results.js';
import { hashOfName } from '../cluster/hashing.js';
import { slotOfHash } from '../cluster/map.js';
import { refusals } from '../core/errors.js';
import { type Context, defineCommand, type Given, textOption, toggle, usage } from './command.js';
import { shownName } from './escaping.js';
import type { Paint } from './paint.js';
import { formatBytes, plural } from './units.js';

const options = {
  stop: textOption('id', 'the peer that stops; more of them after it'),
  names: toggle('list the files too, those in --bucket'),
} as const;

export const whatIf = defineCommand({
  operands: [{ name: '[id...]', about: 'further peers that stop' }],
  options,
  examples: ['dfs what-if --stop p2', 'dfs what-if --stop p2 p3 --names'],
  run: tellHarm,
});

async function tellHarm(context: Context, others: readonly string[], given: Given<typeof options>): Promise<number> {
  const stop = [...new Set([...(given.stop === undefined ? [] : [given.stop]), ...others])];
  if (stop.length === 0) usage('No peer is named', 'dfs what-if --stop p2');
  const client = await context.connect();
  const found = await client.operations.whatIf(stop, { signal: context.interrupted });
  const names = given.names ? await namesOf(context, client, found) : undefined;
  await context.output.answer({ ...found, ...(names === undefined ? {} : { names }) }, (paint) =>
    toText(found, names, paint),
  );
  if (found.lost.slots > 0) return refusals.integrity.exitCode;
  return found.unwritable.slots > 0 ? refusals.conflict.exitCode : 0;
}

interface Names {
  readonly unreadable: readonly string[];
  readonly unwritable: readonly string[];
  readonly lost: readonly string[];
}

/** By where all pieces of each file are: large ones reach into many slots. */
async function namesOf(context: Context, client: FileClient, found: WhatIf): Promise<Names> {
  const kinds = ['unreadable', 'unwritable', 'lost'] as const;
  const slots = new Map(kinds.map((kind) => [kind, new Set(found[kind].slotNumbers)]));
  const names = { unreadable: [] as string[], unwritable: [] as string[], lost: [] as string[] };
  if (found.unwritable.slots === 0) return names;
  const { slots: all } = await client.status({ signal: context.interrupted });
  for await (const { name, segments } of client.list({ signal: context.interrupted })) {
    const touched =
      segments > 1 ? await slotsOfPieces(context, client, name) : [slotOfHash(hashOfName(name), all.total)];
    for (const kind of kinds) if (touched.some((slot) => slots.get(kind)?.has(slot))) names[kind].push(name);
  }
  return names;
}

async function slotsOfPieces(context: Context, client: FileClient, name: string): Promise<readonly number[]> {
  const { slot, segments } = await client.locate(name, { signal: context.interrupted });
  return [slot, ...segments.map((segment) => segment.slot)];
}

function toText(found: WhatIf, names: Names | undefined, paint: Paint): string {
  const who = `If ${found.stop.join(' and ')} stopped now`;
  if (found.unwritable.slots === 0) return `${who}, everything could still be read and written.`;
  const line = (what: string, harm: Harm, mark: (text: string) => string, list: readonly string[] = []): string[] => {
    if (harm.slots === 0) return [];
    const amount = `${plural(harm.files, 'file')} and ${formatBytes(harm.bytes)} in ${plural(harm.slots, 'slot')}`;
    const text = `${what}: ${amount}`;
    return [mark(text), ...list.map((name) => `  ${shownName(name)}`)];
  };
  return [
    `${who}:`,
    ...line('lost, if they never return', found.lost, paint.bad, names?.lost),
    ...line('unreadable until they return', found.unreadable, paint.bad, names?.unreadable),
    ...line('not writable', found.unwritable, paint.warning, names?.unwritable),
  ].join('\n');
}
