//! Taking everything out of the kernel, and only when somebody says so.

use anyhow::Context as _;

use crate::checks;
use crate::http::SOCKET;
use crate::kernel::Kernel;
use crate::settings::Remove;
use crate::store::Store;

/// Detaches every hook, removes programs and tables, and forgets the last graph.
///
/// # Errors
/// If an agent runs, or something stays.
pub fn remove(remove: &Remove) -> anyhow::Result<()> {
    remove.logging.start().map_err(anyhow::Error::msg)?;
    checks::root()?;
    let places = &remove.places;
    let _lock = checks::state(&places.state)?;
    tracing::warn!(pins = %places.pins.display(), "removing all hooks: from now on nothing is enforced on this node");
    Kernel::remove(&places.pins)?;
    match std::fs::remove_dir(&places.pins) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("{}: it stays behind", places.pins.display()));
        }
        Ok(()) | Err(_) => {}
    }
    Store::in_directory(&places.state).remove()?;
    // A socket that is not there is no trouble.
    let _ = std::fs::remove_file(places.state.join(SOCKET));
    Ok(())
}
