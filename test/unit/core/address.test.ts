/** Addresses are read the one way they are written, and said to be wrong in words. */
import { expect, test } from 'vitest';
import { formatAddress, parseAddress, reachableAddress } from '../../../src/core/address.js';

test.each([
  ['127.0.0.1:7420', '127.0.0.1', 7420],
  ['host-1.example:0', 'host-1.example', 0],
  ['[::1]:65535', '::1', 65_535],
  ['[fe80::1%eth0]:1', 'fe80::1%eth0', 1],
])('%s', (address, host, port) => {
  expect(parseAddress(address)).toEqual({ host, port });
  expect(formatAddress({ host, port })).toBe(address);
});

test.each([
  ['127.0.0.1:70000', /Port 70000/],
  ['127.0.0.1:99999999999999999999', /above 65535/],
  ['127.0.0.1', /not an address/],
  ['7420', /not an address/],
  ['::1:7420', /not an address/],
  ['host:', /not an address/],
  ['host:-1', /not an address/],
  ['host:1:2', /not an address/],
  ['http://host:7420', /not an address/],
  ['a b:1', /not an address/],
  [`${'x'.repeat(254)}:1`, /not an address/],
  ['', /not an address/],
])('"%s" is refused', (address, message) => {
  expect(() => parseAddress(address)).toThrow(message);
});

test('where a wildcard listens is told by the host that others see', () => {
  const seen = (listening: string, host: string): string => reachableAddress(listening, host);
  expect(seen('0.0.0.0:7421', '10.0.0.2')).toBe('10.0.0.2:7421');
  expect(seen('[::]:7421', 'fe80::2')).toBe('[fe80::2]:7421');
  expect(seen('0.0.0.0:7421', '')).toBe('0.0.0.0:7421');
  expect(seen('127.0.0.1:7421', '10.0.0.2')).toBe('127.0.0.1:7421');
});
