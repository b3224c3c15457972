/**
 * Which part of the peer answers which message.
 */
import { refuse } from '../core/errors.js';
import type { MessageName, ReplyOf } from '../protocol/messages.js';
import { encodeAmountRows } from '../protocol/rows.js';
import type { AnyIncoming, Incoming, Outgoing } from '../protocol/session.js';
import type { Checkpoints } from './checkpoints.js';
import { onSettleAsked } from './comparison.js';
import type { Engine } from './engine.js';
import { onWishes } from './handover.js';
import { listNames } from './listing.js';
import type { MapKeeper } from './map-keeper.js';
import { onScrubAsked } from './scrub.js';

export interface ServerParts {
  readonly maps: MapKeeper;
  readonly checkpoints: Checkpoints;
  engine(): Engine | undefined;
  onPing(request: Incoming<'ping'>): ReplyOf<'ping'>;
  onExamined(): ReplyOf<'examine-peer'>;
  onLookBack(): ReplyOf<'look-back'>;
  acceptMap(encoded: Uint8Array): Promise<void>;
}

type Handler<N extends MessageName> = (engine: Engine, request: Incoming<N>) => Promise<Outgoing>;

const replied = (header: object): Outgoing => ({ header });

const handlers: { readonly [N in MessageName]?: Handler<N> } = {
  put: async ({ writes }, request) => replied(await writes.put(request)),
  'put-segment': async ({ writes }, request) => replied(await writes.putSegment(request)),
  delete: async ({ writes }, request) => replied(await writes.delete(request)),
  'set-metadata': async ({ writes }, request) => replied(await writes.setMetadata(request)),
  get: ({ reads }, request) => reads.get(request),
  'get-segment': ({ reads }, request) => reads.getSegment(request),
  'copy-state': ({ reads }, request) => reads.copyState(request),
  'report-damage': ({ reads }, request) => reads.reportDamage(request),
  'checkpoint-slots': ({ checkpointReads }, request) => checkpointReads.slots(request),
  'checkpoint-files': ({ checkpointReads }, request) => checkpointReads.files(request),
  'checkpoint-read': ({ checkpointReads }, request) => checkpointReads.read(request),
  scrub: ({ scrub }, request) => onScrubAsked(scrub, request),
  'fetch-entry': ({ reads }, request) => reads.fetchEntry(request),
  list: ({ listing }, request) => listNames(listing, request),
  replicate: ({ replica }, request) => replica.replicate(request),
  settle: ({ replica }, request) => replica.settle(request),
  'settle-ids': ({ replica }, request) => replica.settleIds(request),
  digests: ({ replica }, request) => replica.digests(request),
  'list-bucket': ({ replica }, request) => replica.listBucket(request),
  'id-digests': ({ replica }, request) => replica.idDigests(request),
  'list-ids': ({ replica }, request) => replica.listIds(request),
  'drop-ids': ({ replica }, request) => replica.dropIds(request),
  beacon: ({ replica }, request) => replica.beacon(request),
  'beacon-list': ({ replica }, request) => replica.beaconList(request),
  'upload-state': ({ uploads }, request) => uploads.onAsked(request),
  'sweep-hint': ({ uploads }, request) => uploads.onHint(request),
  'settle-here': ({ settling }, request) => onSettleAsked(settling, request),
  'may-drop': ({ surplus }, request) => surplus.onAsked(request),
  'wish-handover': ({ handover }, request) => onWishes(handover, request),
  'slot-amounts': async ({ index }) => ({ payload: encodeAmountRows(index.amounts()) }),
};

export async function serve(parts: ServerParts, request: AnyIncoming): Promise<Outgoing> {
  switch (request.name) {
    case 'ping':
      return replied(parts.onPing(request));
    case 'examine-peer':
      return replied(parts.onExamined());
    case 'push-map':
      return onPushedMap(parts, request);
    case 'look-back':
      return { header: parts.onLookBack(), payload: parts.maps.encoded };
    case 'promise-lineage':
      return { payload: await parts.maps.promise(request.header) };
    case 'map':
      return onMapAsked(parts, request);
    case 'checkpoint-step':
      return parts.checkpoints.onStep(request);
    case 'checkpoint-remove':
      return parts.checkpoints.onRemove(request);
    case 'checkpoint-parts':
      return parts.checkpoints.onParts();
  }
  const engine = parts.engine();
  const handler = handlers[request.name] as Handler<MessageName> | undefined;
  if (handler === undefined) refuse('unsupported', `A peer does not answer ${request.name}`);
  if (engine === undefined) {
    refuse('not-ready', 'This peer has not joined a cluster yet', { advice: 'Check that the master is reachable' });
  }
  return handler(engine, request);
}

async function onPushedMap(parts: ServerParts, request: Incoming<'push-map'>): Promise<Outgoing> {
  if (request.payload === undefined) refuse('invalid', 'A pushed map has a payload');
  await parts.acceptMap(request.payload);
  return replied({ epoch: parts.maps.epoch });
}

async function onMapAsked(parts: ServerParts, request: Incoming<'map'>): Promise<Outgoing> {
  const { newerThan, waitMs } = request.header;
  await parts.maps.newerThan(newerThan, waitMs);
  const { epoch, encoded } = parts.maps;
  return { header: { epoch }, payload: epoch > newerThan ? encoded : undefined };
}
