/**
 * What an error of a system call means to the storage: nothing there, no room, or a disk that broke.
 */
import { DfsError, StorageFailure } from '../core/errors.js';

/** The code of a failed system call, such as "ENOENT"; undefined for any other error. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

export function isAbsence(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/** No room on the disk, no quota left, or no inode. */
export function isFullDisk(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

export function isOutOfDescriptors(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'EMFILE' || code === 'ENFILE';
}

/** What to throw when a write failed: the caller may go on after `no-space` and `busy`, not after a StorageFailure. */
export function toWriteError(error: unknown, deed: string): DfsError | StorageFailure {
  if (error instanceof DfsError || error instanceof StorageFailure) return error;
  if (isFullDisk(error)) return new DfsError('no-space', `${deed}: the disk is full`, { cause: error });
  if (isOutOfDescriptors(error)) {
    return new DfsError('busy', `${deed}: too many open files`, {
      cause: error,
      advice: 'Raise the limit of open files (ulimit -n)',
    });
  }
  return toStorageFailure(error, deed);
}

export function toStorageFailure(error: unknown, deed: string): StorageFailure {
  if (error instanceof StorageFailure) return error;
  return new StorageFailure(`${deed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}
