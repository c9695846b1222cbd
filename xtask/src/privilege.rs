//! Who runs us. Tasks that need root say so before they build anything.

use anyhow::{Result, bail};

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Fails at once, with the remedy, where `task` cannot do its work without root.
pub(crate) fn require_root(task: &str, why: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!(
        "`cargo xtask {task}` needs root: {why}.\n\
         Nothing has been built yet. Run `sudo -E env PATH=\"$PATH\" cargo xtask {task}`, \
         or, without root, `cargo xtask test unit`."
    )
}
