/**
 * How the master's small files are laid out: magic, format version, length and checksum before the content, so that a
 * torn, foreign, damaged or newer file is told apart from a good one, each with its own sentence.
 *
 * Layout, big endian: 8 bytes magic "dfs-mstr", u32 format version, u32 content length, u64 xxh64 of the content.
 */
import { xxh64 } from '../core/checksum.js';
import { DaemonStop, exitCodes } from '../core/errors.js';
import type { SmallFiles } from '../core/storage.js';

const magic = Buffer.from('dfs-mstr', 'latin1');
const headerBytes = 24;
const formatVersion = 1;

export function seal(content: Uint8Array): Uint8Array {
  const sealed = Buffer.alloc(headerBytes + content.length);
  sealed.set(magic, 0);
  sealed.writeUInt32BE(formatVersion, 8);
  sealed.writeUInt32BE(content.length, 12);
  sealed.writeBigUInt64BE(xxh64(content), 16);
  sealed.set(content, headerBytes);
  return sealed;
}

/** The content; throws DaemonStop with a sentence that names the file and what to do. */
export function unseal(name: string, bytes: Uint8Array): Uint8Array {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (file.length < headerBytes || !file.subarray(0, magic.length).equals(magic)) return damaged(name, 'it is not one');
  const version = file.readUInt32BE(8);
  if (version > formatVersion) {
    throw new DaemonStop(
      exitCodes.configuration,
      `The file ${name} in the data folder has format ${version}; this version reads up to ${formatVersion}. ` +
        'Start the newer dfs-master that wrote it',
    );
  }
  const content = file.subarray(headerBytes);
  if (file.readUInt32BE(12) !== content.length) return damaged(name, 'its length is wrong');
  if (file.readBigUInt64BE(16) !== xxh64(content)) return damaged(name, 'its checksum does not match');
  return content;
}

function damaged(name: string, how: string): never {
  throw new DaemonStop(
    exitCodes.storage,
    `The file ${name} in the data folder is damaged: ${how}. Nothing was started over it. ` +
      'Bring back a good copy of the folder; the peers still hold every file',
  );
}

export async function readSealed(files: SmallFiles, name: string): Promise<Uint8Array | undefined> {
  const bytes = await files.read(name);
  return bytes === undefined ? undefined : unseal(name, bytes);
}

export function replaceSealed(files: SmallFiles, name: string, content: Uint8Array): Promise<void> {
  return files.replace(name, seal(content));
}
