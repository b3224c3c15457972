/** Untrusted msgpack is judged before it is decoded. */
import { Packr } from 'msgpackr/pack';
import { describe, expect, test } from 'vitest';
import { isRefusal } from '../../../src/core/errors.js';
import { packPlain, unpackPlain } from '../../../src/protocol/codec.js';
import { Seeded } from '../../contract/seeded.js';

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));
const ascii = (text: string): string => Buffer.from(text).toString('hex');
const key = (text: string): string => (0xa0 + text.length).toString(16) + ascii(text);

function refusalOf(bytes: Uint8Array): string {
  try {
    unpackPlain(bytes);
  } catch (error) {
    if (isRefusal(error, 'invalid')) return error.message;
    throw error;
  }
  return 'accepted';
}

const bombs: readonly [what: string, bytes: Uint8Array, answer: RegExp][] = [
  ['nothing', hex(''), /not a map/],
  ['a list instead of a map', hex('90'), /not a map/],
  ['a number instead of a map', hex('01'), /not a map/],
  ['a list of 2^31 entries', hex(`81 ${key('a')} dd 80000000`), /entries/],
  ['a list of 2^32-1 entries', hex(`81 ${key('a')} dd ffffffff`), /entries/],
  ['a map of 2^31 entries', hex('df 80000000'), /entries/],
  ['a map of a million entries, all there', millionKeys(), /entries/],
  ['many small lists that together pass the budget', hex(`81 ${key('a')} dc 0fa0 ${'91c0'.repeat(4000)}`), /entries/],
  ['nesting of 10,000', hex(`81 ${key('a')} ${'91'.repeat(10_000)} c0`), /nested deeper/],
  ['nesting of 10,000 maps', hex(`${`81${key('a')}`.repeat(10_000)} c0`), /nested deeper/],
  ['an extension type (a date)', hex(`81 ${key('a')} d6 ff 00000000`), /extension/],
  ['an extension of 4 GiB', hex(`81 ${key('a')} c9 ffffffff 01`), /extension/],
  ['a record structure', hex(`81 ${key('a')} d4 72 40`), /extension/],
  ['the type that is never used', hex(`81 ${key('a')} c1`), /extension or unknown/],
  ['a __proto__ key', hex(`81 ${key('__proto__')} 80`), /__proto__/],
  ['a __proto__ key deep inside', hex(`81 ${key('a')} 91 81 ${key('__proto__')} 80`), /__proto__/],
  ['a __proto__ key in a long form', hex(`81 da 0009 ${ascii('__proto__')} 80`), /__proto__/],
  ['a key that is a number', hex('81 01 02'), /not text/],
  ['a key that is bytes', hex('81 c4 01 61 02'), /not text/],
  ['text that runs past the end', hex(`81 ${key('a')} db ffffffff 61`), /ends in the middle/],
  ['bytes that run past the end', hex(`81 ${key('a')} c6 ffffffff 61`), /ends in the middle/],
  ['an end in the middle', hex(`82 ${key('a')} 01`), /not text|ends in the middle/],
  ['bytes after the map', hex(`81 ${key('a')} 01 c0`), /after/],
  ['text that is not UTF-8', hex(`81 ${key('a')} a2 c080`), /UTF-8/],
  ['a lone surrogate in UTF-8', hex(`81 ${key('a')} a3 eda080`), /UTF-8/],
];

function millionKeys(): Uint8Array {
  const one = (index: number): string => `a6${ascii(index.toString(16).padStart(6, '0'))}c0`;
  return hex(`df000f4240${Array.from({ length: 1_000_000 }, (_, index) => one(index)).join('')}`);
}

describe('plain msgpack', () => {
  test.each(bombs)('%s is refused', (_, bytes, answer) => {
    expect(refusalOf(bytes)).toMatch(answer);
  });

  test('a refused bomb costs neither memory nor time', () => {
    const bytes = hex(`81 ${key('a')} dd ffffffff`);
    const before = process.memoryUsage().rss;
    const beginMs = performance.now();
    for (let time = 0; time < 2000; time++) refusalOf(bytes);
    expect(performance.now() - beginMs).toBeLessThan(2000);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });

  test('a key that only ends in __proto__ is a key', () => {
    expect(unpackPlain(hex(`81 ${key('x__proto__')} 01`))).toEqual({ x__proto__: 1 });
  });

  test('what was packed comes back, and is nothing but plain msgpack', () => {
    const value = {
      text: 'Grüße 🐟',
      empty: '',
      yes: true,
      small: 7,
      large: Number.MAX_SAFE_INTEGER,
      part: 1.25,
      bytes: new Uint8Array([1, 2, 3]),
      list: [1, [2, { three: 3 }]],
      map: { constructor: 'a', toString: 'b' },
    };
    expect(unpackPlain(packPlain(value))).toEqual(value);
    expect(unpackPlain(packPlain({}))).toEqual({});
  });

  test('an absent field is null on the wire and binary fields are copies', () => {
    expect(unpackPlain(packPlain({ a: undefined }))).toEqual({ a: null });
    const source = Buffer.from(packPlain({ id: new Uint8Array(16) }));
    const { id } = unpackPlain(source) as { id: Uint8Array };
    expect(id.constructor).toBe(Uint8Array);
    expect(id.buffer.byteLength).toBe(16);
  });

  test('whole numbers of every width from other encoders are numbers', () => {
    const numbers = `cc80 cd8000 ce80000000 cf0000010000000000 d0ff d1fffe d2fffffffd d3fffffffffffffffc`;
    expect(unpackPlain(hex(`81 ${key('a')} 98 ${numbers}`))).toEqual({
      a: [128, 32768, 2 ** 31, 2 ** 40, -1, -2, -3, -4],
    });
  });

  test('keys that look alike from their ends stay themselves', () => {
    for (const name of ['axb', 'ayb', 'axb', 'aäb', 'a\u00e3b', 'axxb', 'ayyb', '', 'a']) {
      expect(unpackPlain(packPlain({ [name]: name }))).toEqual({ [name]: name });
    }
    unpackPlain(packPlain({ abcde: 1 }));
    expect(refusalOf(hex(`81 a5 ${ascii('abcd')}`))).toMatch(/ends in the middle/);
    expect(refusalOf(hex(`81 a5 ${ascii('abcde')}`))).toMatch(/ends in the middle/);
  });

  test('whatever was packed is read as the library reads it', () => {
    const library = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });
    const chance = new Seeded(1);
    const value = (depth: number): unknown => {
      const kind = chance.below(depth > 3 ? 7 : 9);
      if (kind === 0) return chance.pick([null, true, false]);
      if (kind === 1) return Math.floor(2 ** chance.between(0, 53)) * chance.pick([1, -1]);
      if (kind === 2) return chance.between(-1e9, 1e9);
      if (kind < 6) return chance.pick(['a', 'ä🐟', 'z'.repeat(40), 'y'.repeat(70_000), '\ufeffbom', '']);
      if (kind === 6) return new Uint8Array(chance.below(300)).fill(7);
      const items = Array.from({ length: chance.below(chance.pick([3, 20])) }, () => value(depth + 1));
      return kind === 7 ? items : Object.fromEntries(items.map((item, at) => [`key${'é'.repeat(at % 3)}${at}`, item]));
    };
    for (let time = 0; time < 500; time++) {
      const packed = packPlain({ value: value(0), again: value(0) });
      expect(unpackPlain(Buffer.from(packed))).toEqual(library.unpack(packed));
    }
  });
});
