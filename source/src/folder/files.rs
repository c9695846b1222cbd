//! Which files of a folder are manifests, and their contents.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::index::{Content, Scan};

/// Names that end so are read; the rest of a folder is none of our business.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// A path that was asked for cannot be read at all.
#[derive(Debug, Error)]
#[error("{}: {source}; name a file or folder that can be read", path.display())]
pub struct FileError {
    path: PathBuf,
    source: io::Error,
}

/// The manifests at some paths: files as they are named, folders with everything below them.
///
/// # Errors
/// If one of the paths is not there or is a folder that cannot be listed.
pub fn read_paths(paths: &[PathBuf]) -> Result<Scan, FileError> {
    let mut scan = Scan::new();
    for path in paths {
        let fail = |source| FileError {
            path: path.clone(),
            source,
        };
        if fs::metadata(path).map_err(fail)?.is_dir() {
            scan_folder(path, &mut scan).map_err(fail)?;
        } else {
            fs::read(path)
                .map(|bytes| scan.insert(path.display().to_string().into(), Content::Bytes(bytes)))
                .map_err(fail)?;
        }
    }
    Ok(scan)
}

/// Everything in a folder. Hidden names are skipped: editors and mounted volumes keep their own things there.
pub(super) fn scan_folder(folder: &Path, scan: &mut Scan) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            // A folder that vanishes or closes while it is read must not end the reading of the others.
            if let Err(error) = scan_folder(&path, scan) {
                scan.insert(path.display().to_string().into(), unreadable(&error));
            }
        } else if path
            .extension()
            .is_some_and(|extension| EXTENSIONS.iter().any(|it| extension == *it))
        {
            let content = match fs::read(&path) {
                Ok(bytes) => Content::Bytes(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => unreadable(&error),
            };
            scan.insert(path.display().to_string().into(), content);
        }
    }
    Ok(())
}

fn unreadable(error: &io::Error) -> Content {
    Content::Unreadable(format!(
        "it cannot be read ({error}), its last good version stays in force; make it readable"
    ))
}
