//! The ring of events. The programs never wake a reader: it comes by in its own rhythm and drains in one burst.

use super::KernelError;
use super::maps::failed;
use aya::maps::{Map, MapData, RingBuf};
use bulkhead_datapath::abi::{EventRecord, MapName, Plain};

/// Reads what the programs report.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    pub(crate) fn new(data: MapData) -> Result<Self, KernelError> {
        let ring = RingBuf::try_from(Map::RingBuf(data))
            .map_err(|source| failed(MapName::Events, source))?;
        Ok(Self { ring })
    }

    /// Takes what has been reported since, at most `limit` records.
    pub fn drain(&mut self, limit: usize) -> Vec<EventRecord> {
        let mut records = Vec::new();
        while records.len() < limit {
            let Some(item) = self.ring.next() else { break };
            records.extend(EventRecord::from_bytes(&item));
        }
        records
    }
}
