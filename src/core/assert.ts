/**
 * Assertions for bugs: a condition that only our own code can break.
 *
 * Bytes from outside are never asserted; they are checked and refused (see errors.ts). A failed assertion ends the
 * process: going on with a broken invariant could acknowledge what is not safe.
 */
export class Bug extends Error {
  override name = 'Bug';
}

export function assert(condition: unknown, claim: string): asserts condition {
  if (!condition) throw new Bug(claim);
}

export function assertDefined<T>(value: T | undefined | null, claim: string): T {
  if (value === undefined || value === null) throw new Bug(claim);
  return value;
}
