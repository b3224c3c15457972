/**
 * The real terminal: standard input, output and error, signals, and the line that is redrawn in place.
 *
 * A reader that goes away (`| head`) is told apart from every other failure, so that it ends the program quietly.
 */
import type { WriteStream } from 'node:tty';
import { type LiveLine, OutputClosed, type Sink, type Terminal } from '../core/local-machine.js';

const columnsDefault = 80;
const interruptSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Resolves when the stream takes more, or never will. */
function roomIn(stream: WriteStream): Promise<void> {
  const signs = ['drain', 'close', 'error'] as const;
  return new Promise((resolve) => {
    const onSign = (): void => {
      for (const sign of signs) stream.off(sign, onSign);
      resolve();
    };
    for (const sign of signs) stream.on(sign, onSign);
  });
}

function toSink(stream: WriteStream, { mayFail }: { mayFail: boolean }): Sink {
  let closed = false;
  stream.on('error', () => {
    closed = true;
  });
  const isTerminal = stream.isTTY === true;
  return {
    isTerminal,
    isColourful: isTerminal && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
    get columns() {
      return stream.columns || columnsDefault;
    },
    async write(content) {
      if (closed || stream.destroyed) {
        if (mayFail) return;
        throw new OutputClosed('The reader of the output has gone');
      }
      if (stream.write(content)) return;
      await roomIn(stream);
      if (closed && !mayFail) throw new OutputClosed('The reader of the output has gone');
    },
  };
}

async function* readInput(): AsyncIterable<Uint8Array> {
  for await (const chunk of process.stdin) yield chunk as Uint8Array;
}

/** Resolves when everything written so far has left the process, or can no longer. */
export async function flushTerminal(): Promise<void> {
  const flush = (stream: WriteStream): Promise<void> =>
    new Promise((resolve) => {
      if (stream.destroyed || stream.writableLength === 0) resolve();
      else stream.write('', () => resolve());
    });
  await Promise.all([flush(process.stdout), flush(process.stderr)]);
}

export function openTerminal(): Terminal {
  const output = toSink(process.stdout, { mayFail: false });
  const notes = toSink(process.stderr, { mayFail: true });
  return {
    output,
    notes,
    input: { isTerminal: process.stdin.isTTY === true, read: readInput },

    async ask(question, signal) {
      const { createInterface } = await import('node:readline/promises');
      // Not `terminal`: Ctrl-C must stay a signal.
      const prompt = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
      const ended = new Promise<string>((resolve) => prompt.once('close', () => resolve('')));
      try {
        return await Promise.race([prompt.question(question, { signal }), ended]);
      } finally {
        prompt.close();
      }
    },

    async startLiveLine(): Promise<LiveLine> {
      const { default: ora } = await import('ora');
      // A terminal that does not know its width says 0, and the line would be thought to be endlessly high.
      process.stderr.columns ||= columnsDefault;
      const spinner = ora({ stream: process.stderr, discardStdin: false, color: notes.isColourful ? 'cyan' : false });
      return {
        show(text) {
          spinner.text = text;
          if (!spinner.isSpinning) spinner.start();
        },
        stop: () => void spinner.stop(),
      };
    },

    onInterrupt(handler) {
      for (const signal of interruptSignals) process.on(signal, handler);
      return () => {
        for (const signal of interruptSignals) process.off(signal, handler);
      };
    },
  };
}
