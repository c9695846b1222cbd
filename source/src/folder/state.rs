//! What a folder source keeps on disk: the number of its last update, and the last good version of every file.
//!
//! Without the first, a restarted controller could call an older state by a newer name; without the second, a file
//! that is broken at the start would lose its objects.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bulkhead_policy::model::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::index::LastGood;

/// Why the state cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// The disk refuses.
    #[error("{}: {reason}; the folder source needs a writable place with free space for its state", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// Something else wrote there, or the disk lost it.
    #[error(
        "{}: not readable as state of a folder source ({reason}); restore it, or remove it to begin a new incarnation",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Counter {
    incarnation: Timestamp,
    version: u64,
}

/// The state on disk, or in memory only where nothing has to survive.
#[derive(Debug)]
pub(super) struct State {
    folder: Option<PathBuf>,
    counter: Counter,
}

impl State {
    /// Opens what is there, or begins a new incarnation at `now`.
    pub(super) fn open(
        folder: Option<PathBuf>,
        now: Timestamp,
    ) -> Result<(Self, LastGood), StateError> {
        let fresh = Counter {
            incarnation: now,
            version: 0,
        };
        let Some(folder) = folder else {
            return Ok((
                Self {
                    folder: None,
                    counter: fresh,
                },
                LastGood::new(),
            ));
        };
        fs::create_dir_all(&folder).map_err(|reason| StateError::Io {
            path: folder.clone(),
            reason,
        })?;
        let counter = read(&counter_path(&folder))?.unwrap_or(fresh);
        let last_good = read(&last_good_path(&folder))?.unwrap_or_default();
        Ok((
            Self {
                folder: Some(folder),
                counter,
            },
            last_good,
        ))
    }

    pub(super) fn incarnation(&self) -> Timestamp {
        self.counter.incarnation
    }

    /// The number of the next update. It is on disk when this returns.
    pub(super) fn next_version(&mut self) -> Result<u64, StateError> {
        let next = Counter {
            version: self.counter.version + 1,
            ..self.counter
        };
        if let Some(folder) = &self.folder {
            write(&counter_path(folder), &next)?;
        }
        self.counter = next;
        Ok(next.version)
    }

    pub(super) fn keep(&self, last_good: &LastGood) -> Result<(), StateError> {
        self.folder
            .as_ref()
            .map_or(Ok(()), |folder| write(&last_good_path(folder), last_good))
    }
}

fn counter_path(folder: &Path) -> PathBuf {
    folder.join("frontier.json")
}

fn last_good_path(folder: &Path) -> PathBuf {
    folder.join("last-good.json")
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, StateError> {
    match fs::read(path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|reason| StateError::Damaged {
                    path: path.to_owned(),
                    reason,
                })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(reason) => Err(StateError::Io {
            path: path.to_owned(),
            reason,
        }),
    }
}

/// All or nothing, also when the power goes. Only its owner can read it: it says who may reach whom.
fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let damaged = |reason| StateError::Damaged {
        path: path.to_owned(),
        reason,
    };
    let bytes = serde_json::to_vec(value).map_err(damaged)?;
    let aside = path.with_extension("new");
    let replace = || {
        // What an earlier attempt left there has the rights that it had then.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        // The new name, too, has to be there after a power loss.
        path.parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    replace().map_err(|reason| StateError::Io {
        path: path.to_owned(),
        reason,
    })
}
