/**
 * What a message is: its number, who may send it, the fields of request and reply.
 */
import type { Shape } from './checks.js';

export const roles = ['client', 'peer', 'master'] as const;
export type Role = (typeof roles)[number];

export interface Message {
  readonly kind: number;
  readonly from: readonly Role[];
  readonly request: Shape;
  readonly reply: Shape;
}
