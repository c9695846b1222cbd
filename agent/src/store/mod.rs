//! The last realised graph on disk, so that a node whose controller is away starts with what it enforced before.
//!
//! The file is replaced as a whole, and read only if it is whole: a header with its version and length, and a checksum over
//! the content. The digest of the graph is computed again after reading. Enforcement never waits for it and
//! never depends on it: a file that cannot be written or read is reported and treated as none. Beside it lies a small
//! file with the newest inputs that were acknowledged ([`Mark`]), which a full disk does not keep from being written.

mod mark;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bulkhead_graph::{Delta, DeltaError, Digest, NodeGraph};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use mark::Mark;

const MAGIC: &[u8; 16] = b"bulkhead graph 2";
const CHECKSUM_BYTES: usize = 32;
/// Addresses and rules of the node's neighbours are nobody else's business.
const OWNER_ONLY: u32 = 0o600;
/// Far more than a node's graph takes; a length beyond it is damage.
const LONGEST_BYTES: u64 = 1 << 30;

/// What is kept beside the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Names the run of the machine: after a reboot nobody knows yet who the local workloads are.
    pub boot_id: String,
    /// The frontier of the graph's inputs, as the controller sent it.
    pub frontier: Vec<u8>,
}

/// What is in the file.
#[derive(Debug)]
pub struct Stored {
    /// The graph, whole.
    pub graph: NodeGraph,
    /// What was kept beside it.
    pub context: Context,
}

#[derive(Serialize, Deserialize)]
struct Content {
    context: Context,
    snapshot: Delta,
}

/// The files.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    mark: PathBuf,
}

/// Why the last graph could not be kept or found.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file system refuses. Enforcement goes on; a restarted agent would wait for the controller.
    #[error(
        "cannot write {path}: {reason}; make room or mend the directory, enforcement goes on without the file"
    )]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The file is there and cannot be read.
    #[error("cannot read {path}: {reason}; starting without the last graph")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The file is not what was written.
    #[error("{path} is damaged ({what}); starting without the last graph")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: Damage,
    },
}

/// What is wrong with a file.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Damage {
    /// Another program's, or another version's.
    #[error("it does not begin as such a file does")]
    Header,
    /// Shorter or longer than it says.
    #[error("it has {actual} bytes of content instead of {announced}")]
    Length {
        /// What its header says.
        announced: u64,
        /// What there is.
        actual: u64,
    },
    /// Some bit is another.
    #[error("its checksum does not match")]
    Checksum,
    /// The content cannot be read.
    #[error("its content cannot be read: {0}")]
    Content(String),
    /// The graph is not the one it is named by.
    #[error("{0}")]
    Graph(DeltaError),
}

impl Store {
    /// The files `graph` and `frontier` in a directory, which exists.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            path: directory.join("graph"),
            mark: directory.join("frontier"),
        }
    }

    /// Takes the room that [`Store::save_mark`] needs while there is some.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn prepare(&self) -> Result<(), StoreError> {
        mark::prepare(&self.mark).map_err(|reason| self.mark_refused(reason))
    }

    /// Notes how far the node has come.
    ///
    /// # Errors
    /// If the file system refuses; the mark before is there then.
    pub fn save_mark(&self, mark: &Mark) -> Result<(), StoreError> {
        mark::save(&self.mark, mark).map_err(|reason| self.mark_refused(reason))
    }

    /// How far the node had come; `None` if that was never noted.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn load_mark(&self) -> Result<Option<Mark>, StoreError> {
        mark::load(&self.mark).map_err(|reason| StoreError::Read {
            path: self.mark.clone(),
            reason,
        })
    }

    fn mark_refused(&self, reason: io::Error) -> StoreError {
        StoreError::Write {
            path: self.mark.clone(),
            reason,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file. After a crash at any moment either the old or the new one is there.
    ///
    /// # Errors
    /// If the file system refuses (full disk, missing directory); the old file is untouched then.
    pub fn save(&self, graph: &NodeGraph, context: &Context) -> Result<Digest, StoreError> {
        let refuse = |reason| StoreError::Write {
            path: self.path.clone(),
            reason,
        };
        let bytes = to_bytes(graph, context).map_err(refuse)?;
        self.replace(&bytes).map_err(refuse)?;
        Ok(graph.digest())
    }

    /// Where a new file grows before it takes the place of the old one.
    fn beside(&self) -> PathBuf {
        self.path.with_extension("new")
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let beside = self.beside();
        let new = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(OWNER_ONLY)
            .open(&beside);
        let written = new.and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if let Err(error) = written.and_then(|()| fs::rename(&beside, &self.path)) {
            // What is left of it takes room that is needed; that it stays is no further harm.
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        match self.path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }

    /// The graph that was saved last; `None` if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read or is not whole.
    pub fn load(&self) -> Result<Option<Stored>, StoreError> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path)
            .and_then(|file| file.take(LONGEST_BYTES).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(reason) => {
                return Err(StoreError::Read {
                    path: self.path.clone(),
                    reason,
                });
            }
            Ok(_) => {}
        }
        let damaged = |what| StoreError::Damaged {
            path: self.path.clone(),
            what,
        };
        Stored::from_bytes(&bytes).map(Some).map_err(damaged)
    }

    /// Takes the files away.
    ///
    /// # Errors
    /// If one is there and stays.
    pub fn remove(&self) -> Result<(), StoreError> {
        let unfinished = self.beside();
        for path in [&self.path, &unfinished, &self.mark] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::Write {
                        path: path.clone(),
                        reason: error,
                    });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Stored {
    /// What a file with these bytes says.
    ///
    /// # Errors
    /// If it is not whole.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Damage> {
        let Content { context, snapshot } = decode(bytes)?;
        // The checksum has shown that it is what was written; an earlier version may have named it otherwise.
        let graph = snapshot.unpacked().map_err(Damage::Graph)?;
        Ok(Self { graph, context })
    }

    /// The bytes of a file that says this.
    ///
    /// # Errors
    /// If the content has no serial form, which no graph is known for.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        to_bytes(&self.graph, &self.context)
    }
}

fn to_bytes(graph: &NodeGraph, context: &Context) -> io::Result<Vec<u8>> {
    encode(&Content {
        context: context.clone(),
        snapshot: Delta::snapshot(graph),
    })
}

fn encode(content: &Content) -> io::Result<Vec<u8>> {
    let body = postcard::to_allocvec(content).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(MAGIC.len() + 8 + CHECKSUM_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(blake3::hash(&body).as_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Result<Content, Damage> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(Damage::Header)?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(Damage::Header)?;
    let (checksum, body) = rest
        .split_first_chunk::<CHECKSUM_BYTES>()
        .ok_or(Damage::Header)?;
    let (announced, actual) = (u64::from_le_bytes(*length), body.len() as u64);
    if announced != actual {
        return Err(Damage::Length { announced, actual });
    }
    if blake3::hash(body).as_bytes() != checksum {
        return Err(Damage::Checksum);
    }
    postcard::from_bytes(body).map_err(|error| Damage::Content(error.to_string()))
}

#[cfg(test)]
mod tests;
