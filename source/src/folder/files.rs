//! Which files of a folder are manifests, and their contents.

use std::fs::{self, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::index::{Content, Scan};

/// Names that end so are read; the rest of a folder is none of our business.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Largest file of a folder that is read; a larger one is named and not read.
const FILE_BYTES: u64 = 64 << 20;

/// The manifests of a folder.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) scan: Scan,
    /// The system could not read something that is there: what it says now is not known. What is refused for what it is, as a
    /// pipe or for its size, is known well enough.
    pub(super) is_partial: bool,
}

impl Reading {
    fn fail(&mut self, path: &Path, error: &io::Error) {
        self.is_partial = true;
        let why = format!("it cannot be read ({error}); make it readable");
        self.insert(path, Content::Unreadable(why));
    }

    fn insert(&mut self, path: &Path, content: Content) {
        self.scan.insert(path.display().to_string().into(), content);
    }
}

/// A path that was asked for cannot be read at all.
#[derive(Debug, Error)]
#[error("{}: {reason}; name a file or folder that can be read", path.display())]
pub struct FileError {
    path: PathBuf,
    reason: io::Error,
}

/// The manifests at some paths: files as they are named, folders with everything below them.
///
/// # Errors
/// If one of the paths is not there or is a folder that cannot be listed.
pub fn read_paths(paths: &[PathBuf]) -> Result<Scan, FileError> {
    let mut reading = Reading::default();
    for path in paths {
        let fail = |reason| FileError {
            path: path.clone(),
            reason,
        };
        if fs::metadata(path).map_err(fail)?.is_dir() {
            scan_folder(path, &mut reading).map_err(fail)?;
        } else {
            fs::read(path)
                .map(|bytes| reading.insert(path, Content::Bytes(bytes)))
                .map_err(fail)?;
        }
    }
    Ok(reading.scan)
}

/// Everything in a folder. Hidden names are skipped: editors and mounted volumes keep their own things there.
pub(super) fn scan_folder(folder: &Path, reading: &mut Reading) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            // A folder that vanishes or closes while it is read must not end the reading of the others.
            if let Err(error) = scan_folder(&path, reading) {
                reading.fail(&path, &error);
            }
        } else if path
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|it| extension == *it))
        {
            match read(&path) {
                Ok(content) => reading.insert(&path, content),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => reading.fail(&path, &error),
            }
        }
    }
    Ok(())
}

/// A file of a folder. Reading what is none might never end: a pipe waits for whoever writes, a device goes on for ever.
fn read(path: &Path) -> io::Result<Content> {
    if let Some(refusal) = no_file(fs::metadata(path)?.file_type()) {
        return Ok(refusal);
    }
    // By now it may be another one, and opening a pipe waits, too.
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    let metadata = file.metadata()?;
    if let Some(refusal) = no_file(metadata.file_type()) {
        return Ok(refusal);
    }
    let too_large = || {
        Content::Unreadable(format!(
            "it is larger than {} MiB; spread its objects over several files",
            FILE_BYTES >> 20
        ))
    };
    if metadata.len() > FILE_BYTES {
        return Ok(too_large());
    }
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(match u64::try_from(read) {
        Ok(read) if read <= FILE_BYTES => Content::Bytes(bytes),
        Ok(_) | Err(_) => too_large(),
    })
}

fn no_file(kind: FileType) -> Option<Content> {
    let what = match kind {
        kind if kind.is_file() => return None,
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something else",
    };
    Some(Content::Unreadable(format!(
        "it is {what} and no file; remove it, or put a file in its place"
    )))
}
