/**
 * File contents that prove themselves: the first line says who wrote what under which name, the rest follows from it.
 */

export interface BodyClaim {
  readonly name: string;
  /** Unique to one write of one name. */
  readonly value: string;
  readonly sizeBytes: number;
}

const fillBytes = 4096;

/** The whole content for a claim; at least as long as its first line. */
export function makeBody(claim: BodyClaim): Uint8Array {
  const line = Buffer.from(`${JSON.stringify([claim.name, claim.value, claim.sizeBytes])}\n`);
  const body = Buffer.alloc(Math.max(claim.sizeBytes, line.length));
  line.copy(body);
  const fill = fillFor(claim.value, Math.min(body.length - line.length, fillBytes));
  for (let start = line.length, page = 0; start < body.length; start += fillBytes, page++) {
    fill.writeUInt32BE(page); // so that two pages of one body never look the same
    fill.copy(body, start);
  }
  return body;
}

/** The value these bytes were written as; throws with a sentence when they are not whole and unharmed. */
export function valueOfBody(body: Uint8Array, name: string): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const lineEnd = bytes.indexOf(0x0a);
  if (lineEnd < 0 || lineEnd > 4096) throw new Error(`${bytes.length} bytes with no first line`);
  const [claimedName, value, sizeBytes] = JSON.parse(bytes.subarray(0, lineEnd).toString()) as [string, string, number];
  if (claimedName !== name) throw new Error(`Bytes of ${claimedName}`);
  const expected = makeBody({ name, value, sizeBytes });
  if (expected.length !== bytes.length)
    throw new Error(`${bytes.length} bytes of ${value} instead of ${expected.length}`);
  if (Buffer.compare(bytes, expected) === 0) return value;
  const at = expected.findIndex((byte, index) => byte !== bytes[index]);
  throw new Error(`${value} differs from byte ${at} on`);
}

/** At least so many bytes; the same ones for each value. */
function fillFor(value: string, sizeBytes: number): Buffer {
  let state = 0x9e3779b9;
  for (const byte of Buffer.from(value)) state = Math.imul(state ^ byte, 0x01000193) >>> 0;
  const words = new Uint32Array(Math.max(1, Math.ceil(sizeBytes / 4)));
  for (let index = 0; index < words.length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return Buffer.from(words.buffer);
}
