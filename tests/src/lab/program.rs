//! Finding the programs that a lab runs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// A program built by this workspace: in the folder that `BULKHEAD_BIN_DIR` names, else beside this one.
pub fn find_program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the path of this program")?;
    let asked = std::env::var_os("BULKHEAD_BIN_DIR").map(PathBuf::from);
    // Tests run in a folder below that of the programs.
    let places: Vec<PathBuf> = asked
        .into_iter()
        .chain(own.ancestors().skip(1).take(2).map(PathBuf::from))
        .collect();
    match places
        .iter()
        .map(|place| place.join(name))
        .find(|path| path.is_file())
    {
        Some(path) => Ok(path),
        None => bail!(
            "the program {name} is not built (looked into {places:?}); `cargo xtask demo` and `cargo xtask test net` build it, or name its folder in BULKHEAD_BIN_DIR"
        ),
    }
}
