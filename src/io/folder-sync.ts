/**
 * Makes the entries of a folder durable: one fsync serves everyone who asked before it began.
 */
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

export class FolderSync {
  readonly #folder: FileHandle;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(folder: FileHandle) {
    this.#folder = folder;
  }

  /** Resolves after an fsync that began after this call. */
  sync(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    // The fsync under way may have begun before the caller's entry was made; only the one after it counts.
    this.#next ??= this.#running.then(
      () => this.#startNext(),
      () => this.#startNext(),
    );
    return this.#next;
  }

  async close(): Promise<void> {
    await this.#folder.close();
  }

  #startNext(): Promise<void> {
    this.#next = undefined;
    return this.#start();
  }

  #start(): Promise<void> {
    const running = this.#folder.sync().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}
