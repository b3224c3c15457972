/**
 * Shows how far a transfer is: a bar, bytes, rate and time left, on a terminal's stderr only.
 *
 * Short work shows nothing: the line appears after a moment. The time left is shown once the total is known.
 */
import type { Clock, Timer } from '../core/environment.js';
import type { LiveLine, Terminal } from '../core/local-machine.js';
import { shownName } from './escaping.js';
import { formatBytes, formatDuration } from './units.js';

const appearAfterMs = 300;
const redrawMs = 100;
const rateWindowMs = 3000;
const barCells = 24;

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

export class Progress {
  readonly #clock: Clock;
  readonly #terminal: Terminal;
  readonly #samples: Sample[];
  #line: LiveLine | undefined;
  #timer: Timer | undefined;
  #stopped = false;
  #doneBytes = 0;
  #totalBytes = 0;
  #totalIsFinal = false;
  #subject = '';

  constructor(terminal: Terminal, clock: Clock, options: { quiet: boolean }) {
    this.#terminal = terminal;
    this.#clock = clock;
    this.#samples = [{ atMs: clock.monotonicMs(), bytes: 0 }];
    if (terminal.notes.isTerminal && !options.quiet)
      this.#timer = clock.after(appearAfterMs, () => void this.#appear());
  }

  expect(bytes: number): void {
    this.#totalBytes += bytes;
  }

  /** Nothing more will be expected: a time left can be told. */
  totalIsFinal(): void {
    this.#totalIsFinal = true;
  }

  /** For one object whose size is learnt when it is opened. */
  expectOnly(bytes: number): void {
    this.#totalBytes += bytes;
    this.#totalIsFinal = true;
  }

  subject(name: string): void {
    this.#subject = shownName(name);
  }

  advance(bytes: number): void {
    this.#doneBytes += bytes;
  }

  async *counting(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    for await (const chunk of chunks) {
      this.#doneBytes += chunk.length;
      yield chunk;
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#line?.stop();
  }

  async #appear(): Promise<void> {
    this.#line = await this.#terminal.startLiveLine();
    if (this.#stopped) return this.#line.stop();
    this.#redraw();
  }

  #redraw(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#samples.push({ atMs: nowMs, bytes: this.#doneBytes });
    while (this.#samples.length > 2 && nowMs - (this.#samples[0]?.atMs ?? nowMs) > rateWindowMs) this.#samples.shift();
    this.#line?.show(
      toProgressText({
        subject: this.#subject,
        doneBytes: this.#doneBytes,
        totalBytes: this.#totalIsFinal ? this.#totalBytes : undefined,
        bytesPerSecond: rateOf(this.#samples),
        columns: this.#terminal.notes.columns,
      }),
    );
    this.#timer = this.#clock.after(redrawMs, () => this.#redraw());
  }
}

function rateOf(samples: readonly Sample[]): number {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
  return ((last.bytes - first.bytes) / (last.atMs - first.atMs)) * 1000;
}

export function toProgressText(state: {
  subject: string;
  doneBytes: number;
  /** Undefined while it is not known. */
  totalBytes: number | undefined;
  bytesPerSecond: number;
  columns: number;
}): string {
  const { doneBytes, totalBytes, bytesPerSecond } = state;
  const rate = `${formatBytes(bytesPerSecond)}/s`;
  let text = `${formatBytes(doneBytes)}  ${rate}`;
  if (totalBytes !== undefined && totalBytes > 0) {
    const share = Math.min(1, doneBytes / totalBytes);
    const filled = Math.round(share * barCells);
    const bar = `${'█'.repeat(filled)}${'░'.repeat(barCells - filled)}`;
    const left = bytesPerSecond > 0 ? `  ETA ${formatDuration((totalBytes - doneBytes) / bytesPerSecond)}` : '';
    const sizes = `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`;
    text = `${bar} ${Math.floor(share * 100)} %  ${sizes}  ${rate}${left}`;
  }
  const room = state.columns - text.length - 6;
  if (room < 8 || state.subject === '') return text;
  const subject = state.subject.length > room ? `${state.subject.slice(0, room - 1)}…` : state.subject;
  return `${text}  ${subject}`;
}
