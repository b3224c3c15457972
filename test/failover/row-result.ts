/** What is kept of one run of one row. */
export interface RowResult {
  /** The script's name without its ending: "01-kill-primary". */
  readonly row: string;
  readonly commit: string;
  readonly passed: boolean;
  readonly operations: number;
  readonly unknown: number;
  /** Refused operations by code. */
  readonly refused: Readonly<Record<string, number>>;
  /** Longest time without an answer, on names in the victim's slots. */
  readonly writePauseMs: number;
  readonly readPauseMs: number;
  readonly wholeAfterMs: number;
  readonly note: string;
  readonly complaints: readonly string[];
}
