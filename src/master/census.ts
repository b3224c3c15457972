/**
 * How much each slot holds, as the peers say it when they are asked: for estimates of what would move, or be lost.
 */
import type { ClusterMap } from '../cluster/map.js';
import type { SlotAmounts } from '../cluster/what-if.js';
import type { PeerId, SlotNumber } from '../core/ids.js';
import type { AmountRow } from '../protocol/rows.js';

const nothing: SlotAmounts = { files: 0, bytes: 0 };

export class Census {
  /** Of those whose holders are all silent now, what they said last. */
  readonly #known = new Map<SlotNumber, SlotAmounts>();

  /** Takes what the peers said. Of several holders of a slot its primary's word counts, else the largest. */
  take(map: ClusterMap, answers: ReadonlyMap<PeerId, readonly AmountRow[]>): void {
    const rowsOf = new Map([...answers].map(([peer, rows]) => [peer, new Map(rows.map((row) => [row.slot, row]))]));
    for (const [slot, { primary, inSync }] of map.slots.entries()) {
      const said = (peer: PeerId): SlotAmounts[] => {
        const rows = rowsOf.get(peer);
        return rows === undefined ? [] : [rows.get(slot) ?? nothing];
      };
      const [largest] = inSync.flatMap(said).sort((a, b) => b.bytes - a.bytes);
      const [ofPrimary] = primary === undefined ? [] : said(primary);
      const told = ofPrimary ?? largest;
      if (told !== undefined) this.#known.set(slot, { files: told.files, bytes: told.bytes });
    }
  }

  amountsOf(slot: SlotNumber): SlotAmounts {
    return this.#known.get(slot) ?? nothing;
  }
}
