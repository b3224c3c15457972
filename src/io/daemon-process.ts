/**
 * A daemon's own process: signals, the last errors, its exit, and commands it runs for the operator.
 */
import { spawn } from 'node:child_process';
import { hostname } from 'node:os';

export const hostName: string = hostname();
export const nodeVersion: string = process.versions.node;

export interface DaemonSignals {
  /** SIGTERM or SIGINT; called once. */
  onStop(): void;
  /** SIGHUP. */
  onHangUp(): void;
  /** An error nobody caught: the process is in an unknown state. */
  onUncaught(error: unknown): void;
}

export function listenToSignals(handlers: DaemonSignals): void {
  let isStopping = false;
  const stop = (): void => {
    if (isStopping) return;
    isStopping = true;
    handlers.onStop();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', () => handlers.onHangUp());
  process.on('uncaughtException', (error) => handlers.onUncaught(error));
  process.on('unhandledRejection', (error) => handlers.onUncaught(error));
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printError(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function exitProcess(code: number): never {
  process.exit(code);
}

const commandTimeoutMs = 60_000;

/** Runs a shell command with `input` on its stdin; resolves with its exit code, or a sentence. Never throws. */
export function runCommand(command: string, input: string): Promise<number | string> {
  return new Promise((resolve) => {
    const child = spawn(command, { shell: true, stdio: ['pipe', 'ignore', 'ignore'], timeout: commandTimeoutMs });
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'ended'));
    // A command that reads none of its input is its own matter.
    child.stdin.on('error', (error) => void error);
    child.stdin.end(input);
  });
}
