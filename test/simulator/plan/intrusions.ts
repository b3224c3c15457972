/**
 * What strangers send to a daemon, and how it must answer: a table.
 *
 * Whoever breaks the format or the order of frames finds the connection closed, without a word; whoever asks for what
 * it may not have, or in a form that no message has, is refused with the code that says so. docs/wire-format.md has the
 * rules. Frames are made byte by byte, so that any of them can be wrong. Nobody here lies about being a member of the
 * cluster: that is not promised to be survived.
 */
import type { ClusterMap, PeerRecord } from '../../../src/cluster/map.js';
import type { ErrorCode } from '../../../src/core/errors.js';
import { limits } from '../../../src/core/limits.js';
import { timing } from '../../../src/core/timing.js';
import { packPlain } from '../../../src/protocol/codec.js';
import { encodeMap } from '../../../src/protocol/map-codec.js';
import type { Role } from '../../../src/protocol/message.js';
import { type MessageName, messages, protocolVersion } from '../../../src/protocol/messages.js';
import type { Seeded } from '../../contract/seeded.js';
import { patterned, type RawFrame, rawFrame } from '../../unit/protocol/raw-frames.js';
import { malformedHeaders, unusualHeader } from './malformed.js';

export interface Surroundings {
  readonly chance: Seeded;
  readonly map: ClusterMap;
  /** Who is called; undefined: the master. */
  readonly peer: PeerRecord | undefined;
}

export interface Intrusion {
  readonly at: 'peer' | 'master' | 'any';
  /** Said before, and answered; absent: the stranger does not say who it is. */
  readonly hello?: (of: Surroundings) => object;
  readonly sends: (of: Surroundings) => readonly Uint8Array[];
  /**
   * 'closed': by the daemon, which answers nothing; 'answered': with what was asked for; 'left': the stranger goes away
   * before there need be any answer; else the codes of which one must be the refusal's.
   */
  readonly ends: 'closed' | 'answered' | 'left' | readonly ErrorCode[];
  /** How long that may take; a little more than the time that every connection has for its hello when absent. */
  readonly withinMs?: number;
}

const fields = { protocol: protocolVersion, role: 'client' as Role, software: 'a stranger', generation: 1 };
const file = { bucket: 'files', name: 'name-0' };
const requestId = 7;
const largeBytes = limits.uncreditedBytesMax + 1;
const timedId = (of: Surroundings): Uint8Array => of.chance.bytes(16);
const segment = (of: Surroundings) => {
  return { slot: 0, term: 1, ...file, uploadId: timedId(of), index: 1, sums: new Uint8Array(8) };
};
const put = (of: Surroundings) => {
  const ids = { requestId: timedId(of), uploadId: timedId(of), checksum: new Uint8Array(8), metadata: {} };
  return { slot: 0, term: 1, ...file, ...ids, size: 1, segmentBytes: limits.segmentBytesMin, segments: 1 };
};
const get = { slot: 0, term: 1, ...file, consistency: 'linearizable', start: 0, end: 0 };
const list = { bucket: 'files', prefix: '', after: '', limit: 1, slots: Uint8Array.of(1) };

/** What a peer may say before it looks at the rest: it may lead other slots by now, or none yet. */
const notNow = ['not-ready', 'stale-term', 'wrong-role', 'unavailable', 'timed-out', 'busy'] as const;
const invalid = ['invalid', ...notNow, 'expired-id', 'no-space'] as const;

function hello(more: object = {}, frame: RawFrame = {}): Uint8Array {
  return rawFrame({ kind: messages.hello.kind, requestId: 1, header: packPlain({ ...fields, ...more }), ...frame });
}

function request(name: MessageName, header: object, frame: RawFrame = {}): Uint8Array {
  return rawFrame({ kind: messages[name].kind, requestId, header: packPlain(header), ...frame });
}

/** Without hello, which the daemon cannot read or does not find. */
function unread(sends: (of: Surroundings) => readonly Uint8Array[]): Intrusion {
  return { at: 'any', sends, ends: 'closed' };
}

function helloRefused(at: Intrusion['at'], say: (of: Surroundings) => object, ...codes: ErrorCode[]): Intrusion {
  return { at, sends: (of) => [hello(say(of))], ends: codes };
}

/** As a client that the daemon has let in. */
function asClient(
  at: Intrusion['at'],
  sends: (of: Surroundings) => readonly Uint8Array[],
  ends: Intrusion['ends'],
): Intrusion {
  return { at, hello: () => ({}), sends, ends };
}

/** As somebody who would be a peer, but is none yet. */
function asNewcomer(sends: (of: Surroundings) => readonly Uint8Array[], ...codes: ErrorCode[]): Intrusion {
  return { at: 'master', hello: () => ({ role: 'peer' }), sends, ends: [...codes, 'unavailable'] };
}

function join(of: Surroundings, more: object): Uint8Array {
  const me = { storeId: 'strange', incarnation: 1, address: '10.9.9.9:7421', zone: 'z', weight: 1, mapEpoch: 0 };
  return request('join', { clusterId: of.map.clusterId, ...me, ...more });
}

/** As a master of this very cluster, or of a copy of it. */
function asMaster(payload: (of: Surroundings) => Uint8Array | undefined, ends: Intrusion['ends']): Intrusion {
  return {
    at: 'peer',
    hello: ({ map, peer }) => {
      const expected = { expectPeerId: peer?.id, expectStoreId: peer?.storeId };
      return {
        role: 'master',
        lane: 'probe',
        clusterId: map.clusterId,
        incarnation: map.masterIncarnation,
        ...expected,
      };
    },
    sends: (of) => {
      const map = payload(of);
      return [request('push-map', {}, map === undefined ? {} : { payload: map })];
    },
    ends,
  };
}

function askCredit(id: number, bytes: number, more: object = {}): Uint8Array {
  return rawFrame({
    type: 'ask-credit',
    kind: messages.put.kind,
    requestId: id,
    header: packPlain({ bytes, ...more }),
  });
}

const wrongFields: readonly object[] = [
  { slot: -1 },
  { slot: 2.5 },
  { slot: 'first' },
  { term: Number.NaN },
  { bucket: 5 },
  { name: 'n'.repeat(2000) },
  { consistency: 'sometimes' },
  { end: 2 ** 60 },
  { ifVersion: 'newest' },
  { ifVersion: { epoch: 1 } },
];

const wrongPuts: readonly object[] = [
  { uploadId: new Uint8Array(3) },
  { requestId: 'mine' },
  { metadata: [] },
  { metadata: { size: 5 } },
  { metadata: Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`key-${at}`, ''])) },
  { metadata: { long: 'x'.repeat(limits.metadataBytesMax), longer: 'x' } },
  { ifAbsent: 'yes' },
  { sums: 'none' },
  { segments: 5 },
  { segmentBytes: 1000 },
  { size: 70 },
  { bucket: 'X!' },
  { name: '' },
  { name: 'nul\0' },
  { slot: limits.slotsMax - 1 },
];

const wrongHellos: readonly object[] = [
  { role: 'king' },
  { generation: -1 },
  { generation: null },
  { software: 's'.repeat(65) },
  { clientId: new Uint8Array(3) },
  { peerId: 5 },
  { protocol: 1.5 },
];

export const intrusions = {
  // --- Bytes that are no frames, or no such frames -------------------------------------------------------------------
  'speaks-http': unread(() => [Buffer.from(`GET / HTTP/1.1\r\nHost: here\r\n\r\n${' '.repeat(40)}`)]),
  'sends-noise': unread(({ chance }) => [Buffer.concat([Uint8Array.of(0), chance.bytes(1 + chance.below(300))])]),
  'stops-in-a-frame': unread(({ chance }) => [hello().subarray(0, 1 + chance.below(hello().length - 1))]),
  'says-nothing': unread(() => []),
  'other-frames': unread(() => [hello({}, { version: 2 })]),
  'no-header': unread(() => [hello({}, { headerLength: 0 })]),
  'endless-header': unread(() => [hello({}, { headerLength: 2 ** 32 - 1 })]),
  'endless-payload': unread(() => [hello({}, { payloadLength: 2 ** 32 - 1 })]),
  'wrong-checksum': unread(() => [hello({}, { headChecksum: 1n })]),
  'unknown-type': unread(() => [hello({}, { type: 9 })]),
  'endless-number': unread(() => [hello({}, { requestId: 2n ** 60n })]),
  'sum-of-nothing': unread(() => [hello({}, { payloadFold: 5n })]),
  'malformed-header': unread(({ chance }) => [hello({}, { header: chance.pick(malformedHeaders) })]),
  'payload-with-hello': unread(() => [hello({}, { payload: patterned(10) })]),
  'asks-before-hello': unread(() => [request('map', { newerThan: 0, waitMs: 0 })]),
  'payload-before-hello': unread(() => [request('put', {}, { payload: patterned(10) })]),
  /** As another language may write it. */
  'unusual-hello': { at: 'any', sends: () => [hello({}, { header: unusualHeader(fields) })], ends: 'answered' },

  // --- Hellos of those who belong elsewhere --------------------------------------------------------------------------
  'other-version': helloRefused('any', () => ({ protocol: 2 }), 'wrong-version'),
  'wrong-hello': helloRefused('any', ({ chance }) => chance.pick(wrongHellos), 'invalid'),
  'other-cluster': helloRefused('any', () => ({ clusterId: 'another' }), 'wrong-cluster', 'unavailable'),
  'other-clusters-peer': helloRefused(
    'any',
    () => ({ role: 'peer', clusterId: 'another', peerId: 'p1', storeId: 'strange', incarnation: 3 }),
    'wrong-cluster',
    'unavailable',
  ),
  'looks-for-another-store': helloRefused('peer', () => ({ expectStoreId: 'strange' }), 'wrong-identity'),
  'looks-for-another-peer': helloRefused('peer', () => ({ expectPeerId: 'p99' }), 'wrong-identity'),
  'unknown-peer': helloRefused(
    'peer',
    ({ map }) => ({ role: 'peer', clusterId: map.clusterId, peerId: 'p99', storeId: 'strange', incarnation: 1 }),
    'wrong-identity',
  ),
  'other-store-of-a-peer': helloRefused(
    'peer',
    ({ map, chance }) => ({ role: 'peer', peerId: chance.pick(map.peers).id, storeId: 'strange', incarnation: 1000 }),
    'wrong-identity',
  ),
  'former-start-of-a-peer': helloRefused(
    'any',
    ({ map, chance }) => {
      const { id, storeId } = chance.pick(map.peers);
      return { role: 'peer', clusterId: map.clusterId, peerId: id, storeId, incarnation: 0 };
    },
    'wrong-identity',
  ),
  'another-master': helloRefused('master', ({ map }) => ({ role: 'master', clusterId: map.clusterId }), 'denied'),

  // --- Clients that do not keep to the protocol ----------------------------------------------------------------------
  'hello-again': asClient('any', () => [hello({}, { requestId })], ['invalid']),
  'unknown-message': asClient('any', () => [rawFrame({ kind: 9999, requestId })], ['unsupported']),
  'message-of-peers': asClient('any', ({ chance }) => [request(chance.pick(['replicate', 'join', 'ping']), {})], [
    'denied',
  ]),
  'asks-a-peer-for-the-status': asClient('peer', () => [request('status', {})], ['unsupported', 'not-ready']),
  'asks-the-master-for-a-file': asClient('master', () => [request('get', get)], ['unsupported']),
  'wrong-fields': asClient('peer', ({ chance }) => [request('get', { ...get, ...chance.pick(wrongFields) })], [
    'invalid',
  ]),
  'field-left-out': asClient('any', () => [request('map', {})], ['invalid']),
  'wrong-put': asClient(
    'peer',
    (of) => {
      const header = { sums: new Uint8Array(8), ...put(of), ...of.chance.pick(wrongPuts) };
      return [request('put', header, { payload: patterned(1) })];
    },
    invalid,
  ),
  'no-such-slot': asClient('peer', () => [request('get', { ...get, slot: 4000 })], invalid),
  'segment-of-nothing': asClient('peer', (of) => [request('put-segment', { ...segment(of), index: 0 })], invalid),
  'page-of-nothing': asClient('peer', () => [request('list', { ...list, limit: 0 })], invalid),
  'damaged-payload': asClient(
    'peer',
    (of) => [request('put-segment', segment(of), { payload: patterned(100), payloadFold: 5n })],
    ['integrity'],
  ),
  'one-number-twice': asClient(
    'any',
    () => {
      const map = request('map', { newerThan: 2 ** 50, waitMs: 1000 });
      return [map, map];
    },
    'closed',
  ),
  'answers-unasked': asClient('any', () => [rawFrame({ type: 'reply', kind: 2, requestId })], 'closed'),
  'payload-of-keep-alive': asClient('any', () => [rawFrame({ type: 'keep-alive', payload: patterned(9) })], 'closed'),
  'stops-in-a-payload': asClient(
    'peer',
    (of) => [request('put-segment', segment(of), { payload: patterned(5000) }).subarray(0, 3000)],
    'left',
  ),

  // --- Memory asked for ----------------------------------------------------------------------------------------------
  'payload-unasked': asClient(
    'peer',
    (of) => [request('put-segment', segment(of), { payload: patterned(largeBytes) })],
    'closed',
  ),
  'more-than-granted': asClient(
    'peer',
    (of) => [askCredit(requestId, 1), request('put', put(of), { payload: patterned(largeBytes) })],
    'closed',
  ),
  'asks-twice': asClient('peer', () => [askCredit(requestId, 1), askCredit(requestId, 1)], 'closed'),
  'asks-for-too-much': asClient('peer', () => [askCredit(requestId, 2 ** 40)], ['invalid']),
  'asks-and-says-no-more': asClient('peer', () => [askCredit(requestId, largeBytes)], 'left'),
  /** A grant that is not used is taken back. */
  'asks-and-waits': {
    ...asClient('peer', () => [askCredit(requestId, largeBytes)], 'closed'),
    withinMs: timing.stalledUploadMs + 1500,
  },
  'asks-and-cancels': asClient(
    'peer',
    () => [askCredit(requestId, largeBytes), rawFrame({ type: 'cancel', kind: messages.put.kind, requestId })],
    'left',
  ),
  /** More than there is, so that the second waits, for less long than it must. */
  'asks-in-vain': asClient(
    'peer',
    () => [
      ...[1, 2, 3, 4].map((number) => askCredit(requestId + number, limits.framePayloadBytesMax)),
      askCredit(requestId, limits.framePayloadBytesMax, { d: 1 }),
    ],
    'left',
  ),
  'asks-too-often': asClient(
    'peer',
    () =>
      Array.from({ length: Math.min(limits.requestsInFlightMax, 100) + 1 }, (_, at) => askCredit(at + 2, largeBytes)),
    'left',
  ),

  // --- Those who would be peers, or masters --------------------------------------------------------------------------
  'changes-before-it-joins': asNewcomer(() => [request('change', { changes: [] })], 'not-ready'),
  'leaves-before-it-joins': asNewcomer(() => [request('goodbye', {})], 'not-ready'),
  'joins-as-nobody': asNewcomer((of) => [join(of, { peerId: 'p99' })], 'wrong-identity'),
  'joins-too-heavy': asNewcomer((of) => [join(of, { weight: limits.weightMax + 1 })], 'invalid'),
  'joins-with-no-weight': asNewcomer((of) => [join(of, { weight: Number.NaN })], 'invalid'),
  'joins-another-cluster': asNewcomer((of) => [join(of, { clusterId: 'another' })], 'wrong-cluster'),
  'map-of-another-cluster': asMaster(({ map }) => encodeMap({ ...map, clusterId: 'another' }), ['wrong-cluster']),
  'map-of-a-clone': asMaster(({ map }) => encodeMap({ ...map, lineage: 'another' }), ['wrong-cluster']),
  'map-of-an-older-master': asMaster(
    ({ map }) => encodeMap({ ...map, epoch: map.epoch + 1_000_000, masterIncarnation: 0 }),
    ['wrong-cluster'],
  ),
  'torn-map': asMaster(
    ({ map, chance }) => {
      const encoded = encodeMap(map);
      return encoded.subarray(0, 1 + chance.below(encoded.length - 1));
    },
    ['invalid'],
  ),
  'no-map': asMaster(() => undefined, ['invalid']),
} as const satisfies Record<string, Intrusion>;

export type IntrusionName = keyof typeof intrusions;

export const intrusionNames = Object.keys(intrusions) as readonly IntrusionName[];
