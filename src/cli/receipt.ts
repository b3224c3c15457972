/** How the receipt of a stored file is shown: where it is kept, and how many copies were durable by then. */
import type { Copies, Receipt } from '../client/results.js';
import { shownName } from './escaping.js';
import type { Paint } from './paint.js';
import { formatBytes } from './units.js';

export function toReceiptJson(receipt: Receipt): object {
  const { bucket, name, size, segments, checksum, version, slot, slotEpoch } = receipt;
  const { primary, backups, copies, degraded, attempts, durationMs } = receipt;
  return {
    ...{ bucket, name, size, segments, checksum, version, slot, slotEpoch },
    ...{ primary, backups, copies, degraded, attempts, durationMs },
  };
}

/** While a slot moves there may be more than are wanted. */
export function toCopiesText({ durable, wanted }: Copies): string {
  return durable > wanted ? `${durable} copies (${wanted} wanted)` : `${durable} of ${wanted} copies`;
}

export function toReceiptText(receipt: Receipt, paint: Paint): string {
  const { copies, primary, backups } = receipt;
  const durable = `${toCopiesText(copies)} durable${receipt.degraded ? ', degraded' : ''}`;
  const on = [primary, ...backups].map((peer) => `${peer.id} ${peer.address}`).join(' + ');
  return [
    paint.bold(shownName(receipt.name)),
    formatBytes(receipt.size),
    receipt.checksum,
    `version ${receipt.version}`,
    `on ${on}`,
    receipt.degraded ? paint.warning(durable) : paint.good(durable),
  ].join('  ');
}
