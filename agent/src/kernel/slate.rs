//! A few words that the agent leaves for its successor, in the kernel itself.
//!
//! They live exactly as long as the tables that they speak of, need no disk, and are replaced by one system call: a
//! killed agent has left the old words or the new ones. What they mean is the business of `enforce`.

use super::KernelError;
use super::load::pin_failed;
use crate::reason::whole;
use aya::maps::{Array, Map, MapData, MapError};
use std::io;
use std::path::Path;

/// Far more than two frontiers of all kinds take.
const BYTES: usize = 8_192;
const LENGTH_BYTES: usize = 4;

/// The map has one element: a length, and so many bytes.
pub struct Slate {
    array: Array<MapData, [u8; BYTES]>,
}

impl Slate {
    /// Opens the pinned one, or pins a new one. Without a path it ends with this process.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, KernelError> {
        let failed = |reason: MapError| KernelError::Slate(Box::new(reason));
        let Some(path) = path else {
            return Ok(Self {
                array: Array::create(1, 0).map_err(failed)?,
            });
        };
        if !path.exists() {
            let array: Array<MapData, [u8; BYTES]> = Array::create(1, 0).map_err(failed)?;
            array
                .pin(path)
                .map_err(|error| pin_failed(path)(io::Error::other(whole(&error))))?;
        }
        let data = MapData::from_pin(path).map_err(failed)?;
        Ok(Self {
            array: Array::try_from(Map::Array(data)).map_err(failed)?,
        })
    }

    /// What was written last; nothing at first.
    pub fn read(&self) -> Result<Vec<u8>, KernelError> {
        let element = self
            .array
            .get(&0, 0)
            .map_err(|reason| KernelError::Slate(Box::new(reason)))?;
        let (length, words) = element.split_at(LENGTH_BYTES);
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        Ok(words.get(..length).unwrap_or_default().to_vec())
    }

    /// Replaces what is written there.
    pub fn write(&mut self, words: &[u8]) -> Result<(), KernelError> {
        let too_long = || KernelError::Call {
            call: "noting the revision in the kernel",
            reason: io::ErrorKind::FileTooLarge.into(),
        };
        let mut element = [0; BYTES];
        element
            .get_mut(LENGTH_BYTES..LENGTH_BYTES + words.len())
            .ok_or_else(too_long)?
            .copy_from_slice(words);
        let length = u32::try_from(words.len()).map_err(|_| too_long())?;
        element[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        self.array
            .set(0, element, 0)
            .map_err(|reason| KernelError::Slate(Box::new(reason)))
    }
}
