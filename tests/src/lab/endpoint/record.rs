//! One numbered record, the unit of streams: sequence number and time of sending, 8 bytes each, network byte order.

use nix::time::{ClockId, clock_gettime};

use super::protocol::Instant;

/// Bytes of a record.
pub(crate) const RECORD_LENGTH: usize = 16;

/// Stamped just before it is given to the kernel: a record whose time is later than some event entered the network after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) sequence: u64,
    pub(crate) sent: Instant,
}

impl Record {
    pub(crate) fn to_bytes(self) -> [u8; RECORD_LENGTH] {
        let mut bytes = [0; RECORD_LENGTH];
        bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sent.0.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (sequence, rest) = bytes.split_first_chunk::<8>()?;
        let (sent, _) = rest.split_first_chunk::<8>()?;
        Some(Self {
            sequence: u64::from_be_bytes(*sequence),
            sent: Instant(u64::from_be_bytes(*sent)),
        })
    }
}

/// Cuts a byte stream into records, whatever pieces it comes in.
#[derive(Debug, Default)]
pub(crate) struct Records {
    rest: Vec<u8>,
}

impl Records {
    /// The records that are complete now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Record> {
        self.rest.extend_from_slice(bytes);
        let complete = self.rest.len() / RECORD_LENGTH * RECORD_LENGTH;
        let records = self.rest[..complete]
            .chunks_exact(RECORD_LENGTH)
            .filter_map(Record::from_bytes)
            .collect();
        self.rest.drain(..complete);
        records
    }
}

/// Now, by the clock that all processes of the machine share.
pub fn now() -> Instant {
    // CLOCK_MONOTONIC exists on every Linux and does not go below zero.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        let seconds = u64::try_from(t.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0)
    });
    Instant(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_any_cut() {
        let sent: Vec<Record> = (0..5)
            .map(|n| Record {
                sequence: n,
                sent: Instant(100 + n),
            })
            .collect();
        let bytes: Vec<u8> = sent.iter().flat_map(|r| r.to_bytes()).collect();
        for cut in 1..bytes.len() {
            let mut records = Records::default();
            let got: Vec<Record> = bytes
                .chunks(cut)
                .flat_map(|piece| records.push(piece))
                .collect();
            assert_eq!(got, sent, "cut every {cut} bytes");
        }
    }
}
