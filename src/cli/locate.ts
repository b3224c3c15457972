/**
 * `dfs locate`: which peers serve a name and how each copy of each segment is.
 *
 * An absent name answers where it would go.
 */
import type { CopyState, Location, PeerAddress } from '../client/results.js';
import { defineCommand } from './command.js';
import { shownName } from './escaping.js';
import type { Paint } from './paint.js';
import { alignColumns, formatBytes } from './units.js';

export const locate = defineCommand({
  operands: [{ name: '<name>', about: 'the file' }],
  options: {},
  examples: ['dfs locate photo.jpg', 'dfs locate photo.jpg --json'],
  async run(context, [name = '']) {
    const client = await context.connect();
    const location = await client.locate(name, { signal: context.interrupted });
    await context.output.answer(toLocationJson(location), (paint) => toText(location, paint));
    return 0;
  },
});

function toLocationJson(location: Location): object {
  const { bucket, name, hash, slot, slotEpoch, primary, backups, exists, version, segments } = location;
  return {
    ...{ bucket, name, hash, slot, slotEpoch, primary, backups, exists },
    ...(version === undefined ? {} : { version }),
    segments,
  };
}

function toText(location: Location, paint: Paint): string {
  const head = [
    ['slot', `${location.slot}  (epoch ${location.slotEpoch}, hash ${location.hash})`],
    ['primary', location.primary === null ? paint.bad('none') : toPeerText(location.primary)],
    ['backups', location.backups.map(toPeerText).join(', ') || 'none'],
  ];
  const lines = [paint.bold(shownName(location.name)), alignColumns(head)];
  if (!location.exists) return [...lines, 'No file has this name; one would be stored there.'].join('\n');
  const rows = location.segments.flatMap((segment) =>
    segment.copies.map((copy, position) => [
      position === 0 ? `segment ${segment.index}` : '',
      position === 0 ? formatBytes(segment.size) : '',
      position === 0 ? `slot ${segment.slot}` : '',
      copy.role,
      toPeerText(copy),
      judge(copy.state, paint),
    ]),
  );
  return [...lines, `version  ${location.version ?? '–'}`, alignColumns(rows, [1])].join('\n');
}

function toPeerText({ id, address }: PeerAddress): string {
  return `${id} ${address}`;
}

function judge(state: CopyState, paint: Paint): string {
  if (state === 'ok') return paint.good(state);
  return state === 'unknown' ? paint.warning(state) : paint.bad(state);
}
