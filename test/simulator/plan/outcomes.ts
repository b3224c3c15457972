/**
 * What a client was told, in the checker's words.
 */
import { DfsError } from '../../../src/core/errors.js';
import type { Outcome } from '../../checker/history.js';
import { valueOfBody } from '../../failover/body.js';

/** Of a get that brought these bytes. */
export function seen(name: string, bytes: Uint8Array, version: string): Outcome {
  try {
    return { state: 'done', value: valueOfBody(bytes, name), version };
  } catch (error) {
    return { state: 'corrupt', complaint: `${(error as Error).message} (version ${version})` };
  }
}

/** Of a call that failed; what is no refusal is a bug. */
export function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof DfsError)) throw error;
  if (error.code === 'not-found') return { state: 'absent' };
  if (error.code === 'conflict') return { state: 'conflict' };
  return { state: error.code === 'unknown-outcome' ? 'unknown' : 'refused', code: error.code };
}
