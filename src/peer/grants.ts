/**
 * The leases this peer has granted as a replica: to whom it answers beacons, and until when it must wait.
 *
 * A grant for a slot lets its primary answer reads for a while; it is refused as soon as a higher slotEpoch is heard
 * of. A new primary waits until every grant it gave for the slot has run out on the old one's clock (rule F12). Grants
 * are forgotten on a restart, so a restarted peer counts its start as one. Serves S3.
 */
import { readF64, readU32, u64Bytes, writeF64, writeU32 } from '../core/big-endian.js';
import { sameBytes, xxh64 } from '../core/checksum.js';
import type { Clock } from '../core/environment.js';
import type { Epoch, SlotNumber } from '../core/ids.js';
import { timing } from '../core/timing.js';

export interface BeaconSlot {
  readonly slot: SlotNumber;
  readonly slotEpoch: Epoch;
  readonly term: Epoch;
}

const rowBytes = 20;

/** Rows of slot u32, slotEpoch f64, term f64, big endian. */
export function encodeBeaconList(slots: readonly BeaconSlot[]): Uint8Array {
  const bytes = new Uint8Array(slots.length * rowBytes);
  slots.forEach((row, index) => {
    writeU32(bytes, index * rowBytes, row.slot);
    writeF64(bytes, index * rowBytes + 4, row.slotEpoch);
    writeF64(bytes, index * rowBytes + 12, row.term);
  });
  return bytes;
}

export function decodeBeaconList(bytes: Uint8Array): readonly BeaconSlot[] {
  return Array.from({ length: Math.floor(bytes.length / rowBytes) }, (_, index) => ({
    slot: readU32(bytes, index * rowBytes),
    slotEpoch: readF64(bytes, index * rowBytes + 4),
    term: readF64(bytes, index * rowBytes + 12),
  }));
}

export function hashOfBeaconList(encoded: Uint8Array): Uint8Array {
  return u64Bytes(xxh64(encoded));
}

/** What one primary's link last listed. */
export interface BeaconMemory {
  hash: Uint8Array | undefined;
  slots: readonly BeaconSlot[];
}

export class Grants {
  readonly #clock: Clock;
  readonly #startedAtMs: number;
  readonly #promised = new Map<SlotNumber, Epoch>();
  readonly #lastGrant = new Map<SlotNumber, { readonly atMs: number; readonly term: Epoch }>();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAtMs = clock.monotonicMs();
  }

  /** From now on nothing is granted below this slotEpoch: at once, before it is durable. */
  refuseBelow(slot: SlotNumber, slotEpoch: Epoch): void {
    if (slotEpoch > this.promisedFor(slot)) this.#promised.set(slot, slotEpoch);
  }

  promisedFor(slot: SlotNumber): Epoch {
    return this.#promised.get(slot) ?? 0;
  }

  /** Answers a beacon that stands for `memory.slots`; undefined when the list is not known. */
  onBeacon(memory: BeaconMemory, hash: Uint8Array): readonly SlotNumber[] | undefined {
    if (memory.hash === undefined || !sameBytes(memory.hash, hash)) return undefined;
    return this.grant(memory.slots);
  }

  /** Grants what it may; returns the slots it refuses. */
  grant(slots: readonly BeaconSlot[]): readonly SlotNumber[] {
    const atMs = this.#clock.monotonicMs();
    const refused: SlotNumber[] = [];
    for (const row of slots) {
      if (this.promisedFor(row.slot) > row.slotEpoch) refused.push(row.slot);
      else this.#lastGrant.set(row.slot, { atMs, term: row.term });
    }
    return refused;
  }

  /**
   * How long a new primary of the slot has to wait, in milliseconds, until no lease of an older term can be valid.
   * A handover of the very term last granted to needs no wait: its primary gave its leases up (rule F20).
   */
  waitMsFor(slot: SlotNumber, handoverOf: Epoch | undefined): number {
    const last = this.#lastGrant.get(slot);
    if (last !== undefined && last.term === handoverOf) return 0;
    const sinceMs = Math.max(last?.atMs ?? 0, this.#startedAtMs);
    return Math.max(0, sinceMs + timing.leaseWaitMs - this.#clock.monotonicMs());
  }
}
