/**
 * Reads "host:port", the one form in which addresses are given, stored and shown; IPv6 hosts stand in brackets.
 */
import { refuse } from './errors.js';
import type { Address } from './ids.js';

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const portMax = 65_535;
const hostLengthMax = 253;

/** Refuses `invalid` with a sentence that says what is wrong. Port 0 is allowed: a listener then picks one. */
export function parseAddress(address: Address): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^:[\]/\s]+)):(\d+)$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  if (!match || host === undefined || host.length > hostLengthMax) {
    return refuse('invalid', `"${address}" is not an address`, {
      advice: 'Write it as HOST:PORT, e.g. 127.0.0.1:7420',
    });
  }
  const port = Number(match[3]);
  if (port > portMax) return refuse('invalid', `Port ${match[3]} in "${address}" is above ${portMax}`);
  return { host, port };
}

export function formatAddress({ host, port }: HostPort): Address {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Where others reach what listens on `listening`: for a wildcard the host that they see, when that is known. */
export function reachableAddress(listening: Address, seenHost: string): Address {
  const { host, port } = parseAddress(listening);
  const isWildcard = host === '0.0.0.0' || host === '::';
  return isWildcard && seenHost !== '' ? formatAddress({ host: seenHost, port }) : listening;
}
