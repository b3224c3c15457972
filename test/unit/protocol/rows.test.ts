/** Rows come back as they went, may be joined, and refuse what does not fit. */
import { describe, expect, test } from 'vitest';
import { isRefusal } from '../../../src/core/errors.js';
import {
  decodeIdRows,
  decodeKeyRows,
  decodeListRows,
  encodeIdRows,
  encodeKeyRows,
  encodeListRows,
} from '../../../src/protocol/rows.js';
import { patterned } from './raw-frames.js';

const version = { epoch: 3 * 2 ** 32 + 7, counter: 129 };
const listRows = [
  { name: 'a', version, size: 0, segments: 1, checksum: patterned(8), modifiedAtMs: 1_700_000_000_000 },
  {
    name: 'ü/🐟\n',
    version: { epoch: 0, counter: 0 },
    size: Number.MAX_SAFE_INTEGER,
    segments: 1024 * 1024,
    checksum: patterned(8),
    modifiedAtMs: 0,
    contentType: 'text/plain',
  },
];
const keyRows = [{ key: patterned(1033), version, idsHash: patterned(8) }];
const idRows = [
  { id: patterned(16), version, contentHash: patterned(8) },
  { id: patterned(16).reverse(), version, contentHash: patterned(8).reverse() },
];

interface RowsCase {
  readonly what: string;
  readonly bytes: Uint8Array;
  readonly rows: readonly object[];
  readonly decode: (bytes: Uint8Array) => readonly object[];
}

const cases: readonly RowsCase[] = [
  { what: 'list rows', bytes: encodeListRows(listRows), rows: listRows, decode: decodeListRows },
  { what: 'key rows', bytes: encodeKeyRows(keyRows), rows: keyRows, decode: decodeKeyRows },
  { what: 'id rows', bytes: encodeIdRows(idRows), rows: idRows, decode: decodeIdRows },
];

describe.each(cases)('$what', ({ bytes, rows, decode }) => {
  test('come back as they went', () => {
    expect(decode(bytes)).toEqual(rows);
    expect(decode(new Uint8Array(0))).toEqual([]);
  });

  test('may be joined byte by byte', () => {
    expect(decode(Buffer.concat([bytes, bytes]))).toEqual([...rows, ...rows]);
  });

  test('cut anywhere within a row they are refused', () => {
    let whole = 0;
    for (let end = 0; end < bytes.length; end++) {
      try {
        expect(decode(bytes.subarray(0, end)).length).toBeLessThan(rows.length);
        whole++;
      } catch (error) {
        expect(isRefusal(error, 'invalid')).toBe(true);
      }
    }
    expect(whole).toBe(rows.length);
  });
});

describe('rows from outside', () => {
  test('a name that is too long or no UTF-8 is refused', () => {
    const long = encodeListRows([{ ...(listRows[0] as (typeof listRows)[0]), name: 'x'.repeat(1025) }]);
    expect(() => decodeListRows(long)).toThrow('above 1024');
    expect(() => decodeListRows(Uint8Array.of(1, 0xff, 0, 0))).toThrow('not UTF-8');
  });

  test('a number above 2^53 or without end is refused', () => {
    const head = [1, 0x61]; // the name "a"; its version follows
    expect(() => decodeListRows(Uint8Array.of(...head, ...new Uint8Array(20).fill(0xff)))).toThrow('above');
    const above = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10];
    expect(() => decodeListRows(Uint8Array.of(...head, ...above))).toThrow('above');
  });
});
