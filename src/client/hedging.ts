/**
 * When a read that any holder may answer is late, whether another holder is asked as well, and who is asked last.
 *
 * Late is what takes longer than nearly all of this client's own recent reads. Every read earns a twentieth of a second
 * request and each second request costs a whole one, so that no more than that share is ever added, however slow
 * everything is (Dean & Barroso, "The Tail at Scale", 2013). Only reads of what cannot be two things are hedged: stored
 * bytes named by version or upload, verified by their checksums, and reads that accept any holder's word. Records are
 * read linearizably at the primary alone (S2), and nothing is ever written twice.
 */
import type { PeerId } from '../core/ids.js';
import { LatencyWindow } from '../core/latency-window.js';
import { limits } from '../core/limits.js';
import { timing } from '../core/timing.js';

export class Hedging {
  readonly #latency = new LatencyWindow(timing.clientLatencyMs);
  readonly #silentUntilMs = new Map<PeerId, number>();
  #slow: ReadonlySet<PeerId> = new Set();
  #shares = 0;

  /** A read begins that may be hedged. */
  onRead(): void {
    this.#shares = Math.min(limits.hedgeBurst, this.#shares + limits.hedgedShare);
  }

  /** One holder has answered, or was given up, after so long. */
  onEnded(durationMs: number, nowMs: number): void {
    this.#latency.note(durationMs, nowMs);
  }

  /** How long to wait for a holder before another one may be asked. */
  lateAfterMs(nowMs: number): number {
    const boundMs = this.#latency.quantileMs(limits.hedgeQuantile, { atLeast: limits.hedgeSamplesMin, nowMs });
    return boundMs === undefined ? timing.clientHedgeMs : Math.max(timing.hedgeLateMinMs, boundMs);
  }

  /** Takes the price of a second request. False: it was not earned yet. */
  take(): boolean {
    if (this.#shares < 1) return false;
    this.#shares -= 1;
    return true;
  }

  /** A peer told who is far slower than the others. */
  onTold(slow: readonly PeerId[]): void {
    this.#slow = new Set(slow);
  }

  /** Nothing at all has come from a holder that was asked: another one was asked, whether that was earned or not. */
  onSilent(peer: PeerId, nowMs: number): void {
    this.#silentUntilMs.set(peer, nowMs + timing.silentHolderLastMs);
  }

  /** The same holders, those that are slow or were silent last. */
  inOrder<T extends { readonly id: PeerId }>(holders: readonly T[], nowMs: number): readonly T[] {
    const isLast = ({ id }: T): boolean => this.#slow.has(id) || nowMs < (this.#silentUntilMs.get(id) ?? 0);
    return holders.some(isLast) ? [...holders.filter((holder) => !isLast(holder)), ...holders.filter(isLast)] : holders;
  }
}
