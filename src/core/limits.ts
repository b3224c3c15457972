/** Every bound of the system, each with its reason. */
export const limits = {
  // Names and records.
  nameBytesMax: 1024, // fits an LMDB key beside hash, kind and bucket
  bucketLengthMin: 3, // as S3 has it, so that a gateway can map buckets one to one
  bucketLengthMax: 63,
  metadataBytesMax: 16 * 1024, // a record is read for every stat and listing repair; it must stay small
  metadataEntriesMax: 256,
  contentTypeBytesMax: 255,

  // Bytes.
  blockBytes: 64 * 1024, // the unit of checksums: small ranges stay cheap to verify
  inlineBytesMax: 64 * 1024, // up to here a write to LMDB costs less than a file of its own
  segmentBytesDefault: 4 * 1024 * 1024, // bounded work per request, and large files spread over all peers
  segmentBytesMin: 1024 * 1024,
  segmentBytesMax: 16 * 1024 * 1024,
  segmentsMax: 1024 * 1024, // 4 TiB at the default segment size
  fileHeaderBytes: 4096, // holds the block checksums of the largest segment and the longest name

  // The wire.
  frameHeaderBytesMax: 1024 * 1024,
  framePayloadBytesMax: 16 * 1024 * 1024,
  msgpackDepthMax: 16,
  msgpackEntriesMax: 4096,
  uncreditedBytesMax: 68 * 1024, // larger payloads ask for byte credit first, so nothing is sent to be refused
  uploadBytesPerSecondMin: 1024, // of a connection that holds credit: who sends a byte a second blocks others for ever
  requestsInFlightMax: 1024, // per connection; beyond it the receiver stops reading

  // Memory.
  clientCreditBytes: 48 * 1024 * 1024, // payloads of clients held at once by one peer
  replicationCreditBytes: 48 * 1024 * 1024, // kept apart: replication must never wait for clients (deadlock)
  replyBytesInFlightMax: 16 * 1024 * 1024, // per connection, until its reader takes them
  clientWindowBytes: 32 * 1024 * 1024, // segments of one transfer under way
  clientWindowSegments: 8,
  clientReadAheadBytes: 16 * 1024 * 1024, // of one file being read; below the window: what was read is garbage yet
  smallWritesBytesMax: 32 * 1024 * 1024, // uncredited payloads held at once by one peer before it stops reading

  // Listing.
  listPageRowsMax: 1000, // bounds the time one page may hold the event loop
  comparePageRowsMax: 500, // the same, where every row is verified
  comparePageBytesMax: 4 * 1024 * 1024, // and read whole, small content with it
  idPageRowsMax: 500, // a name that is overwritten without a pause has thousands

  // Cluster.
  replicasMax: 3,
  slotsDefault: 1024,
  slotsMax: 16_384,
  peersMax: 500,
  tokensPerWeight: 128,
  weightMax: 64, // bounds the ring; only the ratio of weights matters
  joiningSlotsPerPeer: 1024, // bounds what a new joiner is told of at once; more would be few changes of the map saved
  handoversAtOnce: 64, // wished of one primary at a time: a sealed slot answers nobody
  copiesInReportMax: 100, // one event tells of many bad copies: their names bound it
  copyWordsBytesMax: 2048, // what a copy is of, in words
  idsPerLineage: 1000, // of peers: a recovered map goes on above, as a lost one may have given some more
  removedMembersMax: 3, // per slot, newest kept: what force-promote may tell about (F26)
  digestBuckets: 64,
  checkpointsMax: 32, // each is an open index at every peer

  // Disk.
  reserveFraction: 0.02, // keeps deletes and the index working on a full disk
  reserveBytesMin: 256 * 1024 * 1024,
  reservesForCopies: 2, // below so many reserves free nothing is copied here: clients need the rest
  reservesToRecover: 3, // from so many on it counts as roomy again; the gap keeps moves from going to and fro
  softFullFraction: 0.85, // used: beyond, what has copies enough elsewhere stays there; repairs keep the rest
  softFullEndsFraction: 0.8,

  // Pace.
  latencySamplesMin: 100, // fewer say nothing about a 99th percentile: one hiccup would be it
  slowFactor: 10, // times the others' 99th percentile; disks of one kind differ by two or three
  hedgedShare: 0.05, // reads asked of a second copy: enough for the tail, no load to speak of
  hedgeBurst: 10, // shares saved up while no read was late
  hedgeQuantile: 0.95, // of a client's own recent reads: the tail that the share pays for
  hedgeSamplesMin: 20,
} as const;
