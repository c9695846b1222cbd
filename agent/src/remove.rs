//! Taking everything out of the kernel, and only when somebody says so.

use anyhow::{Context as _, bail};

use crate::checks;
use crate::clock;
use crate::http::SOCKET;
use crate::kernel::Kernel;
use crate::settings::{Places, Remove};
use crate::store::Store;

/// Detaches every hook, removes programs and tables, and forgets the last graph.
///
/// # Errors
/// If an agent runs, if nothing is pinned there though one has run, or if something stays.
pub fn remove(remove: &Remove) -> anyhow::Result<()> {
    remove.logging.start().map_err(anyhow::Error::msg)?;
    checks::root()?;
    let places = &remove.places;
    let _lock = checks::state(&places.state)?;
    let pins = places.pins.display();
    if Kernel::remove(&places.pins)? {
        tracing::warn!(%pins, "all hooks are removed: from now on nothing is enforced on this node");
    } else if has_run_since_boot(places) {
        bail!(
            "nothing of an agent is pinned in {pins}, and yet one has run with --state {}: name the --pins that it ran with; \
             until then its hooks stay, and its last graph is kept",
            places.state.display()
        );
    } else {
        tracing::info!(%pins, "nothing of an agent is pinned there");
    }
    // No later agent may take up what is enforced no more, whatever stays behind in the folder of pins.
    Store::in_directory(&places.state).remove()?;
    match std::fs::remove_dir(&places.pins) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("{}: it stays behind", places.pins.display()));
        }
        Ok(()) | Err(_) => {}
    }
    // A socket that is not there is no trouble.
    let _ = std::fs::remove_file(places.state.join(SOCKET));
    Ok(())
}

/// Whether a graph was in force on this node that its kernel has not forgotten by a reboot.
fn has_run_since_boot(places: &Places) -> bool {
    let stored = Store::in_directory(&places.state).load().ok().flatten();
    stored.is_some_and(|stored| stored.context.boot_id == clock::boot_id())
}
