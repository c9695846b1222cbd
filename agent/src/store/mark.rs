//! The newest inputs that this node has acknowledged, in a small file of fixed size that is overwritten in place.
//!
//! It has two places, written in turn: a crash in the middle of one leaves the other. No room has to be found for it,
//! so a full disk keeps nobody from noting how far the node has come.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use bulkhead_graph::Digest;
use serde::{Deserialize, Serialize};

use super::{CHECKSUM_BYTES, OWNER_ONLY};

/// What a file system writes at once.
const PLACE_BYTES: usize = 4_096;
const PLACES: u64 = 2;
const HEAD_BYTES: usize = CHECKSUM_BYTES + 4;

/// Which revision was made of which inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The revision.
    pub digest: Digest,
    /// The frontier of its inputs, as the controller sent it.
    pub frontier: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    /// Counts; the greater one is newer.
    number: u64,
    mark: Mark,
}

/// The newest mark, if the file is there. A place that is not whole is as if it were empty.
pub(super) fn load(path: &Path) -> io::Result<Option<Mark>> {
    match File::open(path) {
        Ok(file) => Ok(newest(&file).1.map(|content| content.mark)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes into the place of the older mark.
pub(super) fn save(path: &Path, mark: &Mark) -> io::Result<()> {
    let file = open(path)?;
    let (place, newest) = newest(&file);
    let content = Content {
        number: newest.map_or(0, |content| content.number) + 1,
        mark: mark.clone(),
    };
    let body = postcard::to_allocvec(&content).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(PLACE_BYTES);
    bytes.extend_from_slice(blake3::hash(&body).as_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&body);
    if bytes.len() > PLACE_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    bytes.resize(PLACE_BYTES, 0);
    file.write_all_at(&bytes, place * PLACE_BYTES as u64)?;
    file.sync_data()
}

/// Makes the file, all of it, while there is room.
pub(super) fn prepare(path: &Path) -> io::Result<()> {
    open(path).map(drop)
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(OWNER_ONLY)
        .open(path)?;
    let whole = PLACES * PLACE_BYTES as u64;
    let length = file.metadata()?.len();
    if length < whole {
        // Really written, or the file system would look for room only when it is needed.
        let missing = vec![0; usize::try_from(whole - length).unwrap_or(PLACE_BYTES)];
        file.write_all_at(&missing, length)?;
        file.sync_all()?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
    }
    Ok(file)
}

/// The place to be written next, and what the other one holds.
fn newest(file: &File) -> (u64, Option<Content>) {
    let places = (0..PLACES).filter_map(|place| Some((place, read(file, place)?)));
    match places.max_by_key(|(_, content)| content.number) {
        Some((place, content)) => ((place + 1) % PLACES, Some(content)),
        None => (0, None),
    }
}

fn read(file: &File, place: u64) -> Option<Content> {
    let mut bytes = vec![0; PLACE_BYTES];
    file.read_exact_at(&mut bytes, place * PLACE_BYTES as u64)
        .ok()?;
    let (checksum, rest) = bytes.split_at(CHECKSUM_BYTES);
    let (length, rest) = rest.split_at(HEAD_BYTES - CHECKSUM_BYTES);
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let body = rest.get(..length)?;
    if blake3::hash(body).as_bytes() != checksum {
        return None;
    }
    postcard::from_bytes(body).ok()
}
