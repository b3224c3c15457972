/**
 * Refusals on the wire: code, sentence and advice of a DfsError, and back.
 */
import { DfsError, type ErrorCode, isRefusal, refusals } from '../core/errors.js';
import { type Check, object, optional, text } from './checks.js';
import type { Header } from './codec.js';

const textBytesMax = 2000;
const check = object({
  code: text(40) as Check<ErrorCode>,
  message: text(textBytesMax),
  advice: optional(text(textBytesMax)),
});

export function toRefusalHeader(error: DfsError): Header {
  const header = { code: error.code, message: cut(error.message) };
  return error.advice === undefined ? header : { ...header, advice: cut(error.advice) };
}

/** A code this version does not know becomes `failed`. */
export function fromRefusalHeader(header: Header): DfsError {
  try {
    const { code, message, advice } = check(header, '');
    const known: ErrorCode = Object.hasOwn(refusals, code) ? code : 'failed';
    return new DfsError(known, message, advice === undefined ? {} : { advice });
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return new DfsError('failed', `A malformed refusal came back: ${error.message}`);
  }
}

function cut(text: string): string {
  const wellFormed = text.toWellFormed();
  if (Buffer.byteLength(wellFormed) <= textBytesMax) return wellFormed;
  return `${wellFormed.slice(0, textBytesMax / 4).toWellFormed()}…`;
}
