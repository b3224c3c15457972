/** How many requests one read took, counted while it runs. */
export interface ReadTally {
  requests: number;
  /** Those of them asked of a second holder because the first was late or silent. */
  hedges: number;
}

export function newTally(): ReadTally {
  return { requests: 0, hedges: 0 };
}
