/** Every interval and time-out of the protocol in milliseconds, each with what it trades. */
export const timing = {
  pingIntervalMs: 200, // the brief's: master → peer
  suspectAfterMs: 600, // three missed pings: a note, nothing more
  downAfterMs: 1000, // a peer that does not answer for so long loses its slots
  refusedRetryMs: 30, // two refused connects this far apart: the process is gone
  masterRoundMs: 50, // the master looks at every silence so often
  failoverPatienceMs: 50, // after a death: for the other candidates' pongs, so that the preferred one is promoted
  masterLateMs: 200, // a master late by this much gives no verdict that round
  masterListenMs: 1000, // a restarted master hears the peers for so long before it judges
  loneCopyGraceMs: 5000, // a copy is the last one: its like is made after so long, and not after the whole grace
  steadyBeforeHandoverMs: 5000, // a returning peer gets its primaries back when it has been up so long

  beaconIntervalMs: 50,
  leaseMs: 150, // from the moment before the beacon was sent; short, so that failover is fast
  leaseWaitMs: 170, // what a new primary waits after its last grant; longer than leaseMs by the clock rates' slack
  silentReplicaMs: 400, // a replica silent for so long is removed by a compare-and-set
  primaryLateMs: 100, // a primary late by this much gives no verdict about replicas that round
  reconnectMs: 30, // a broken link is tried again after this pause

  helloRetryMs: 100, // peer → master, again and again until answered
  removedRetryMs: 10_000, // the same of a peer that was removed: the answer will not change
  strangerRetryMs: 10_000, // master → an address where another peer answers, at the most: who returns says so itself
  helloTimeoutMs: 2000,
  connectTimeoutMs: 1000,
  keepAliveMs: 5000, // idle connections prove they are alive this often
  halfOpenAfterMs: 15_000, // no byte for so long on a connection that should speak: closed
  stalledUploadMs: 10_000, // granted credit on which next to nothing arrives is taken back
  unwelcomeUploadMs: 1000, // the same while other clients wait: short, as many such may stand before them

  gatherAddsMs: 1000, // copies in step wait so long at their primary for others: a change of the map costs every peer
  patientChangeMs: 500, // changes that no client waits for wait so long, after a commit, for others to go with
  handoverChangeMs: 60, // so do handovers, for those other primaries were wished; briefly, as the slots stand still
  wishPaceMs: 500, // between two rounds of wishes; each takes 64 slots of every primary at the most
  planPauseMs: 100, // the planner rests so long after a look, as a look costs milliseconds
  changeRetryMs: 50, // compare-and-set requests at the master, repeated until answered
  mapWatchMs: 1000, // longest time a map watch is held open

  requestIdMaxAgeMs: 10 * 60_000, // older ids are refused (S6)
  idTableMs: 5 * 60_000, // ids are kept in tables of this width, dropped whole
  idKeepMs: 15 * 60_000,
  housekeepingMs: 1000, // sweeps, id tables, surplus copies: looked at this often

  clientHedgeMs: 250, // an unanswered request makes the client look for a newer map
  clientRetryMinMs: 10,
  clientRetryMaxMs: 250,
  clientTimeoutMs: 30_000,
  hedgeLateMinMs: 5, // no read is late before: twice asked of a busy host is no quicker
  clientLatencyMs: 60_000, // what a client calls its recent reads
  silentHolderMs: 500, // a holder from which nothing has come for so long is not waited for alone
  silentHolderLastMs: 10_000, // and is asked last for so long

  latencyWindowMs: 30_000, // a disk's pace: long enough for a 99th percentile, short enough to notice
  slowFromMs: 50, // a 99th percentile below is nothing that anybody must know
  slowForgottenMs: 60_000, // a slow peer that shows no figures for so long gets another chance
  stopWithinMs: 10_000, // SIGTERM to exit
} as const;
