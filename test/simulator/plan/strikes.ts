/**
 * What most faults are made of: a crash, a pause, a cut, and a strike at a named point.
 */
import type { Moment, PointName } from '../../../src/core/probe.js';
import type { SimHost } from '../world/sim-host.js';
import type { Fault } from './fault.js';

/** Back at once, sometimes before anybody noticed: what a start forgets shows only then. */
export const soonMs = 60;

export async function crash(fault: Fault, host: SimHost, longestMs = 3000): Promise<void> {
  host.crash({ isHost: fault.chance.isLikely(0.3) });
  await fault.sleep(fault.chance.between(1, longestMs));
  host.start();
}

export async function pauseHost(fault: Fault, host: SimHost): Promise<void> {
  host.pause();
  await fault.sleep(fault.aWhile());
  host.resume();
}

/** For a while; one way or both. */
export async function cutPair(fault: Fault, one: SimHost, other: SimHost): Promise<void> {
  if (one === other) return;
  const { network } = fault.cluster;
  const way = fault.chance.below(3);
  fault.cluster.trace?.(`cut ${one.name} ${['↔', '→', '←'][way]} ${other.name}`);
  if (way !== 2) network.cut(one.name, other.name);
  if (way !== 1) network.cut(other.name, one.name);
  await fault.sleep(fault.aWhile());
  network.heal(one.name, other.name);
  network.heal(other.name, one.name);
}

const passedOverMax = 6;
const armedForMs = 6000;

/**
 * Strikes the process that next, or a few times later, reaches the point with what `isMeant` accepts; resolves when
 * that is over, or never was.
 */
export async function atPoint(
  fault: Fault,
  strike: (host: SimHost, moment: Moment) => Promise<void>,
  point: PointName | undefined = fault.step.point,
  isMeant?: (moment: Moment) => boolean,
): Promise<void> {
  const { cluster, chance, step } = fault;
  if (point === undefined) return;
  let isArmed = true;
  const struck = new Promise<void>((resolve) => {
    const skip = chance.isLikely(0.5) ? 0 : chance.below(passedOverMax);
    cluster.points.arm({
      point,
      skip,
      ...(isMeant && { isMeant }),
      act: (host, moment) => {
        if (!isArmed || fault.ward.isStopping) return;
        isArmed = false;
        cluster.trace?.(`${host.name} reaches ${point}: ${step.kind}`);
        resolve(strike(host, moment));
      },
    });
    cluster.world.schedule(armedForMs, () => isArmed && resolve());
  });
  await struck;
  isArmed = false;
}
