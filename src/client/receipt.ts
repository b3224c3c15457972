/**
 * From the primaries' answers to the receipt a user gets: who holds the file, and on how many disks the part of it with
 * the fewest copies was durable (rule F23).
 */
import { formatChecksum } from '../core/checksum.js';
import { formatVersion, type PeerId } from '../core/ids.js';
import type { ReplyOf } from '../protocol/messages.js';
import type { ChangeReceipt, Copies, PeerAddress, Receipt } from './results.js';

export type Acknowledged = ReplyOf<'put'>;

export interface ReceiptParts {
  readonly bucket: string;
  readonly name: string;
  readonly slot: number;
  readonly acknowledged: Acknowledged;
  /** What the primaries of the other segments answered. */
  readonly others: readonly Copies[];
  readonly attempts: number;
  readonly durationMs: number;
  addressOf(id: PeerId): PeerAddress;
}

export function toChangeReceipt(parts: ReceiptParts): ChangeReceipt {
  const { acknowledged } = parts;
  const durable = parts.others.reduce((least, copies) => Math.min(least, copies.durable), acknowledged.copies.durable);
  const wanted = parts.others.reduce((most, copies) => Math.max(most, copies.wanted), acknowledged.copies.wanted);
  return {
    bucket: parts.bucket,
    name: parts.name,
    version: formatVersion(acknowledged.version),
    slot: parts.slot,
    slotEpoch: acknowledged.slotEpoch,
    primary: parts.addressOf(acknowledged.primary),
    backups: acknowledged.backups.map((id) => parts.addressOf(id)),
    copies: { durable, wanted },
    degraded: durable < wanted,
    attempts: parts.attempts,
    durationMs: Math.round(parts.durationMs * 10) / 10,
  };
}

export function toReceipt(parts: ReceiptParts, content: { size: number; segments: number; checksum: bigint }): Receipt {
  const { bucket, name, ...change } = toChangeReceipt(parts);
  const { size, segments, checksum } = content;
  return { bucket, name, size, segments, checksum: formatChecksum(checksum), ...change };
}
