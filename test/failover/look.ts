/** What status-watch.ts saw of the cluster at one moment. */
export interface Look {
  readonly atMs: number;
  readonly health: string;
  /** Slots that lack a wanted copy. */
  readonly slotsBelow: number;
  readonly peers: readonly {
    readonly id: string;
    readonly state: string;
    readonly primarySlots: number;
    readonly bytes: number | null;
  }[];
}
