/**
 * The log: JSON lines on standard error, or coloured lines when that is a terminal.
 *
 * Lines are written in the background: a reader of standard error that stalls must not stall the event loop. What is
 * not written by then is dropped beyond a bound, and the rest is flushed when the process exits.
 */
import pino from 'pino';
import pretty from 'pino-pretty';
import type { Log } from '../core/environment.js';

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LeveledLog extends Log {
  setLevel(level: LogLevel): void;
  /** Writes out what is still held. */
  flush(): void;
}

const standardError = 2;
const heldBytesMax = 4 * 1024 * 1024;

function openDestination(): { stream: pino.DestinationStream; flush: () => void } {
  if (process.stderr.isTTY) {
    const stream = pretty({
      destination: standardError,
      sync: true,
      ignore: 'pid,hostname',
      translateTime: 'HH:MM:ss.l',
    });
    return { stream, flush: () => undefined };
  }
  const stream = pino.destination({ dest: standardError, sync: false, maxLength: heldBytesMax });
  const flush = (): void => {
    try {
      stream.flushSync();
    } catch (error) {
      process.emitWarning(`The log could not be written out: ${String(error)}`);
    }
  };
  process.on('exit', flush);
  return { stream, flush };
}

/** `fields` stand in every line: the program, the peer's id, … */
export function openLog(level: LogLevel, fields: object = {}): LeveledLog {
  const { stream, flush } = openDestination();
  const options: pino.LoggerOptions = { level, base: { pid: process.pid, ...fields } };
  const logger = pino({ ...options, serializers: { error: pino.stdSerializers.err } }, stream);
  return {
    debug: (more, message) => logger.debug(more, message),
    info: (more, message) => logger.info(more, message),
    warn: (more, message) => logger.warn(more, message),
    error: (more, message) => logger.error(more, message),
    setLevel: (next) => {
      logger.level = next;
    },
    flush,
  };
}
