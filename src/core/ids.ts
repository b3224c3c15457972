/**
 * The identities the protocol speaks of, and how each is written down.
 *
 * An epoch is (generation, number) in one safe integer, so that epochs compare with `<`; only a recovery of the map
 * raises the generation (rule F14). A version is (slotEpoch at the write, counter): the counter never falls within a
 * term and the epoch rises with every term, so no version ever names two contents (F27).
 */
import { readU16, readU32, writeU16, writeU32 } from './big-endian.js';

export type ClusterId = string; // 32 hex digits
export type StoreId = string; // 32 hex digits, random, written when a data folder is formatted
export type PeerId = string; // "p1", "p2", … given by the master
export type SlotNumber = number;
export type Epoch = number;
export type Address = string; // "host:port"

const generationSize = 2 ** 32;
/** So that every epoch of the last generation is a safe integer. */
export const generationMax = 2 ** 21 - 1;

export function toEpoch(parts: { generation: number; number: number }): Epoch {
  return parts.generation * generationSize + parts.number;
}

export function generationOf(epoch: Epoch): number {
  return Math.floor(epoch / generationSize);
}

export interface Version {
  readonly epoch: Epoch;
  readonly counter: number;
}

export const noVersion: Version = { epoch: 0, counter: 0 };

/** Negative when `a` is older than `b`, 0 when equal, positive when newer. */
export function compareVersions(a: Version, b: Version): number {
  return a.epoch - b.epoch || a.counter - b.counter;
}

/** The form users see and pass back as `ifVersion`: "17.42". */
export function formatVersion(version: Version): string {
  return `${version.epoch}.${version.counter}`;
}

export function parseVersion(text: string): Version | undefined {
  const match = /^(\d{1,16})\.(\d{1,16})$/.exec(text);
  if (!match) return undefined;
  const version = { epoch: Number(match[1]), counter: Number(match[2]) };
  return Number.isSafeInteger(version.epoch) && Number.isSafeInteger(version.counter) ? version : undefined;
}

/** 16 bytes: 6 of time (ms, big endian, by the cluster's clock), 10 random. Names requests and uploads. */
export type TimedId = Uint8Array;

export const timedIdBytes = 16;

export function toTimedId(parts: { atMs: number; random: Uint8Array }): TimedId {
  const id = new Uint8Array(timedIdBytes);
  writeU16(id, 0, Math.floor(parts.atMs / 2 ** 32));
  writeU32(id, 2, parts.atMs >>> 0);
  id.set(parts.random.subarray(0, 10), 6);
  return id;
}

/** The time a request or upload id carries, in ms by the cluster's clock. */
export function timeOfId(id: TimedId): number {
  return readU16(id) * 2 ** 32 + readU32(id, 2);
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}
