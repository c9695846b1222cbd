//! How large things may become on the stream.

use std::time::Duration;

/// Bytes of one encoded delta. A snapshot of 250,000 workloads takes about 10 MiB.
pub const DELTA_BYTES: u64 = 256 << 20;

/// Bytes of one part of a delta.
pub const PART_BYTES: usize = 256 << 10;

/// Bytes of one message; a part and its frame fit.
pub const MESSAGE_BYTES: usize = 4 << 20;

/// Bytes of a name, uid, version or reason.
pub const TEXT_BYTES: usize = 4096;

/// How many denied or unprotected workloads an ack lists; the counts are exact beyond that.
pub const LISTED_WORKLOADS: usize = 1024;

/// From the connection to the end of the TLS handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// From the handshake to the agent's Hello, and from one part of a revision to the next.
pub const MESSAGE: Duration = Duration::from_secs(10);

/// From the first part of a revision to its last, whatever its size; waiting for its turn not included.
pub const REVISION: Duration = Duration::from_secs(60);

/// From a revision's last part to its Ack or Refused.
pub const ACK: Duration = Duration::from_secs(60);

/// Between two questions of an agent whether what it enforces is right.
pub const ASK: Duration = Duration::from_secs(5);
