/**
 * The order of names: by their UTF-8 bytes, which is the order of code points, told from the strings themselves.
 *
 * JavaScript compares UTF-16 units; the two orders differ only where a surrogate meets a unit above it.
 */
const surrogatesFrom = 0xd800;
const surrogatesTo = 0xdfff;

/** Moves surrogates, which stand for the highest code points, above every other unit. */
function rank(unit: number): number {
  if (unit < surrogatesFrom) return unit;
  return unit <= surrogatesTo ? unit + 0x10000 : unit;
}

/** Negative when `a` comes first, 0 when they are the same; both well-formed. */
export function compareUtf8(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at++) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}
