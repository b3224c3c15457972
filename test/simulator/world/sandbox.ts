/**
 * Keeps a run inside its world: whatever tells real time, real chance or reaches real disks and networks throws.
 *
 * Pure uses stay: a Date made of a number tells nothing. What the simulator itself needs it took before
 * (virtual-clock.ts). Node's own inner workings do not go through what is replaced here.
 */
import childProcess from 'node:child_process';
import crypto from 'node:crypto';
import dns from 'node:dns';
import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import net from 'node:net';
import timers from 'node:timers';
import timersPromises from 'node:timers/promises';

type Functions = Record<string, unknown>;

/** Objects, and which of their functions no program in a simulation may call; undefined: every one. */
const forbidden: readonly (readonly [where: string, of: object, names: readonly string[] | undefined])[] = [
  ['', globalThis, ['setTimeout', 'setInterval', 'setImmediate', 'fetch', 'WebSocket', 'EventSource']],
  ['performance.', performance, ['now']],
  ['Math.', Math, ['random']],
  ['crypto.', globalThis.crypto, ['getRandomValues', 'randomUUID']],
  ['AbortSignal.', AbortSignal, ['timeout']],
  ['process.', process, ['hrtime', 'uptime']],
  ['timers.', timers, ['setTimeout', 'setInterval', 'setImmediate']],
  ['timers/promises.', timersPromises, ['setTimeout', 'setInterval', 'setImmediate']],
  ['crypto.', crypto, ['randomBytes', 'randomInt', 'randomUUID', 'randomFill', 'randomFillSync', 'getRandomValues']],
  ['net.', net, ['connect', 'createConnection', 'createServer']],
  ['dns.', dns, ['lookup', 'resolve']],
  ['child_process.', childProcess, ['spawn', 'spawnSync', 'exec', 'execSync', 'execFile', 'execFileSync', 'fork']],
  ['fs/promises.', fsPromises, undefined],
  // Standard output writes with these when it is a file.
  ['fs.', fs, namesOf(fs).filter((name) => name !== 'writeSync' && name !== 'closeSync')],
];

/** Of functions; not of classes, which Node itself looks up there. */
function namesOf(object: object): string[] {
  return Object.keys(object).filter((name) => {
    return typeof (object as Functions)[name] === 'function' && /^[a-z]/.test(name);
  });
}

/**
 * From now on each of them throws when it is called, and `report` is told first, since whoever calls may catch what is
 * thrown. Returns what makes all as it was.
 */
export function forbidRealWorld(report: (sentence: string) => void = () => undefined): () => void {
  const forbid = (name: string): never => {
    const sentence = `A simulated program called ${name}, which is of the real world`;
    report(sentence);
    throw new Error(sentence);
  };
  const undo: (() => void)[] = [forbidDates(forbid)];
  for (const [where, object, names = namesOf(object)] of forbidden) {
    for (const name of names) undo.push(replace(object, name, () => forbid(`${where}${name}`)));
  }
  syncBuiltinESMExports();
  return () => {
    for (const restore of undo.splice(0).reverse()) restore();
    syncBuiltinESMExports();
  };
}

function replace(object: object, name: string, by: unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(object, name);
  if (before !== undefined && !before.configurable) return () => undefined;
  Object.defineProperty(object, name, { value: by, configurable: true, writable: true, enumerable: true });
  return () => {
    if (before === undefined) delete (object as Functions)[name];
    else Object.defineProperty(object, name, before);
  };
}

function forbidDates(forbid: (name: string) => never): () => void {
  const RealDate = Date;
  const PureDate = new Proxy(RealDate, {
    apply: () => forbid('Date()'),
    construct: (target, args, newTarget) =>
      args.length === 0 ? forbid('new Date()') : Reflect.construct(target, args, newTarget),
    get: (target, name, receiver) =>
      name === 'now' ? () => forbid('Date.now()') : Reflect.get(target, name, receiver),
  });
  globalThis.Date = PureDate;
  return () => {
    globalThis.Date = RealDate;
  };
}
