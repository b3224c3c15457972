/**
 * Which buckets, names, content types and metadata are accepted, told before anything is sent.
 *
 * A name is literal: "." and "a//b" are names like any other. NFC and NFD forms are different names.
 */
import { refuse } from '../core/errors.js';
import { parseVersion, type Version } from '../core/ids.js';
import { limits } from '../core/limits.js';

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

export function checkContentType(contentType: string): string {
  if (Buffer.byteLength(contentType) > limits.contentTypeBytesMax || !contentType.isWellFormed()) {
    refuse('invalid', `A content type is well-formed text of at most ${limits.contentTypeBytesMax} bytes`);
  }
  return contentType;
}

export function checkMetadata(metadata: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const pairs = Object.entries(metadata);
  if (pairs.length > limits.metadataEntriesMax) {
    refuse('invalid', `Metadata has at most ${limits.metadataEntriesMax} entries; this has ${pairs.length}`);
  }
  let totalBytes = 0;
  for (const [key, value] of pairs) {
    if (typeof value !== 'string') refuse('invalid', `Metadata ${JSON.stringify(key)} must be text`);
    if (!key.isWellFormed() || !value.isWellFormed()) {
      refuse('invalid', `Metadata ${JSON.stringify(key)} holds a lone surrogate, which UTF-8 cannot write`);
    }
    totalBytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (totalBytes > limits.metadataBytesMax) {
    refuse('invalid', `Metadata has at most ${limits.metadataBytesMax} bytes; this has ${totalBytes}`);
  }
  return metadata;
}

export function checkVersion(text: string): Version {
  return parseVersion(text) ?? refuse('invalid', `${JSON.stringify(text)} is not a version; they look like "17.42"`);
}
