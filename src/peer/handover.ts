/**
 * Gives slots to another in-sync member without failing a request: at the master's wish, or when this peer stops.
 *
 * Sealed, a slot answers nothing and renews no lease until the map has decided; a record of the same term unseals it
 * (rule F20). Requests that come meanwhile are held and then sent on to the new primary by their clients.
 */
import { type Clock, type Log, sleep } from '../core/environment.js';
import type { PeerId } from '../core/ids.js';
import type { Incoming, Outgoing } from '../protocol/session.js';
import type { Leadership } from './leadership.js';
import type { LedSlot } from './led-slot.js';
import type { MasterLink } from './master-link.js';

export interface HandoverParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly leadership: Leadership;
  readonly master: MasterLink;
}

interface Wish {
  readonly led: LedSlot;
  readonly to: PeerId;
}

export async function onWishes(parts: HandoverParts, request: Incoming<'wish-handover'>): Promise<Outgoing> {
  const wishes: Wish[] = [];
  for (const { slot, slotEpoch, to } of request.header.wishes) {
    const led = parts.leadership.led(slot);
    // A wish about an older record is void: the planner sees the newer one and wishes again.
    if (led?.phase === 'serving' && led.record.slotEpoch === slotEpoch && led.record.inSync.includes(to)) {
      wishes.push({ led, to });
    }
  }
  await handOver(parts, wishes);
  return {};
}

const slotsAtOnce = 200;
const drainWithinMs = 150;

/** Everything that somebody else could serve. */
export async function handOverAll(parts: HandoverParts, me: PeerId): Promise<void> {
  const wishes: Wish[] = [];
  for (const led of parts.leadership.all()) {
    const to = led.record.inSync.find((peer) => peer !== me && parts.leadership.isReached(peer));
    if (led.phase === 'serving' && to !== undefined) wishes.push({ led, to });
  }
  // A part at a time: a slot waits for the master's answer to its own part only.
  for (let at = 0; at < wishes.length; at += slotsAtOnce) await handOver(parts, wishes.slice(at, at + slotsAtOnce));
}

async function handOver(parts: HandoverParts, asked: readonly Wish[]): Promise<void> {
  // Whoever sealed a slot unseals it: a second wish for it would be under way while it serves again (F20).
  const wishes = asked.filter(({ led }) => led.seal());
  if (wishes.length === 0) return;
  const drained = new Set<Wish>();
  const drain = async (wish: Wish): Promise<void> => {
    await wish.led.writesBegunBefore();
    wish.led.probe?.at({ point: 'handoverDrained', slot: wish.led.slot, term: wish.led.term });
    drained.add(wish);
  };
  // One slow write does not keep the others sealed: its slot goes on here and is handed over another time.
  await Promise.race([Promise.all(wishes.map(drain)), sleep(parts.clock, drainWithinMs)]);
  // Nothing was asked yet, so nothing can have been decided: without a master the slots go on here (S9).
  const ready = parts.master.isConnected ? wishes.filter((wish) => drained.has(wish)) : [];
  for (const wish of wishes) if (!ready.includes(wish)) parts.leadership.goOn(wish.led);
  if (ready.length === 0) return;
  await parts.master.change(ready.map(({ led, to }) => ({ ...led.fence(), op: 'handover', peer: to })));
  const kept = ready.filter(({ led }) => !led.isOver);
  for (const { led } of kept) parts.leadership.goOn(led);
  parts.log.info({ slots: ready.length - kept.length, kept: kept.length }, 'handed over');
}
