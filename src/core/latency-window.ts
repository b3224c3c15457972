/**
 * How long something took lately: quantiles over a sliding window, in a fixed amount of memory.
 *
 * Durations are counted in buckets, each a fifth longer than the one before, so an answer is at most a fifth too high.
 * Two generations of counts take turns: the window covers at least half of its span and at most all of it.
 */
const shortestMs = 0.01;
const growth = 1.2;
const bucketCount = 96; // up to some minutes

export class LatencyWindow {
  readonly #generationMs: number;
  #sinceMs = Number.NEGATIVE_INFINITY;
  #newer = new Uint32Array(bucketCount);
  #older = new Uint32Array(bucketCount);
  #newerCount = 0;
  #olderCount = 0;

  constructor(spanMs: number) {
    this.#generationMs = spanMs / 2;
  }

  /** `nowMs` never goes back. */
  note(durationMs: number, nowMs: number): void {
    this.#turn(nowMs);
    const bucket = bucketOf(durationMs);
    this.#newer[bucket] = (this.#newer[bucket] ?? 0) + 1;
    this.#newerCount++;
  }

  count(nowMs: number): number {
    this.#turn(nowMs);
    return this.#newerCount + this.#olderCount;
  }

  /** What the given share of durations did not exceed; undefined while fewer than `atLeast` are known. */
  quantileMs(fraction: number, on: { atLeast: number; nowMs: number }): number | undefined {
    const count = this.count(on.nowMs);
    if (count === 0 || count < on.atLeast) return undefined;
    let left = Math.ceil(fraction * count);
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      left -= (this.#newer[bucket] ?? 0) + (this.#older[bucket] ?? 0);
      if (left <= 0) return upperBoundMs(bucket);
    }
    return upperBoundMs(bucketCount - 1);
  }

  #turn(nowMs: number): void {
    const turns = Math.floor((nowMs - this.#sinceMs) / this.#generationMs);
    if (turns === 0) return;
    [this.#older, this.#newer] = [this.#newer, this.#older];
    this.#olderCount = this.#newerCount;
    if (turns > 1) {
      this.#older.fill(0);
      this.#olderCount = 0;
    }
    this.#newer.fill(0);
    this.#newerCount = 0;
    this.#sinceMs = Number.isFinite(turns) ? this.#sinceMs + turns * this.#generationMs : nowMs;
  }
}

function bucketOf(durationMs: number): number {
  if (durationMs <= shortestMs) return 0;
  return Math.min(bucketCount - 1, Math.ceil(Math.log(durationMs / shortestMs) / Math.log(growth)));
}

function upperBoundMs(bucket: number): number {
  return shortestMs * growth ** bucket;
}
