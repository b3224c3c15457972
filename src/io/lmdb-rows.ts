/** Rows as LMDB's library hands them out, and as it wants them. */

const heapBytesMax = 64; // of the engine: so many of an array lie on its own heap, until its `buffer` is asked for

/** The library hands out Buffers, whose `slice` does not copy: whoever changes one would change the other. */
export function plain(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= heapBytesMax) return new Uint8Array(bytes);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function copyOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes);
}

/** The items of as many rows as fit `bytesMax`, of which the last may go beyond it. */
export function take<Row, Item>(
  rows: Iterable<Row>,
  of: { toItem: (row: Row) => Item; sizeOf: (row: Row) => number; bytesMax?: number },
): Item[] {
  const items: Item[] = [];
  const bytesMax = of.bytesMax ?? Infinity;
  let bytes = 0;
  for (const row of rows) {
    items.push(of.toItem(row));
    bytes += of.sizeOf(row);
    if (bytes >= bytesMax) break;
  }
  return items;
}
