/** A server and its callers over a network in memory, with a clock that only tests move. */
import type { Environment } from '../../../src/core/environment.js';
import { DfsError } from '../../../src/core/errors.js';
import { limits } from '../../../src/core/limits.js';
import type { Listener } from '../../../src/core/network.js';
import { CreditPool } from '../../../src/protocol/credit.js';
import type { Role } from '../../../src/protocol/message.js';
import {
  type AnyIncoming,
  acceptSession,
  type Outgoing,
  openSession,
  type Session,
} from '../../../src/protocol/session.js';
import { ManualClock, RecordingLog } from '../manual-clock.js';
import { MemoryNetwork } from '../memory-network.js';

export const uploadId = new Uint8Array(16);
export const getSegment = { slot: 1, bucket: 'files', name: 'a', uploadId, index: 1, start: 0, end: 1 };
export const putSegment = { slot: 1, term: 1, bucket: 'files', name: 'a', uploadId, index: 1, sums: new Uint8Array(0) };
export const stored = {
  version: { epoch: 1, counter: 1 },
  slotEpoch: 1,
  copies: { durable: 1, wanted: 1 },
  primary: 'p1',
  backups: [],
};
export const segmentReply = { size: 1, offset: 0, sums: new Uint8Array(0) };

export class World {
  readonly clock = new ManualClock();
  readonly network = new MemoryNetwork();
  readonly log = new RecordingLog();
  readonly environment: Environment = {
    clock: this.clock,
    network: this.network,
    log: this.log,
    random: { bytes: (count) => new Uint8Array(count), fraction: () => 0 },
  };
  readonly pool = new CreditPool(limits.clientCreditBytes, 1000);
  readonly served: AnyIncoming[] = [];
  readonly closeReasons: string[] = [];
  readonly accepted: Session[] = [];
  listener: Listener | undefined;
  serve: (request: AnyIncoming) => Promise<Outgoing> = async () => ({ header: segmentReply });

  async start(): Promise<void> {
    this.listener = await this.network.listen('10.0.0.1:7421', (connection) =>
      acceptSession(this.environment, connection, {
        onHello: (hello, session) => {
          if (hello.clusterId === 'other') throw new DfsError('wrong-cluster', 'Not this cluster', { advice: 'Look' });
          this.accepted.push(session);
          return { role: 'peer', peerId: 'p1', clusterMs: 5, mapEpoch: 9, yourAddress: '10.0.0.9' };
        },
        serve: (request) => {
          this.served.push(request);
          return this.serve(request);
        },
        creditPoolFor: () => this.pool,
        onClose: (reason) => this.closeReasons.push(reason),
      }),
    );
  }

  open(role: Role = 'client', more: { clusterId?: string } = {}): Promise<Session> {
    return openSession(this.environment, '10.0.0.1:7421', { hello: { role, generation: 3, ...more }, timeoutMs: 500 });
  }
}

/** A handler's answer that comes when the test says so. */
export function laterAnswer(): { promise: Promise<Outgoing>; give(outgoing?: Outgoing): void } {
  let settle: (outgoing: Outgoing) => void = () => undefined;
  const promise = new Promise<Outgoing>((resolve) => {
    settle = resolve;
  });
  return { promise, give: (outgoing = { header: segmentReply }) => settle(outgoing) };
}
