/**
 * What an observer should know: the events that lie between two maps, and between two judgements of the peers. Pure.
 *
 * Slots are gathered: one event for each way in which several slots changed alike.
 */
import type { ClusterMap, PeerRecord, SlotRecord } from '../cluster/map.js';
import { isWaiting, peerOf } from '../cluster/map.js';
import { settingsOf } from '../cluster/settings.js';
import type { SlotChange } from '../cluster/slot-changes.js';
import type { PeerId, SlotNumber } from '../core/ids.js';
import type { RequestOf } from '../protocol/messages.js';
import { type ConditionChange, sentenceOfCondition } from './conditions.js';
import type { EventKind, NewEvent } from './events.js';
import { type Liveness, type Membership, neverAnswered } from './membership.js';

export function eventsBetween(before: ClusterMap | undefined, after: ClusterMap): readonly NewEvent[] {
  const events: NewEvent[] = [];
  if (before === undefined) {
    const { replicas, minInSync } = after.pool;
    events.push({
      kind: 'cluster-created',
      text: `Cluster ${after.clusterId} is new, with ${after.slots.length} slots and ${replicas} wanted copies`,
      data: { replicas, minInSync, slots: after.slots.length },
    });
  }
  for (const peer of after.peers) events.push(...eventsOfPeer(before && peerOf(before, peer.id), peer));
  if (before !== undefined) events.push(...eventsOfSettings(before, after), ...eventsOfSlots(before, after));
  return events;
}

function eventsOfPeer(before: PeerRecord | undefined, after: PeerRecord): readonly NewEvent[] {
  const { id: peer, address, zone, weight, storeId, incarnation } = after;
  const where = { address, zone, weight, storeId, incarnation };
  if (before === undefined) {
    return [{ kind: 'peer-joined', peer, text: `${peer} joined from ${address}`, data: where }];
  }
  if (before.storeId !== storeId && after.state !== 'awaited') {
    const text = `${peer} came back with a new data folder; what the old one held counts for nothing`;
    return [{ kind: 'peer-replaced', peer, text, data: { ...where, formerStoreId: before.storeId } }];
  }
  if (before.state === 'awaited' && after.state !== 'awaited') {
    const text = `${peer} said what it knew before the map was recovered`;
    return [{ kind: 'peer-answered', peer, text, data: where }];
  }
  if (before.incarnation !== incarnation) {
    return [{ kind: 'peer-started', peer, text: `${peer} was started again`, data: where }];
  }
  if (before.state === 'down' && after.state === 'up') {
    return [{ kind: 'peer-up', peer, text: `${peer} answers again`, data: where }];
  }
  if (after.state === 'removed' && before.state !== 'removed') {
    return [{ kind: 'peer-removed', peer, text: `${peer} was removed from the cluster`, data: where }];
  }
  if (after.isOut && !before.isOut) {
    const text = `${peer} has been down for too long: what it held is copied anew from others to others`;
    return [{ kind: 'peer-out', peer, text, data: where }];
  }
  return eventsOfWishes(before, after);
}

const modeSentences = {
  normal: 'takes part again as any other',
  draining: 'is being drained: its copies move to others',
  maintenance: 'is under maintenance: while it is down nothing is copied anew',
  'set-aside': 'is set aside: it gets no copies and keeps what it holds',
} as const;

/** What an operator wants of a peer otherwise than before. */
function eventsOfWishes(before: PeerRecord, after: PeerRecord): readonly NewEvent[] {
  const { id: peer, mode, weight, zone } = after;
  const texts = [
    ...(before.mode === mode ? [] : [`${peer} ${modeSentences[mode]}`]),
    ...(before.weight === weight ? [] : [`${peer} has weight ${weight}, before ${before.weight}`]),
    ...(before.zone === zone ? [] : [`${peer} is in zone ${zone}, before in ${before.zone}`]),
  ];
  return texts.map((text) => ({ kind: 'peer-changed', peer, text, data: { mode, weight, zone } }));
}

function eventsOfSettings(before: ClusterMap, after: ClusterMap): readonly NewEvent[] {
  const old = settingsOf(before);
  const now = settingsOf(after);
  const changed = (Object.keys(now) as (keyof typeof now)[]).filter((name) => old[name] !== now[name]);
  return changed.map((name) => ({
    kind: 'settings-changed',
    text: `${name} is ${now[name]}, before ${old[name]}`,
    data: { name, value: now[name], before: old[name] },
  }));
}

interface SlotFact {
  readonly kind: EventKind;
  readonly peer: PeerId;
  readonly from?: PeerId;
}

function eventsOfSlots(before: ClusterMap, after: ClusterMap): readonly NewEvent[] {
  const gathered = new Map<string, { fact: SlotFact; slots: SlotNumber[] }>();
  after.slots.forEach((record, slot) => {
    const old = before.slots[slot];
    if (old === undefined || old === record) return;
    for (const fact of factsOfSlot(old, record)) {
      const key = `${fact.kind} ${fact.peer} ${fact.from ?? ''}`;
      const group = gathered.get(key) ?? { fact, slots: [] };
      group.slots.push(slot);
      gathered.set(key, group);
    }
  });
  return [...gathered.values()].map(({ fact, slots }) => ({
    kind: fact.kind,
    peer: fact.peer,
    slots,
    text: sentenceOf(fact, slots),
    data: fact.from === undefined ? {} : { from: fact.from },
  }));
}

function factsOfSlot(before: SlotRecord, after: SlotRecord): readonly SlotFact[] {
  const facts: SlotFact[] = [];
  if (after.primary !== undefined && before.primary !== undefined && after.primary !== before.primary) {
    const kind = after.handoverOf === undefined ? 'promoted' : 'handed-over';
    facts.push({ kind, peer: after.primary, from: before.primary });
  }
  for (const peer of before.inSync) if (!after.inSync.includes(peer)) facts.push({ kind: 'copy-removed', peer });
  for (const peer of after.inSync) if (!before.inSync.includes(peer)) facts.push({ kind: 'copy-added', peer });
  for (const peer of after.joining) if (!before.joining.includes(peer)) facts.push({ kind: 'copy-joining', peer });
  return facts;
}

function sentenceOf({ kind, peer, from }: SlotFact, slots: readonly SlotNumber[]): string {
  const which = slots.length === 1 ? `slot ${slots[0]}` : `${slots.length} slots`;
  if (kind === 'promoted') return `${peer} was promoted to primary of ${which} that ${from} served`;
  if (kind === 'handed-over') return `${from} handed ${which} over to ${peer}`;
  if (kind === 'copy-removed') return `${peer} left the in-sync set of ${which}`;
  if (kind === 'copy-added') return `${peer} is in sync for ${which}`;
  return `${peer} began to copy ${which}`;
}

export function eventsOfVerdicts(before: Membership, after: Membership): readonly NewEvent[] {
  const events: NewEvent[] = [];
  for (const [peer, member] of after.members) {
    const old = before.members.get(peer);
    if (old === undefined || old.state === member.state) continue;
    if (member.state === 'suspect') {
      const silentMs = Math.round(after.tickedAtMs - member.heardAtMs);
      events.push({
        kind: 'peer-suspect',
        peer,
        text: `${peer} has not answered for ${silentMs} ms`,
        data: { silentMs },
      });
    }
    if (member.state === 'down') {
      const kind = member.reason === 'goodbye' ? 'peer-stopped' : 'peer-down';
      const silence = kind === 'peer-down' ? silenceOf(old, member.sinceMs) : {};
      const text = `${peer} ${downSentences[member.reason]}${lastAnswered(silence)}`;
      events.push({ kind, peer, text, data: { reason: member.reason, ...silence } });
    }
  }
  return events;
}

/** Since its last answer; a master that has never had one from it does not know. */
function silenceOf(before: Liveness, atMs: number): { silentMs?: number } {
  const isKnown = before.state !== 'down' && before.answeredMs !== neverAnswered;
  return isKnown ? { silentMs: Math.round(atMs - before.heardAtMs) } : {};
}

function lastAnswered({ silentMs }: { silentMs?: number }): string {
  return silentMs === undefined ? '' : `; it last answered ${(silentMs / 1000).toFixed(1)} s before`;
}

const downSentences = {
  silent: 'is down: it answers no ping',
  gone: 'is down: its process is gone, two connects were refused',
  goodbye: 'stops on purpose',
  deaf: 'is down: it asks for changes and answers no ping', // of one that was down already, which is told
} as const;

/** A peer's disk is filling up, or slow, or no longer. */
export function eventsOfCondition({ peer, before, after, figures }: ConditionChange): readonly NewEvent[] {
  const events: NewEvent[] = [];
  const sentence = sentenceOfCondition(peer, after, figures);
  if (before.fullness !== after.fullness) {
    const text = sentence.fullness ?? `${peer} has room for copies again`;
    events.push({ kind: 'peer-full', peer, text, data: { fullness: after.fullness, ...figures.space } });
  }
  if (before.slowBy.join() !== after.slowBy.join()) {
    const text = sentence.pace ?? `${peer} is about as fast as the others again`;
    events.push({ kind: 'peer-slow', peer, text, data: { slowBy: after.slowBy, p99Ms: figures.paces } });
  }
  return events;
}

/** All are in the event's data. */
const namesInText = 3;

/** What a peer told of copies on it. */
export function eventOfReport(peer: PeerId, report: RequestOf<'report'>): NewEvent {
  const { kind, named = [], others = 0 } = report;
  const count = named.length + others;
  const shown = named.slice(0, namesInText).map(({ what }) => what);
  const which = shown.length === count ? shown.join(', ') : `${shown.join(', ')} and ${count - shown.length} others`;
  const isOne = count === 1;
  const state =
    kind === 'copy-damaged'
      ? `${isOne ? 'is' : 'are'} bad; repaired as soon as another holder can give a good one`
      : `${isOne ? 'is' : 'are'} good again`;
  const text = `${peer}: ${isOne ? 'the copy' : `${count} copies`} of ${which} ${state}`;
  const data = { copies: named, ...(others === 0 ? {} : { others }) };
  return { kind, peer, slots: [...new Set(named.map(({ slot }) => slot))], text, data };
}

/** What `peer` copied for those that were let into its sets: one event for each of them. */
export function eventsOfCopies(peer: PeerId, added: readonly SlotChange[]): readonly NewEvent[] {
  const made = new Map<PeerId, Copied>();
  for (const { slot, peer: to, keys = 0, bytes = 0 } of added) {
    if (keys > 0) made.set(to, withCopied(made.get(to), { slots: [slot], keys, bytes }));
  }
  return [...made].map(([to, copied]) => eventOfCopies(peer, to, copied));
}

interface Copied {
  readonly slots: readonly SlotNumber[];
  readonly keys: number;
  readonly bytes: number;
}

function withCopied(before: Copied | undefined, more: Copied): Copied {
  if (before === undefined) return more;
  const slots = [...new Set([...before.slots, ...more.slots])];
  return { slots, keys: before.keys + more.keys, bytes: before.bytes + more.bytes };
}

function eventOfCopies(
  peer: PeerId,
  to: PeerId,
  { slots, keys, bytes }: Copied,
): NewEvent & { slots: readonly number[] } {
  const text = `${peer} copied what ${to} lacked: ${keys} entries in ${slots.length} slots, ${bytes} bytes`;
  const data = { to, copiedSlots: slots.length, copiedEntries: keys, copiedBytes: bytes };
  return { kind: 'copies-made', peer, slots, text, data };
}

/** Slots that nobody can serve until a holder returns, or says what it knows. */
export function waitingSlots(map: ClusterMap): readonly SlotNumber[] {
  const down = new Set(map.peers.filter((peer) => peer.state === 'down').map((peer) => peer.id));
  const isLeaderless = (record: SlotRecord): boolean =>
    isWaiting(record) || (record.primary !== undefined && down.has(record.primary));
  return map.slots.flatMap((record, slot) => (isLeaderless(record) ? [slot] : []));
}

const moves: ReadonlySet<EventKind> = new Set([
  ...(['copy-joining', 'copy-added', 'copy-removed', 'handed-over', 'copies-made'] as const),
]);

type Move = NewEvent & { readonly slots: readonly SlotNumber[] };

/**
 * Gathers what moves slot by slot, as copies are made and handed over, so that one event tells of many slots. Order is
 * kept: whatever else happens lets out what was gathered before it.
 */
export class GatheredMoves {
  readonly #gathered = new Map<string, Move>();

  /** The events to tell now: none for a move, otherwise those gathered and then this one. */
  add(event: NewEvent): readonly NewEvent[] {
    const { kind, peer = '', slots, data } = event;
    if (!moves.has(kind) || slots === undefined) return [...this.takeAll(), event];
    const key = `${kind} ${peer} ${data?.from ?? data?.to ?? ''}`;
    const before = this.#gathered.get(key);
    this.#gathered.set(key, before === undefined ? { ...event, slots } : merged(before, { ...event, slots }));
    return [];
  }

  get isEmpty(): boolean {
    return this.#gathered.size === 0;
  }

  takeAll(): readonly NewEvent[] {
    const events = [...this.#gathered.values()];
    this.#gathered.clear();
    return events;
  }
}

function merged(before: Move, event: Move): Move {
  const { kind, peer = '' } = event;
  if (kind === 'copies-made') {
    const copied = withCopied(copiedIn(before), copiedIn(event));
    return { ...event, ...eventOfCopies(peer, String(event.data?.to), copied) };
  }
  const slots = [...new Set([...before.slots, ...event.slots])];
  return { ...event, slots, text: sentenceOf({ kind, peer, ...event.data }, slots) };
}

function copiedIn({ slots, data }: Move): Copied {
  return { slots, keys: Number(data?.copiedEntries), bytes: Number(data?.copiedBytes) };
}
