/**
 * Every mutation there is.
 *
 * Two that one may look for are not here, because nothing wrong can follow from them. A sealed slot that goes on
 * answering: its peer is still a member, so whatever the next primary acknowledges is in its index first. And one stale
 * slot that voids a batch of changes (F18): the primary asks again by the map of the answer, only later.
 */
import { checkpointMutations } from './checkpoints.js';
import { joiningMutations } from './joining.js';
import { leaseMutations } from './leases.js';
import { levellingMutations } from './levelling.js';
import { masterMutations } from './master.js';
import type { Mutation } from './mutation.js';
import { operationMutations } from './operations.js';
import { promiseMutations } from './promises.js';
import { recoveryMutations } from './recovery.js';
import { requestMutations } from './requests.js';
import { storageMutations } from './storage.js';
import { sweepingMutations } from './sweeping.js';
import { writingMutations } from './writing.js';

export const mutations: readonly Mutation[] = [
  ...promiseMutations,
  ...leaseMutations,
  ...joiningMutations,
  ...levellingMutations,
  ...writingMutations,
  ...requestMutations,
  ...sweepingMutations,
  ...masterMutations,
  ...operationMutations,
  ...checkpointMutations,
  ...recoveryMutations,
  ...storageMutations,
];
