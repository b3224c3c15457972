/**
 * Headers byte by byte: those that are no map of plain data, and one that is, though no dfs would write it so.
 *
 * The numbers are the first bytes of the msgpack specification's tokens.
 */

const [fixMap1, fixMap2, fixText1, fixText9] = [0x81, 0x82, 0xa1, 0xa9];
const [nil, bin32, ext8, text16, text32] = [0xc0, 0xc6, 0xc7, 0xda, 0xdb];
const [float32, list16, list32, map16, map32] = [0xca, 0xdc, 0xdd, 0xde, 0xdf];
/** One key, "a"; its value comes next. */
const keyA = [fixMap1, fixText1, 0x61];
const billions = [0x7f, 0xff, 0xff, 0xff];

export const malformedHeaders: readonly Uint8Array[] = [
  [0x93, 1, 2, 3], // a list
  [fixMap1, fixText1, 0x61, 1, 1], // more after the map
  [...keyA, ...Array<number>(40).fill(0x91), nil], // lists in lists in lists
  [...keyA, list32, ...billions],
  [...keyA, map32, ...billions],
  [...keyA, bin32, ...billions],
  [...keyA, text32, ...billions],
  [...keyA, ext8, 1, 5, 0],
  [fixMap1, 1, 1], // a key that is no text
  [fixMap1, fixText9, ...Buffer.from('__proto__'), 1],
  [fixMap1, fixText1, 0xff, 1], // no UTF-8
  [fixMap2, fixText1, 0x61, 1], // the second key is missing
].map((bytes) => Uint8Array.from(bytes));

/** Texts and numbers as another encoder may write them, and fields that nobody knows. */
export function unusualHeader(fields: Readonly<Record<string, string | number>>): Uint8Array {
  const entries = Object.entries(fields).map(([key, value]) =>
    Buffer.concat([text(key, false), typeof value === 'string' ? text(value, true) : Uint8Array.of(value)]),
  );
  const unknown = [
    [float32, 0x3f, 0, 0, 0],
    [bin32, 0, 0, 0, 1, 9],
    [list16, 0, 1, nil],
    [list32, 0, 0, 0, 1, 5],
    [map16, 0, 0],
  ].map((value, at) => Buffer.concat([text(`unknown-${at}`, false), Uint8Array.from(value)]));
  const all = [...entries, ...unknown];
  return Buffer.concat([Uint8Array.of(map32, 0, 0, 0, all.length), ...all]);
}

function text(value: string, isLong: boolean): Buffer {
  const bytes = Buffer.from(value);
  const head = isLong ? [text32, 0, 0, 0, bytes.length] : [text16, 0, bytes.length];
  return Buffer.concat([Uint8Array.from(head), bytes]);
}
