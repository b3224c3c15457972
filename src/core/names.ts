/**
 * Which buckets and names are accepted; client and peer ask the same.
 *
 * A name is literal: "." and "a//b" are names like any other. NFC and NFD forms are different names.
 */
import { refuse } from './errors.js';
import { limits } from './limits.js';

const bucketPattern = /^[a-z0-9.-]+$/;

/** Returns the bucket, or throws DfsError `invalid`. */
export function checkBucket(bucket: string): string {
  const { bucketLengthMin, bucketLengthMax } = limits;
  if (typeof bucket !== 'string' || bucket.length < bucketLengthMin || bucket.length > bucketLengthMax) {
    refuse('invalid', `A bucket's name has ${bucketLengthMin} to ${bucketLengthMax} characters`, {
      advice: `Got ${JSON.stringify(bucket)}`,
    });
  }
  if (!bucketPattern.test(bucket)) {
    refuse('invalid', `Bucket ${JSON.stringify(bucket)} may hold only a–z, 0–9, "." and "-"`);
  }
  return bucket;
}

/** Returns the name, or throws DfsError `invalid`. */
export function checkName(name: string): string {
  if (typeof name !== 'string' || name === '') refuse('invalid', 'A file needs a name; this one is empty');
  // Three bytes a unit is the most that UTF-8 takes, so short names need no count.
  if (name.length * 3 > limits.nameBytesMax && Buffer.byteLength(name) > limits.nameBytesMax) {
    refuse(
      'invalid',
      `A name has at most ${limits.nameBytesMax} bytes of UTF-8; this one has ${Buffer.byteLength(name)}`,
    );
  }
  if (name.includes('\0')) refuse('invalid', `Name ${JSON.stringify(name)} holds a NUL character`);
  if (!name.isWellFormed()) {
    refuse('invalid', `Name ${JSON.stringify(name)} holds a lone surrogate, which UTF-8 cannot write`);
  }
  return name;
}

/** A prefix or a position in a listing: like a name, but it may be empty. */
export function checkPosition(text: string): string {
  return text === '' ? text : checkName(text);
}
