//! Taking everything out of the kernel, and only when somebody says so.

use anyhow::{Context as _, bail};
use bulkhead_datapath::abi::Hook;

use crate::checks;
use crate::http::SOCKET;
use crate::kernel::{Kernel, carries};
use crate::settings::Remove;
use crate::store::Store;

/// Detaches every hook, removes programs and tables, and forgets the last graph.
///
/// # Errors
/// If an agent runs, if nothing is pinned there and hooks stand nevertheless, or if something stays.
pub fn remove(remove: &Remove) -> anyhow::Result<()> {
    remove.logging.start().map_err(anyhow::Error::msg)?;
    checks::root()?;
    let places = &remove.places;
    let _state = checks::state(&places.state)?;
    // An agent that keeps its state elsewhere holds these. Where there are none, one may be about to make some.
    let there = places.pins.exists();
    let _pins = there.then(|| checks::pins(&places.pins)).transpose()?;
    let pins = places.pins.display();
    if there && Kernel::remove(&places.pins)? {
        tracing::warn!(%pins, "all hooks are removed: from now on nothing is enforced on this node");
    } else if let Some(interface) = guarded()? {
        bail!(
            "nothing of an agent is pinned in {pins}, and yet programs of one stand on {interface}: name the --pins that it ran with; \
             until then they stay, and its last graph is kept"
        );
    } else {
        tracing::info!(%pins, "nothing of an agent is pinned there, and none of its programs stands on an interface");
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

/// An interface on which a program of an agent stands.
fn guarded() -> anyhow::Result<Option<String>> {
    let interfaces = nix::net::if_::if_nameindex().context("the interfaces of this node")?;
    let names = interfaces.iter().map(nix::net::if_::Interface::name);
    Ok(names
        .filter_map(|name| name.to_str().ok())
        .find_map(|name| {
            // An interface may go while it is asked.
            let is_guarded = |hook| carries(name, hook).unwrap_or(false);
            Hook::ALL
                .into_iter()
                .any(is_guarded)
                .then(|| name.to_owned())
        }))
}
