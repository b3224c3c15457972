/**
 * Who learns what of a commit: of one that ends well, badly, in part, or not at all.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DfsError, StorageFailure } from '../../../src/core/errors.js';
import { type Committer, GroupCommit, type Ran, WriteFault } from '../../../src/io/group-commit.js';

interface Flight {
  readonly bodies: () => void;
  succeed(): void;
  fail(error: unknown): void;
}

/** A database whose commits end when the test says so. */
class ManualCommitter implements Committer {
  readonly flights: Flight[] = [];
  verdict: DfsError | StorageFailure = new StorageFailure('broken');

  commit(bodies: () => void): Promise<void> {
    return new Promise((succeed, fail) => this.flights.push({ bodies, succeed, fail }));
  }

  async judge(): Promise<DfsError | StorageFailure> {
    return this.verdict;
  }

  /** Runs the bodies of the newest commit, as the database does some time after it was asked. */
  run(): Flight {
    const flight = this.flights.at(-1);
    if (flight === undefined) throw new Error('Nobody asked for a commit');
    flight.bodies();
    return flight;
  }
}

let committer: ManualCommitter;
let commits: GroupCommit;

beforeEach(() => {
  committer = new ManualCommitter();
  commits = new GroupCommit(committer);
});

const body =
  (result: string, bytesWritten = 10): (() => Ran<string>) =>
  () => ({ result, bytesWritten });

describe('a group', () => {
  it('ends after a body that took long: the event loop is needed elsewhere', async () => {
    let nowMs = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    const slow = commits.submit(() => {
      nowMs += 1000;
      return body('slow')();
    });
    const next = commits.submit(body('next'));
    const flight = committer.run();
    clock.mockRestore();
    flight.succeed();
    expect(await slow).toBe('slow');
    await vi.waitFor(() => expect(committer.flights).toHaveLength(2));
    committer.run().succeed();
    expect(await next).toBe('next');
  });

  it('is everyone who came before the database ran it; who comes later is in the next', async () => {
    const first = [commits.submit(body('a')), commits.submit(body('b'))];
    const flight = committer.run();
    const later = commits.submit(body('c'));
    expect(committer.flights).toHaveLength(1);
    flight.succeed();
    expect(await Promise.all(first)).toEqual(['a', 'b']);
    await vi.waitFor(() => expect(committer.flights).toHaveLength(2));
    committer.run().succeed();
    expect(await later).toBe('c');
  });

  it('tells nobody before its commit', async () => {
    const told = vi.fn();
    const change = commits.submit(body('a')).then(told);
    const flight = committer.run();
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).not.toHaveBeenCalled();
    flight.succeed();
    await change;
    expect(told).toHaveBeenCalledWith('a');
  });

  it('is bounded in bodies and in bytes', async () => {
    const many = Array.from({ length: 600 }, (_, at) => commits.submit(body(`${at}`)));
    committer.run().succeed();
    expect(await Promise.all(many.slice(0, 512))).toHaveLength(512);
    await vi.waitFor(() => expect(committer.flights).toHaveLength(2));
    committer.run().succeed();
    await Promise.all(many);

    const large = Array.from({ length: 4 }, (_, at) => commits.submit(body(`${at}`, 4 * 1024 * 1024)));
    await vi.waitFor(() => expect(committer.flights).toHaveLength(3));
    committer.run().succeed();
    await Promise.all(large.slice(0, 2));
    await vi.waitFor(() => expect(committer.flights).toHaveLength(4));
    committer.run().succeed();
    await Promise.all(large);
  });
});

describe('a failed commit', () => {
  it('for want of space fails its callers only', async () => {
    committer.verdict = new DfsError('no-space', 'full');
    const change = commits.submit(body('a'));
    committer.run().fail(new Error('EIO'));
    await expect(change).rejects.toMatchObject({ code: 'no-space' });
    const next = commits.submit(body('b'));
    await vi.waitFor(() => expect(committer.flights).toHaveLength(2));
    committer.run().succeed();
    expect(await next).toBe('b');
  });

  it('for any other reason fails everyone from then on', async () => {
    const change = commits.submit(body('a'));
    const flight = committer.run();
    const waiting = commits.submit(body('b'));
    flight.fail(new Error('EIO'));
    await expect(change).rejects.toThrow(StorageFailure);
    await expect(waiting).rejects.toThrow(StorageFailure);
    await expect(commits.submit(body('c'))).rejects.toThrow(StorageFailure);
    expect(committer.flights).toHaveLength(1);
    await commits.close();
  });

  it('leaves the caller whose body threw with what it threw', async () => {
    const thrown = commits.submit<string>(() => {
      throw new Error('decided otherwise');
    });
    const change = commits.submit(body('a'));
    committer.run().fail(new Error('EIO'));
    await expect(thrown).rejects.toThrow('decided otherwise');
    await expect(change).rejects.toThrow(StorageFailure);
  });

  it('that the database took in part, after it refused a write, is the end', async () => {
    committer.verdict = new DfsError('no-space', 'never asked');
    const change = commits.submit(body('a'));
    const refused = commits.submit<string>(() => {
      throw new WriteFault('refused');
    });
    committer.run().succeed();
    await expect(change).rejects.toThrow(StorageFailure);
    await expect(refused).rejects.toThrow(StorageFailure);
  });
});

describe('a commit that does not end', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('is taken for a broken disk after a minute', async () => {
    const change = commits.submit(body('a'));
    committer.run();
    const failed = expect(change).rejects.toThrow('did not end');
    await vi.advanceTimersByTimeAsync(60_000);
    await failed;
  });

  it('while the process was paused is given time', async () => {
    const change = commits.submit(body('a'));
    const flight = committer.run();
    await vi.advanceTimersByTimeAsync(59_000);
    flight.succeed();
    expect(await change).toBe('a');
    expect(vi.getTimerCount()).toBe(0);
  });
});
