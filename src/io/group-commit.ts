/**
 * Gathers bodies into commits: those given while a commit is in flight share the next one.
 *
 * One group is one commit of the database: it is durable for all of its callers or for none. A body that throws fails
 * its own caller only. What a failed commit means is judged by whoever made this.
 */
import { assert, assertDefined } from '../core/assert.js';
import { type DfsError, StorageFailure } from '../core/errors.js';

const groupMsMax = 20; // bounds how long one group holds the event loop: bodies differ widely in what they do
const groupBodiesMax = 512;
const groupBytesMax = 8 * 1024 * 1024; // bounds how long its sync takes
const stuckCommitMs = 60_000; // far beyond any working disk
const committedInPart = 'The index committed a group although it had refused one of its writes';

/** A body that has run and whose writes are applied: all it needs is the commit. */
export interface Ran<T> {
  readonly result: T;
  readonly bytesWritten: number;
}

/** The database refused a write midway: nothing of this group may be committed. */
export class WriteFault extends Error {
  override name = 'WriteFault';
}

interface Waiting {
  /** Runs the body. Answers how many bytes it wrote; undefined when it threw and its caller knows. */
  readonly run: () => number | undefined;
  readonly succeed: () => void;
  readonly fail: (error: unknown) => void;
}

interface Group {
  readonly callers: Waiting[];
  fault?: unknown;
}

export interface Committer {
  /** Runs `bodies` inside one transaction and resolves when that is durable; rejects when it had no effect. */
  commit(bodies: () => void): Promise<void>;
  /** What a failed commit means: `no-space` lets the others go on, a StorageFailure is the end. Never rejects. */
  judge(fault: unknown): Promise<DfsError | StorageFailure>;
}

export class GroupCommit {
  readonly #committer: Committer;
  #waiting: Waiting[] = [];
  #committing: Promise<void> | undefined;
  /** Why nothing can be promised any more. */
  #failure: StorageFailure | undefined;
  #isClosed = false;

  constructor(committer: Committer) {
    this.#committer = committer;
  }

  /** `run` throws WriteFault when the whole group must fail, anything else when only this caller must. */
  submit<T>(run: () => Ran<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      assert(!this.#isClosed, 'A closed index is not written to');
      if (this.#failure !== undefined) return reject(this.#failure);
      this.#waiting.push(toWaiting(run, { resolve, reject }));
      this.#committing ??= this.#commitAll();
    });
  }

  /** Resolves when what was submitted has ended; nothing more is taken. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#committing;
  }

  async #commitAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#commitGroup();
    this.#committing = undefined;
  }

  async #commitGroup(): Promise<void> {
    const group: Group = { callers: [] };
    try {
      await inTime(this.#committer.commit(() => this.#runGroup(group)));
    } catch (error) {
      return this.#onFailedCommit(group, error);
    }
    if (group.fault !== undefined) return this.#onFailedCommit(group, new StorageFailure(committedInPart));
    for (const caller of group.callers) caller.succeed();
  }

  #runGroup(group: Group): void {
    let bytesWritten = 0;
    const endMs = performance.now() + groupMsMax;
    const hasRoom = (): boolean => group.callers.length < groupBodiesMax && bytesWritten < groupBytesMax;
    while (this.#waiting.length > 0 && hasRoom() && performance.now() < endMs) {
      const waiting = assertDefined(this.#waiting.shift(), 'The queue is not empty');
      try {
        const written = waiting.run();
        if (written === undefined) continue;
        group.callers.push(waiting);
        bytesWritten += written;
      } catch (error) {
        group.callers.push(waiting);
        group.fault = error;
        return;
      }
    }
  }

  async #onFailedCommit(group: Group, fault: unknown): Promise<void> {
    const error = fault instanceof StorageFailure ? fault : await this.#committer.judge(group.fault ?? fault);
    if (error instanceof StorageFailure) {
      this.#failure = error;
      for (const waiting of this.#waiting.splice(0)) waiting.fail(error);
    }
    for (const caller of group.callers) caller.fail(error);
  }
}

function toWaiting<T>(
  run: () => Ran<T>,
  caller: { resolve: (result: T) => void; reject: (error: unknown) => void },
): Waiting {
  let ran: Ran<T> | undefined;
  return {
    run(): number | undefined {
      try {
        ran = run();
        return ran.bytesWritten;
      } catch (error) {
        if (error instanceof WriteFault) throw error;
        caller.reject(error);
        return undefined;
      }
    },
    succeed: () => caller.resolve(assertDefined(ran, 'What is committed has run').result),
    fail: caller.reject,
  };
}

/**
 * Rejects when the commit does not end: the disk hangs, or the database has locked itself after a failed write. Looks
 * twice, so that a process that was paused for long is not taken for one whose disk hangs.
 */
async function inTime(commit: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const stuck = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      timer = setTimeout(() => reject(new StorageFailure('A commit to the index did not end')), stuckCommitMs / 2);
    }, stuckCommitMs / 2);
  });
  try {
    await Promise.race([commit, stuck]);
  } finally {
    clearTimeout(timer);
  }
}
