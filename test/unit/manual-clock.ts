/** A clock that stands still until it is told to go on, and a log that remembers its lines. */
import type { Clock, Log, Timer } from '../../src/core/environment.js';

interface Due {
  readonly atMs: number;
  readonly order: number;
  onDue(): void;
}

export class ManualClock implements Clock {
  #nowMs = 1000;
  #order = 0;
  readonly #due = new Set<Due>();

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  after(delayMs: number, onDue: () => void): Timer {
    const due = { atMs: this.#nowMs + delayMs, order: this.#order++, onDue };
    this.#due.add(due);
    return { cancel: () => void this.#due.delete(due) };
  }

  get timerCount(): number {
    return this.#due.size;
  }

  /** Fires what falls due on the way, each at its own time; what comes of it has run when this resolves. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      await settled();
      const next = [...this.#due].sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (!next || next.atMs > endMs) break;
      this.#due.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.onDue();
    }
    this.#nowMs = endMs;
    await settled();
  }

  /** As after a pause of the process: time passes first, all that is due fires late. */
  async sleepThrough(byMs: number): Promise<void> {
    this.#nowMs += byMs;
    await this.advance(0);
  }
}

/** Several turns of the event loop: enough for messages in memory to be answered. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}

export interface RecordedLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: object;
  readonly message: string;
}

export class RecordingLog implements Log {
  readonly lines: RecordedLine[] = [];

  debug(fields: object, message: string): void {
    this.lines.push({ level: 'debug', fields, message });
  }

  info(fields: object, message: string): void {
    this.lines.push({ level: 'info', fields, message });
  }

  warn(fields: object, message: string): void {
    this.lines.push({ level: 'warn', fields, message });
  }

  error(fields: object, message: string): void {
    this.lines.push({ level: 'error', fields, message });
  }

  warnings(): readonly string[] {
    return this.lines.filter((line) => line.level === 'warn').map((line) => line.message);
  }
}
