/** Random walks over everything that can change a map; after each step the invariants of the map must hold. */
import { describe, expect, test } from 'vitest';
import type { ClusterMap, SlotRecord } from '../../../src/cluster/map.js';
import {
  createCluster,
  withPeerDown,
  withPeerJoined,
  withPeerLeaving,
  withPeerUp,
  withPromotions,
} from '../../../src/cluster/membership.js';
import { wantedPlacement } from '../../../src/cluster/placement.js';
import { planSteps, unsettledSlots } from '../../../src/cluster/planner.js';
import { withSettings } from '../../../src/cluster/settings.js';
import { applyChanges, type SlotChange, withDropped, withJoining } from '../../../src/cluster/slot-changes.js';
import { DfsError } from '../../../src/core/errors.js';
import { limits } from '../../../src/core/limits.js';
import { joinRequest, seededFractions, settings } from './fixtures.js';

interface Machine {
  readonly number: number;
  storeId: string;
  incarnation: number;
  isRunning: boolean;
}

class World {
  map: ClusterMap;
  readonly machines: Machine[] = [];
  readonly #fraction: () => number;
  readonly #sent: { by: string; changes: SlotChange[] }[] = [];
  #stores = 0;

  constructor(seed: number) {
    this.#fraction = seededFractions(seed);
    this.map = createCluster({ ...settings, slotCount: 16, replicas: 1 + this.below(3) });
    this.addMachine();
  }

  below(count: number): number {
    return Math.floor(this.#fraction() * count);
  }

  oneOf<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T;
  }

  /** Takes one step and says which peers it may have added to which slot's set. */
  step(): { name: string; added: ReadonlySet<string> } {
    const added = new Set<string>();
    const name = this.oneOf(Object.keys(this.#steps) as (keyof World['steps'])[]);
    this.#steps[name](added);
    return { name, added };
  }

  get steps() {
    return this.#steps;
  }

  readonly #steps = {
    newMachine: () => (this.machines.length < 6 ? this.addMachine() : undefined),
    kill: () => {
      this.oneOf(this.machines).isRunning = false;
    },
    restart: () => {
      const machine = this.oneOf(this.machines);
      machine.incarnation++;
      this.join(machine);
    },
    wipe: () => {
      const machine = this.oneOf(this.machines);
      machine.storeId = `store-new-${++this.#stores}`;
      machine.incarnation = 1;
      this.join(machine);
    },
    helloAgain: () => {
      const machine = this.oneOf(this.machines);
      if (machine.isRunning) this.join(machine);
    },
    noticeDown: () => {
      this.map = withPeerDown(this.map, { peer: this.oneOf(this.map.peers).id, answered: this.answered() });
    },
    hearAgain: () => {
      this.map = withPeerUp(this.map, this.oneOf(this.map.peers).id);
    },
    goodbye: () => {
      this.map = withPeerLeaving(this.map, {
        peer: this.oneOf(this.map.peers).id,
        answered: this.answered(),
        present: this.answered(),
      });
    },
    promote: () => {
      this.map = withPromotions(this.map, this.answered());
    },
    change: (added: Set<string>) => {
      const asked = { by: this.oneOf(this.map.peers).id, changes: this.randomChanges() };
      this.#sent.push(asked);
      this.ask(asked, added);
    },
    repeatChange: (added: Set<string>) => (this.#sent.length > 0 ? this.ask(this.oneOf(this.#sent), added) : undefined),
    plan: () => this.plan(),
    setReplicas: () => {
      this.map = withSettings(this.map, { replicas: 1 + this.below(3) });
    },
  };

  addMachine(): void {
    const number = this.machines.length + 1;
    this.machines.push({ number, storeId: `store-${number}`, incarnation: 1, isRunning: true });
    this.join(this.machines.at(-1) as Machine);
  }

  join(machine: Machine): void {
    machine.isRunning = true;
    try {
      this.map = withPeerJoined(this.map, joinRequest(machine.number, machine), this.answered()).map;
    } catch (error) {
      if (!(error instanceof DfsError)) throw error;
    }
  }

  answered(): ReadonlySet<string> {
    return new Set(this.map.peers.filter(() => this.below(3) > 0).map((peer) => peer.id));
  }

  randomChanges(): SlotChange[] {
    return Array.from({ length: 1 + this.below(6) }, () => {
      const slot = this.below(this.map.slots.length);
      const record = this.map.slots[slot] as SlotRecord;
      const isLikely = this.below(4) > 0;
      const peer = isLikely && record.joining.length > 0 ? this.oneOf(record.joining) : this.oneOf(this.map.peers).id;
      const storeId = this.map.peers.find((known) => known.id === peer)?.storeId ?? '';
      return {
        slot,
        slotEpoch: record.slotEpoch - (this.below(5) === 0 ? 1 : 0),
        op: this.oneOf(['add', 'add', 'remove', 'handover'] as const),
        peer,
        storeId: this.below(5) === 0 ? 'another' : storeId,
      };
    });
  }

  ask(asked: { by: string; changes: SlotChange[] }, added: Set<string>): void {
    const { map, outcomes } = applyChanges(this.map, asked);
    for (const [index, change] of asked.changes.entries()) {
      if (change.op === 'add' && outcomes[index] === 'done') added.add(`${change.slot} ${change.peer}`);
    }
    this.map = map;
  }

  plan(): void {
    const upSinceMs = new Map(this.map.peers.filter((peer) => peer.state === 'up').map((peer) => [peer.id, 0]));
    const wanted = wantedPlacement(this.map.peers, this.map.slots.length, this.map.pool.replicas);
    const steps = planSteps(this.map, wanted, { nowMs: 60_000, upSinceMs });
    for (const { slot, peer } of steps.drops) {
      const record = this.map.slots[slot] as SlotRecord;
      if (!record.inSync.includes(peer)) continue;
      const live = record.inSync.filter((id) => id !== peer && upSinceMs.has(id));
      const enough = Math.min(this.map.pool.replicas, wanted[slot]?.length ?? 0);
      hold(live.length >= enough, `slot ${slot} keeps ${enough} copies when ${peer} goes`);
    }
    this.map = withJoining(withDropped(this.map, steps.drops), steps.joining);
  }
}

/** Cheaper than `expect`, which these walks would call millions of times. */
function hold(isTrue: boolean, claim: string): void {
  if (!isTrue) throw new Error(claim);
}

function areDistinct(values: readonly unknown[]): boolean {
  return new Set(values).size === values.length;
}

function checkMap(map: ClusterMap): void {
  hold(areDistinct(map.peers.map((peer) => peer.id)), 'ids are unique');
  hold(areDistinct(map.peers.map((peer) => peer.storeId)), 'store ids are unique');
  hold(areDistinct(map.peers.map((peer) => peer.tokenAddress)), 'no two peers have the same tokens');
  const ids = new Set(map.peers.map((peer) => peer.id));
  for (const { primary, inSync, joining, term, slotEpoch, handoverOf = 0, removed = [] } of map.slots) {
    const everybody = [...inSync, ...joining];
    hold(areDistinct(everybody), 'nobody is twice in a slot');
    hold(primary !== undefined && inSync.includes(primary), 'the primary is in sync');
    hold(
      everybody.every((id) => ids.has(id)),
      'everybody in a slot is a peer',
    );
    hold(handoverOf < term && term <= slotEpoch && slotEpoch <= map.epoch, 'epochs are in order');
    hold(removed.length <= limits.removedMembersMax, 'what is remembered is bounded');
    hold(!removed.some((entry) => inSync.includes(entry.peer)), 'no member counts as removed');
  }
}

function checkStep(before: ClusterMap, after: ClusterMap, added: ReadonlySet<string>): void {
  hold(after === before || after.epoch > before.epoch, 'another map has a higher epoch');
  const earlier = new Map(before.peers.map((peer) => [peer.id, peer]));
  const changed = (field: 'incarnation' | 'storeId') =>
    new Set(after.peers.filter((peer) => (earlier.get(peer.id) ?? peer)[field] !== peer[field]).map((peer) => peer.id));
  const restarted = changed('incarnation');
  const emptied = changed('storeId');
  for (const [slot, record] of after.slots.entries()) {
    const old = before.slots[slot] as SlotRecord;
    hold(![...record.inSync, ...record.joining].some((id) => emptied.has(id)), 'a new store is nowhere');
    if (old === record || JSON.stringify(old) === JSON.stringify(record)) continue;
    hold(record.slotEpoch > before.epoch, 'every change raises slotEpoch');
    if (old.primary === undefined) continue;
    const gained = record.inSync.filter((id) => !old.inSync.includes(id));
    for (const id of gained) hold(added.has(`${slot} ${id}`), `slot ${slot} gained ${id} without an add`);
    const primary = record.primary as string;
    hold([...old.inSync, ...gained].includes(primary), 'the next primary was in sync before');
    const isNewTerm = primary !== old.primary || restarted.has(primary);
    hold(isNewTerm ? record.term > before.epoch : record.term === old.term, 'a term begins with a primary, only then');
  }
}

describe('whatever happens', () => {
  test('no step breaks the map or lets anybody into a set but by an add', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 150; seed++) {
      const world = new World(seed);
      checkMap(world.map);
      for (let count = 0; count < 150; count++) {
        const before = world.map;
        const { name, added } = world.step();
        if (world.map !== before) seen.add(name);
        try {
          hold(name !== 'repeatChange' || world.map === before, 'what was asked before changes nothing any more');
          checkMap(world.map);
          checkStep(before, world.map, added);
        } catch (error) {
          throw new Error(`Seed ${seed}, step ${count} (${name})`, { cause: error });
        }
      }
    }
    const silent = ['kill', 'repeatChange'];
    const effective = Object.keys(new World(0).steps).filter((name) => !silent.includes(name));
    expect([...seen].sort()).toEqual(effective.sort());
  });

  test('once all are back and do as they are asked, the map becomes as wanted (S7)', () => {
    for (let seed = 0; seed < 50; seed++) {
      const world = new World(seed);
      for (let count = 0; count < 100; count++) world.step();
      expect(settled(world.map), `seed ${seed}`).toBe(true);
    }
  });
});

/** Everybody up; joiners are added and handovers done as fast as they are planned. */
function settled(start: ClusterMap): boolean {
  let map: ClusterMap = { ...start, peers: start.peers.map((peer) => ({ ...peer, state: 'up' })) };
  const wanted = wantedPlacement(map.peers, map.slots.length, map.pool.replicas);
  const view = { nowMs: 60_000, upSinceMs: new Map(map.peers.map((peer) => [peer.id, 0])) };
  for (let round = 0; round < 20 && unsettledSlots(map, wanted).length > 0; round++) {
    const { joining, drops, handovers } = planSteps(map, wanted, view);
    map = withJoining(withDropped(map, drops), joining);
    const asked = new Map<string, SlotChange[]>();
    const ask = (slot: number, op: SlotChange['op'], peer: string): void => {
      const { primary = '', slotEpoch } = map.slots[slot] as SlotRecord;
      const storeId = map.peers.find((known) => known.id === peer)?.storeId ?? '';
      asked.set(primary, [...(asked.get(primary) ?? []), { slot, slotEpoch, op, peer, storeId }]);
    };
    for (const [slot, record] of map.slots.entries()) for (const peer of record.joining) ask(slot, 'add', peer);
    for (const { slot, to } of handovers) ask(slot, 'handover', to);
    for (const [by, changes] of asked) map = applyChanges(map, { by, changes }).map;
    checkMap(map);
  }
  return unsettledSlots(map, wanted).length === 0;
}
