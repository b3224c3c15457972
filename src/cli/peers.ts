/** `dfs peers`: the peers of the cluster, what each serves and how full it is. */
import { toPeerJson, toPeersText } from './cluster-text.js';
import { defineCommand } from './command.js';

export const peers = defineCommand({
  operands: [],
  options: {},
  examples: ['dfs peers', 'dfs peers --json'],
  async run(context) {
    const client = await context.connect();
    const found = await client.status({ signal: context.interrupted });
    if (!context.output.json) {
      await context.output.answer(found.peers, (paint) => toPeersText(found.peers, paint));
      return 0;
    }
    for (const peer of found.peers) await context.output.answer(toPeerJson(peer), () => '');
    return 0;
  },
});
