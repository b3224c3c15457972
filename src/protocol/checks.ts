/**
 * Checks for data from outside: each takes an unknown value and returns it typed, or throws a DfsError `invalid` that
 * names the field. Unknown extra fields are ignored, so that a newer sender can add some.
 */
import { refuse } from '../core/errors.js';

export interface Check<T> {
  (value: unknown, path: string): T;
  readonly isOptional?: boolean;
}

export type Checked<C> = C extends Check<infer T> ? T : never;
export type Shape = Readonly<Record<string, Check<unknown>>>;

type OptionalKeys<S extends Shape> = { [K in keyof S]: undefined extends Checked<S[K]> ? K : never }[keyof S];
export type CheckedShape<S extends Shape> = { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: Checked<S[K]> } & {
  readonly [K in OptionalKeys<S>]?: Exclude<Checked<S[K]>, undefined>;
};

function mismatch(path: string, wanted: string): never {
  return refuse('invalid', `Field ${path} must be ${wanted}`);
}

/** A string of at most `bytesMax` bytes of UTF-8 with no lone surrogates. */
export function text(bytesMax: number): Check<string> {
  return (value, path) => {
    if (typeof value !== 'string' || value.length > bytesMax || Buffer.byteLength(value) > bytesMax) {
      return mismatch(path, `text of at most ${bytesMax} bytes`);
    }
    if (!value.isWellFormed()) return mismatch(path, 'well-formed Unicode (it holds a lone surrogate)');
    return value;
  };
}

/** A whole number from 0 to `max`; never −0, NaN or beyond 2^53. */
export function count(max: number = Number.MAX_SAFE_INTEGER): Check<number> {
  return (value, path) =>
    typeof value === 'number' && Number.isSafeInteger(value) && !Object.is(value, -0) && value >= 0 && value <= max
      ? value
      : mismatch(path, `a whole number from 0 to ${max}`);
}

/** Any finite number. */
export function measure(): Check<number> {
  return (value, path) => (typeof value === 'number' && Number.isFinite(value) ? value : mismatch(path, 'a number'));
}

export function flag(): Check<boolean> {
  return (value, path) => (typeof value === 'boolean' ? value : mismatch(path, 'true or false'));
}

export function bytes(max: number): Check<Uint8Array> {
  return (value, path) =>
    value instanceof Uint8Array && value.length <= max ? value : mismatch(path, `at most ${max} bytes`);
}

export function exactBytes(size: number): Check<Uint8Array> {
  return (value, path) =>
    value instanceof Uint8Array && value.length === size ? value : mismatch(path, `exactly ${size} bytes`);
}

export function oneOf<const T extends string>(...choices: readonly T[]): Check<T> {
  return (value, path) =>
    choices.includes(value as T) ? (value as T) : mismatch(path, `one of ${choices.join(', ')}`);
}

export function list<T>(of: Check<T>, max: number): Check<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value) || value.length > max) return mismatch(path, `a list of at most ${max}`);
    return value.map((item, index) => of(item, `${path}[${index}]`));
  };
}

/** String keys to strings, such as user metadata. */
export function texts(limit: { entriesMax: number; bytesMax: number }): Check<Readonly<Record<string, string>>> {
  const one = text(limit.bytesMax);
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return mismatch(path, 'a map of texts');
    const pairs = Object.entries(value);
    if (pairs.length > limit.entriesMax) return mismatch(path, `a map of at most ${limit.entriesMax} texts`);
    let total = 0;
    const checked: Record<string, string> = Object.create(null);
    for (const [key, item] of pairs) {
      checked[one(key, `${path} key`)] = one(item, `${path}.${key}`);
      total += Buffer.byteLength(key) + Buffer.byteLength(item as string);
    }
    return total <= limit.bytesMax ? { ...checked } : mismatch(path, `a map of at most ${limit.bytesMax} bytes`);
  };
}

export function optional<T>(of: Check<T>): Check<T | undefined> {
  const check = (value: unknown, path: string): T | undefined =>
    value === undefined || value === null ? undefined : of(value, path);
  return Object.assign(check, { isOptional: true });
}

export function object<S extends Shape>(shape: S): Check<CheckedShape<S>> {
  const fields = Object.entries(shape);
  return (value, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return mismatch(path, 'a map');
    const checked: Record<string, unknown> = {};
    for (const [name, check] of fields) {
      const given = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
      const field = check(given, path === '' ? name : `${path}.${name}`);
      if (field !== undefined) checked[name] = field;
    }
    return checked as CheckedShape<S>;
  };
}
