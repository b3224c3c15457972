/**
 * Every mutation there is.
 */
import { joiningMutations } from './joining.js';
import { leaseMutations } from './leases.js';
import { levellingMutations } from './levelling.js';
import { masterMutations } from './master.js';
import type { Mutation } from './mutation.js';
import { promiseMutations } from './promises.js';
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
  ...storageMutations,
];
