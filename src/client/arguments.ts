/**
 * Checks of what callers hand in besides names, so that a mistake is told before anything is sent. All throw DfsError
 * `invalid`.
 */
import { refuse } from '../core/errors.js';
import { parseVersion, type Version } from '../core/ids.js';
import { limits } from '../core/limits.js';

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

export function versionOf({ ifVersion }: { readonly ifVersion?: string }): Version | undefined {
  return ifVersion === undefined ? undefined : checkVersion(ifVersion);
}

export function checkSizeOption(size: number | undefined): number | undefined {
  if (size !== undefined && !(Number.isSafeInteger(size) && size >= 0)) {
    refuse('invalid', `A size is a whole number of bytes; got ${size}`);
  }
  return size;
}

export function checkRange(start: number, end: number | undefined): void {
  const isWhole = Number.isSafeInteger(start) && (end === undefined || Number.isSafeInteger(end));
  if (!isWhole || start < 0 || (end !== undefined && end < start)) {
    refuse('invalid', `A range has 0 ≤ start ≤ end in whole bytes; got ${start} to ${end}`);
  }
}
