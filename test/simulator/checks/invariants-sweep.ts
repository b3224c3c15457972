/**
 * What must hold of sweeps: the primary's own entry goes last, when no member holds it any more (F19); one that stayed
 * behind would be swept by nobody.
 */
import { type Epoch, formatVersion, type Version } from '../../../src/core/ids.js';
import { type HeldEntry, nameOfKey, type WatchedDisk } from './monitor-disk.js';

interface Sweep {
  readonly version: string;
  /** Of the primary that began it, and the term in which it led. */
  readonly by: WatchedDisk;
  readonly term: Epoch;
}

export class SweepWatch {
  readonly #complain: (text: string) => void;
  /** "key version" of everything that a primary has begun to sweep. */
  readonly #begun = new Set<string>();
  /** By key: the last that was begun, and the version of the last that has ended. */
  readonly #last = new Map<string, Sweep>();
  readonly #ended = new Map<string, string>();

  constructor(complain: (text: string) => void) {
    this.#complain = complain;
  }

  begin(key: string, at: { readonly version: Version; readonly by: WatchedDisk; readonly term: Epoch }): void {
    const version = formatVersion(at.version);
    this.#begun.add(`${key} ${version}`);
    this.#last.set(key, { ...at, version });
  }

  /** Whether exactly this has been swept, or will be. */
  covers(key: string, { version }: HeldEntry): boolean {
    return this.#begun.has(`${key} ${formatVersion(version)}`);
  }

  /** An entry is gone from a disk, while `term` was the slot's newest. */
  onGone(
    key: string,
    at: { readonly disk: WatchedDisk; readonly term: Epoch | undefined; readonly members: readonly WatchedDisk[] },
  ): void {
    const sweep = this.#last.get(key);
    // A primary that was deposed in between may be made equal to the new one before others are.
    if (sweep?.by !== at.disk || sweep.term !== at.term) return;
    this.#ended.set(key, sweep.version);
    this.checkMembers(at.members, [key]);
  }

  /** No member keeps what its primary has swept: to be looked at whenever the set has changed, too. */
  checkMembers(members: readonly WatchedDisk[], keys: Iterable<string> = this.#ended.keys()): void {
    for (const key of keys) {
      const version = this.#ended.get(key);
      for (const { host, entries } of members) {
        const held = entries.get(key);
        if (held === undefined || formatVersion(held.version) !== version) continue;
        this.#complain(`${host} is in sync and keeps ${held.kind} ${version} of ${nameOfKey(key)}, which was swept`);
      }
    }
  }
}
