/**
 * What the command line asks of the machine it runs on: its terminal, local files, signals and child processes.
 *
 * The real ones are in src/io; tests hand in their own.
 */

/** The program that read our output has gone (`dfs ls | head`): nothing more to say, and nobody to say it to. */
export class OutputClosed extends Error {
  override name = 'OutputClosed';
}

export interface Sink {
  readonly isTerminal: boolean;
  /** A terminal that wants colours: `NO_COLOR` and dumb terminals do not. */
  readonly isColourful: boolean;
  readonly columns: number;
  /** Resolves when there is room for more. Throws OutputClosed. */
  write(content: string | Uint8Array): Promise<void>;
}

/** One line that is redrawn in place. */
export interface LiveLine {
  show(text: string): void;
  stop(): void;
}

export interface Terminal {
  readonly output: Sink;
  /** Progress, notes, prompts and errors. Never throws: losing them must not stop the work. */
  readonly notes: Sink;
  readonly input: { readonly isTerminal: boolean; read(): AsyncIterable<Uint8Array> };
  /** Shows the question on `notes` and returns the line typed; empty at the end of input. Rejects when aborted. */
  ask(question: string, signal: AbortSignal): Promise<string>;
  startLiveLine(): Promise<LiveLine>;
  /** SIGINT, SIGTERM and SIGHUP. Returns how to stop listening. */
  onInterrupt(handler: () => void): () => void;
}

/** A regular file, open for reading. */
export interface LocalSource {
  readonly sizeBytes: number;
  /**
   * The content in order, once; a piece may be overwritten when the next is asked for. Before the last one is handed
   * out the file is looked at again: throws DfsError `failed` when it is no longer what it was at opening (shrunk,
   * grown or rewritten).
   */
  read(): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** A file in the making, beside its target under a temporary name. */
export interface LocalTarget {
  write(bytes: Uint8Array): Promise<void>;
  /** Gives the file its name in one step. Throws DfsError `conflict` when it exists and `replace` is false. */
  commit(options: { replace: boolean }): Promise<void>;
  /** Removes what was written; the target is untouched. */
  discard(): Promise<void>;
}

export type LocalKind = 'file' | 'folder' | 'pipe' | 'other';

export type WalkedEntry =
  | { readonly kind: 'file'; readonly path: string; readonly name: string; readonly sizeBytes: number }
  | { readonly kind: 'skipped'; readonly path: string; readonly reason: string; readonly advice: string };

export interface LocalFiles {
  /** Links are followed; undefined when nothing is there. */
  kindOf(path: string): Promise<LocalKind | undefined>;
  sizeOf(path: string): Promise<number>;
  /** The last part of the path made absolute: the folder's own name for "."; empty for "/". */
  baseNameOf(path: string): string;
  join(folder: string, name: string): string;
  /** Throws DfsError: `not-found`, `failed` (unreadable), `invalid` (not a regular file). */
  open(path: string): Promise<LocalSource>;
  /** Every file below a folder; `name` is relative with "/" between. Links to files are followed, to folders not. */
  walk(folder: string): AsyncIterable<WalkedEntry>;
  /** Creates missing folders on the way. Throws DfsError `failed` or `no-space`. */
  create(target: string): Promise<LocalTarget>;
  readText(path: string): Promise<string>;
  /** A new private folder under the system's temporary one. */
  makeTemporaryFolder(): Promise<string>;
  makeFolder(path: string): Promise<void>;
  removeFolder(path: string): Promise<void>;
}

export interface ChildProcess {
  readonly pid: number;
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  stop(signal: 'SIGTERM' | 'SIGKILL'): void;
}

export interface Processes {
  /** Starts one of this package's programs in a session of its own; what it says goes to `logFile`. */
  start(
    program: 'dfs-master' | 'dfs-peer',
    options: { args: readonly string[]; logFile: string },
  ): Promise<ChildProcess>;
  /** Runs `dfs` of this package to its end. */
  run(args: readonly string[], input: Uint8Array): Promise<{ readonly code: number; readonly notes: string }>;
  /** How the user called this program, to be repeated in advice: "dfs" or "bin/dfs". */
  readonly ownCommand: string;
}

/** Small pieces of work, so many of them at the same time. */
export interface SmallWork {
  readonly count: number;
  readonly sizeBytes: number;
  readonly inFlight: number;
}

/**
 * How long this machine takes, in milliseconds, for the moves of bytes that a store cannot do without: no protocol,
 * over loopback, below one folder.
 */
export interface MachineLimits {
  /** To a process that writes a file and sends it on to another that writes one too; synced by both. */
  twoHopsMs(sizeBytes: number): Promise<number>;
  /** Two files, side by side, both synced. */
  twoCopiesMs(sizeBytes: number): Promise<number>;
  /** From a process that reads a file. */
  oneHopMs(sizeBytes: number): Promise<number>;
  /** Values put into LMDB, each durable when it counts. */
  putsMs(work: SmallWork): Promise<number>;
  /** Answers of so many bytes from another process, over one connection, each looked at by its checksum. */
  echoesMs(work: SmallWork): Promise<number>;
  /** `node -e ''`. */
  startMs(): Promise<number>;
}
