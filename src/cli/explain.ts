/** `dfs explain`: why a file is where it is, how each copy is and when it was verified, what is still to be done. */
import type { Explanation, PeerStatus } from '../client/results.js';
import { defineCommand } from './command.js';
import { printable, shownName } from './escaping.js';
import type { Paint } from './paint.js';
import { alignColumns } from './units.js';

export const explain = defineCommand({
  operands: [{ name: '<name>', about: 'the file; one that does not exist is told where it would go' }],
  options: {},
  examples: ['dfs explain photo.jpg'],
  async run(context, [name = '']) {
    const client = await context.connect();
    const explained = await client.explain(name, { signal: context.interrupted });
    const { peers } = await client.status({ signal: context.interrupted });
    await context.output.answer(toJson(explained, peers), (paint) => toText(explained, peers, paint));
    return 0;
  },
});

function toJson({ location, ...explained }: Explanation, peers: readonly PeerStatus[]): object {
  const segments = location.segments.map((segment) => ({
    ...segment,
    copies: segment.copies.map((copy) => ({ ...copy, verifiedSince: verifiedSince(copy.id, peers) })),
  }));
  return { ...location, segments, ...explained };
}

function toText({ location, reasons }: Explanation, peers: readonly PeerStatus[], paint: Paint): string {
  const { name, hash, slot, slotEpoch, exists, segments } = location;
  const lines = [
    paint.bold(shownName(name)),
    `Its name hashes to ${hash}: slot ${slot}, changed last at epoch ${slotEpoch}.`,
    ...reasons.map((reason) => `${printable(reason)}.`),
  ];
  if (!exists) return [...lines, 'No file has this name now.'].join('\n');
  const rows = segments.flatMap(({ index, slot: where, copies }) =>
    copies.map(({ id, role, state }) => {
      const since = verifiedSince(id, peers);
      const verified = since === null ? 'not everything there was read yet' : `all there was read since ${since}`;
      return [
        `segment ${index}`,
        `slot ${where}`,
        id,
        role,
        state === 'ok' ? paint.good(state) : paint.bad(state),
        verified,
      ];
    }),
  );
  return [...lines, alignColumns(rows)].join('\n');
}

function verifiedSince(id: string, peers: readonly PeerStatus[]): string | null {
  return peers.find((peer) => peer.id === id)?.verifiedSince ?? null;
}
