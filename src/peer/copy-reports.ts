/**
 * Gathers what is to be told of single copies, so that a disk that goes bad all at once makes one event a second, not
 * thousands that push everything else out of the log and each run the operator's command. Every copy is named, as far
 * as memory allows.
 */
import type { SlotNumber } from '../core/ids.js';
import { limits } from '../core/limits.js';

export interface CopyReport {
  readonly slot: SlotNumber;
  readonly what: string;
}

/** Bounds the file of events: a thousand of them may be like this. */
const wordsInReportMax = 8 * 1024;
/** More wait unnamed. */
const waitingMax = 10_000;

export class CopyReports {
  #waiting: CopyReport[] = [];
  #unnamed = 0;

  add(report: CopyReport): void {
    if (this.#waiting.length < waitingMax) this.#waiting.push(report);
    else this.#unnamed += 1;
  }

  /** The oldest of them, as many as go into one report; undefined when there are none. */
  take(): { named: readonly CopyReport[]; others?: number } | undefined {
    const named: CopyReport[] = [];
    let words = 0;
    for (const report of this.#waiting) {
      words += report.what.length;
      if (named.length === limits.copiesInReportMax || (words > wordsInReportMax && named.length > 0)) break;
      named.push(report);
    }
    if (named.length === 0) return undefined;
    this.#waiting.splice(0, named.length);
    if (this.#waiting.length > 0 || this.#unnamed === 0) return { named };
    const others = this.#unnamed;
    this.#unnamed = 0;
    return { named, others };
  }
}
