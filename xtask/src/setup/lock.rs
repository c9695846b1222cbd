//! One set-up at a time: checkouts share the tools folder.

use std::fs::{self, File};

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// Held until it is dropped; waits for another checkout's set-up, and says so.
pub(super) fn tools(workspace: &Workspace) -> Result<File> {
    let folder = workspace.tools();
    let path = folder.join("lock");
    let refused = || format!("cannot lock {}", path.display());
    fs::create_dir_all(&folder).with_context(refused)?;
    let file = File::create(&path).with_context(refused)?;
    if file.try_lock().is_err() {
        eprintln!("setup: waiting for the set-up of another checkout");
        file.lock().with_context(refused)?;
    }
    Ok(file)
}
