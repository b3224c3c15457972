/** What a peer tells of its host and its process to whoever examines the cluster (`dfs doctor`). */
import type { Clock } from '../core/environment.js';
import type { ReplyOf } from '../protocol/messages.js';
import type { Admission } from './admission.js';
import type { Engine } from './engine.js';
import type { LoopLag } from './loop-lag.js';

export function examined(
  clock: Clock,
  peer: {
    readonly nodeVersion: string;
    readonly isJoined: boolean;
    readonly admission: Admission;
    readonly lag: LoopLag;
    readonly engine: Engine | undefined;
  },
): ReplyOf<'examine-peer'> {
  const { nodeVersion, isJoined, admission, lag, engine } = peer;
  return {
    wallMs: Math.floor(clock.wallMs()),
    node: nodeVersion,
    lagMs: lag.recentWorstMs,
    freeBytes: Math.floor(admission.space.freeBytes),
    totalBytes: Math.floor(admission.space.totalBytes),
    reserveBytes: Math.floor(admission.reserveBytes),
    damaged: engine?.damage.count ?? 0,
    verifiedSinceMs: Math.floor(engine?.scrub.state.allSinceMs ?? 0),
    isJoined,
  };
}
