/**
 * Every message of the wire: its number, who may send it, the fields of request and reply, and what the payload is.
 *
 * The types come from this table. `docs/wire-format.md` describes the same for people and other languages. Numbers are
 * never reused.
 */
import { type CheckedShape, count, exactBytes, oneOf, optional, text } from './checks.js';
import { clientMessages } from './client-messages.js';
import { masterMessages } from './master-messages.js';
import { type Message, roles } from './message.js';
import { address, id } from './message-fields.js';
import { peerMessages } from './peer-messages.js';

export const protocolVersion = 1;

export const messages = {
  /** First on every connection. Peers name both store ids (F11); `generation` rises with every connection (F7). */
  hello: {
    kind: 1,
    from: ['client', 'peer', 'master'],
    request: {
      protocol: count(255),
      role: oneOf(...roles),
      software: text(64),
      generation: count(),
      /** Random per process for clients; tells whose older connection to close. */
      clientId: optional(exactBytes(16)),
      /** Several connections of one pair are told apart by their lane. */
      lane: optional(text(16)),
      clusterId: optional(id),
      peerId: optional(id),
      storeId: optional(id),
      incarnation: optional(count()),
      expectPeerId: optional(id),
      expectStoreId: optional(id),
    },
    reply: {
      role: oneOf(...roles),
      software: text(64),
      clusterId: optional(id),
      peerId: optional(id),
      storeId: optional(id),
      incarnation: optional(count()),
      /** The cluster's clock, ms since 1970. */
      clusterMs: count(),
      mapEpoch: count(),
      /** The caller's own IP address as this side sees it. */
      yourAddress: address,
    },
  },
  /** A map newer than `newerThan`, waiting up to `waitMs` for one. Reply payload: the map, if one is newer. */
  map: {
    kind: 2,
    from: ['client', 'peer', 'master'],
    request: { newerThan: count(), waitMs: count(60_000) },
    reply: { epoch: count() },
  },
  ...clientMessages,
  ...peerMessages,
  ...masterMessages,
} as const satisfies Record<string, Message>;

export type MessageName = keyof typeof messages;
export type RequestOf<N extends MessageName> = CheckedShape<(typeof messages)[N]['request']>;
export type ReplyOf<N extends MessageName> = CheckedShape<(typeof messages)[N]['reply']>;

const namesByKind = new Map<number, MessageName>(
  Object.entries(messages).map(([messageName, message]) => [message.kind, messageName as MessageName]),
);

export function messageNameOf(kind: number): MessageName | undefined {
  return namesByKind.get(kind);
}
