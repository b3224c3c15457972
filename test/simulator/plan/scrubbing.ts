/**
 * Somebody has a peer read all its copies, and looks whether what is bad on its disk was found.
 */
import { DfsError } from '../../../src/core/errors.js';
import { ConnectFailure } from '../../../src/core/network.js';
import { decodeValue, type EntryKey } from '../../../src/peer/entry.js';
import type { ScrubState } from '../../../src/peer/scrub.js';
import { openSession, type Session } from '../../../src/protocol/session.js';
import { faultOfBytes } from '../checks/deep-check.js';
import type { SimHost } from '../world/sim-host.js';
import type { Fault } from './fault.js';

const timeoutMs = 1000;
const withinMs = 6000;
const lookAgainMs = 100;
/** What is found is written down a moment later. */
const writtenWithinMs = 500;

/**
 * Resolves when that was seen, or it took too long. Nothing is judged where something else may have come between:
 * another fault, a disk that meets an obstacle when it writes down what was found, a scrub that had begun before.
 */
export async function scrubAndJudge(fault: Fault, host: SimHost): Promise<void> {
  const { cluster, ward } = fault;
  const { starts } = host;
  const { begun } = ward;
  const isAlone = (): boolean =>
    ward.begun === begun && ward.running === 1 && host.starts === starts && host.isRunning && !host.disk.isHindered;
  if (!isAlone()) return fault.sleep(withinMs / 2);
  const bad = entriesOf(host).filter((key) => isBad(host, key));
  // What a client waits for whose process has died never comes.
  const hasEnded = await Promise.race([isScrubbed(fault, host), fault.sleep(withinMs).then(() => false)]);
  if (!hasEnded) return;
  await fault.sleep(writtenWithinMs);
  if (!isAlone()) return;
  const isUnknown = (key: EntryKey): boolean => host.disk.index.durable.get('damaged', key) === undefined;
  const missed = bad.filter((key) => isBad(host, key) && isUnknown(key)).length;
  if (missed > 0) cluster.monitor.complain(`${host.name} has read all its copies and overlooked ${missed} bad ones`);
}

/** False when that cannot be told, or it may have passed by what was bad before. */
async function isScrubbed(fault: Fault, host: SimHost): Promise<boolean> {
  const { cluster } = fault;
  try {
    const session = await sessionWith(fault, host);
    if (session === undefined) return false;
    const ask = async (start: boolean): Promise<ScrubState> =>
      (await session.request('scrub', { start }, { timeoutMs })).header;
    const before = await ask(false);
    const begun = await ask(true);
    if (before.isRunning || begun.startedMs === before.startedMs) return false;
    for (const endMs = cluster.world.nowMs + withinMs; (await ask(false)).isRunning; ) {
      if (cluster.world.nowMs > endMs) return false;
      await fault.sleep(lookAgainMs);
    }
    session.close('It has ended');
    return true;
  } catch (error) {
    if (!(error instanceof DfsError || error instanceof ConnectFailure)) throw error;
    return false;
  }
}

async function sessionWith({ cluster }: Fault, host: SimHost): Promise<Session | undefined> {
  const address = cluster.peerOf(host)?.address;
  const environment = cluster.clients[0]?.environment;
  if (address === undefined || environment === undefined) return undefined;
  return openSession(environment, address, { hello: { role: 'client', generation: 1 }, timeoutMs });
}

function entriesOf({ disk }: SimHost): readonly EntryKey[] {
  return disk.index.durable.keys('entries', { from: new Uint8Array(0) });
}

function isBad({ disk }: SimHost, key: EntryKey): boolean {
  const found = decodeValue(key, disk.index.durable.get('entries', key));
  return found.state === 'damaged' || (found.state === 'present' && faultOfBytes(disk, found.entry) !== undefined);
}
