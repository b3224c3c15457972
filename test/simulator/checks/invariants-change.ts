/**
 * What must hold of every change of a slot, whatever became of it: one request id has one effect, and what was taken
 * back is with no member any more.
 */
import { formatVersion, toHex, type Version } from '../../../src/core/ids.js';
import type { Moment } from '../../../src/core/probe.js';
import { keyText } from '../../../src/peer/entry.js';
import { type HeldEntry, nameOfKey, type WatchedDisk } from './monitor-disk.js';

type At<P extends Moment['point']> = Extract<Moment, { point: P }>;

export class ChangeWatch {
  readonly #complain: (text: string) => void;
  /** By key and request id: the version that is its effect. */
  readonly #effects = new Map<string, string>();
  /** By key and version: the request that wrote it, as any disk ever said. */
  readonly #requests = new Map<string, string>();
  /** "key version" of changes that their primary has taken back everywhere. */
  readonly #takenBack = new Set<string>();

  constructor(complain: (text: string) => void) {
    this.#complain = complain;
  }

  /** A request id became durable somewhere. */
  onId(key: string, { request, version }: { readonly request: string; readonly version: string }): void {
    this.#requests.set(`${key} ${version}`, request);
  }

  /** What a new primary holds is the slot's, and the effect of the request that wrote it, id or no id. */
  onAdopted(key: string, version: string): void {
    const request = this.#requests.get(`${key} ${version}`);
    if (request === undefined) return;
    const effect = `${key} ${request}`;
    if (!this.#effects.has(effect)) this.#effects.set(effect, version);
  }

  noteEffect(who: string, moment: At<'ownEntryCommitted' | 'acknowledging'>, does: string): void {
    if (moment.requestId === undefined) return;
    const key = keyText(moment.key);
    const version = formatVersion(moment.version);
    const id = toHex(moment.requestId);
    const known = this.#effects.get(`${key} ${id}`);
    if (known === undefined) this.#effects.set(`${key} ${id}`, version);
    else if (known !== version) {
      this.#complain(`${who} ${does} ${version} of ${nameOfKey(key)} for request ${id}, whose effect was ${known}`);
    }
  }

  /** A change is about to be refused: nobody whom readers may ever see holds it (F8). */
  onRolledBack(who: string, moment: At<'rolledBack'>, members: readonly WatchedDisk[]): void {
    const key = keyText(moment.key);
    const change = changeOf(key, moment.version);
    this.#takenBack.add(change);
    for (const { host, entries } of members) {
      const held = entries.get(key);
      if (held === undefined || changeOf(key, held.version) !== change) continue;
      const what = `${formatVersion(moment.version)} of ${nameOfKey(key)}`;
      this.#complain(`${who} refuses ${what}, which ${host} holds and is in sync`);
    }
  }

  /** A write of a member's index became durable. */
  onEntry({ host }: WatchedDisk, key: string, after: HeldEntry | undefined): void {
    if (after === undefined || !this.#takenBack.has(changeOf(key, after.version))) return;
    const what = `${formatVersion(after.version)} of ${nameOfKey(key)}`;
    this.#complain(`${host} stores ${what}, which was taken back`);
  }
}

function changeOf(key: string, version: Version): string {
  return `${key} ${formatVersion(version)}`;
}
