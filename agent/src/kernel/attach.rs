//! Links: programs on a workload's interface.
//!
//! A link that is pinned is updated in place, never detached first, so no packet passes unjudged. Our programs come
//! first on the hook; where somebody has put another before them, [`attached`] shows it.

use super::load::pin_failed;
use super::{Kernel, KernelError};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use bulkhead_datapath::abi::Hook;
use std::path::PathBuf;
use std::{fs, io};

/// What stands on one hook of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Program ids in the order in which they run.
    pub programs: Vec<u32>,
    /// Position of ours, if it is there.
    pub position: Option<usize>,
}

const fn attach_type(hook: Hook) -> TcAttachType {
    match hook {
        Hook::FromWorkload => TcAttachType::Ingress,
        Hook::ToWorkload => TcAttachType::Egress,
    }
}

fn failed(hook: Hook) -> impl FnOnce(ProgramError) -> KernelError {
    move |source| KernelError::Program {
        program: hook.name(),
        source: Box::new(source),
    }
}

impl Kernel {
    /// Puts both programs on an interface of this network namespace, or replaces what is pinned for it.
    ///
    /// The egress hook comes first: a workload that is answered before it is heard cannot do harm.
    pub fn attach(&mut self, interface: &str, ifindex: u32) -> Result<(), KernelError> {
        for hook in [Hook::ToWorkload, Hook::FromWorkload] {
            let pin = self.link_pin(ifindex, hook);
            let program = self.program_mut(hook)?;
            match pin {
                Some(path) if path.exists() => update(program, hook, path)?,
                pin => create(program, hook, interface, pin)?,
            }
        }
        Ok(())
    }

    /// Replaces the programs of every pinned link by this object's.
    pub fn update_links(&mut self) -> Result<usize, KernelError> {
        let mut updated = 0;
        for (ifindex, hook) in self.pinned_links()? {
            if let Some(path) = self.link_pin(ifindex, hook) {
                update(self.program_mut(hook)?, hook, path)?;
                updated += 1;
            }
        }
        Ok(updated)
    }

    /// Forgets the links of an interface that is gone, or that must not be guarded any more.
    pub fn detach(&mut self, ifindex: u32) -> Result<(), KernelError> {
        for hook in Hook::ALL {
            let Some(path) = self.link_pin(ifindex, hook) else {
                continue;
            };
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(pin_failed(&path)(error)),
            }
        }
        Ok(())
    }

    /// Interfaces and hooks with a pinned link, in order.
    pub fn pinned_links(&self) -> Result<Vec<(u32, Hook)>, KernelError> {
        let Some(pins) = &self.pins else {
            return Ok(Vec::new());
        };
        let folder = pins.links();
        let mut links = Vec::new();
        for entry in fs::read_dir(&folder).map_err(pin_failed(&folder))? {
            let name = entry.map_err(pin_failed(&folder))?.file_name();
            let Some((ifindex, hook)) = name.to_str().and_then(|name| name.split_once('-')) else {
                continue;
            };
            let hook = Hook::ALL
                .into_iter()
                .find(|candidate| candidate.name() == hook);
            if let (Ok(ifindex), Some(hook)) = (ifindex.parse(), hook) {
                links.push((ifindex, hook));
            }
        }
        links.sort_unstable();
        Ok(links)
    }

    /// What stands on a hook of an interface, and where our program is among it.
    pub fn attached(&self, interface: &str, hook: Hook) -> Result<Attached, KernelError> {
        let own = self.program(hook)?.info().map_err(failed(hook))?.id();
        attached(interface, hook, own)
    }

    fn link_pin(&self, ifindex: u32, hook: Hook) -> Option<PathBuf> {
        Some(
            self.pins
                .as_ref()?
                .links()
                .join(format!("{ifindex}-{}", hook.name())),
        )
    }
}

/// What stands on a hook of an interface, and where the program with id `own` is among it.
pub fn attached(interface: &str, hook: Hook, own: u32) -> Result<Attached, KernelError> {
    let (_, programs) =
        SchedClassifier::query_tcx(interface, attach_type(hook)).map_err(failed(hook))?;
    let programs: Vec<u32> = programs
        .iter()
        .map(aya::programs::ProgramInfo::id)
        .collect();
    let position = programs.iter().position(|id| *id == own);
    Ok(Attached { programs, position })
}

fn create(
    program: &mut SchedClassifier,
    hook: Hook,
    interface: &str,
    pin: Option<PathBuf>,
) -> Result<(), KernelError> {
    let order = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(interface, attach_type(hook), order)
        .map_err(failed(hook))?;
    let Some(path) = pin else { return Ok(()) };
    let link = program.take_link(id).map_err(failed(hook))?;
    let link = FdLink::try_from(link).map_err(|error| link_failed(path.clone(), &error))?;
    link.pin(&path).map_err(|error| link_failed(path, &error))?;
    Ok(())
}

fn update(program: &mut SchedClassifier, hook: Hook, path: PathBuf) -> Result<(), KernelError> {
    let pinned = PinnedLink::from_pin(&path).map_err(|error| link_failed(path.clone(), &error))?;
    let link = SchedClassifierLink::try_from(FdLink::from(pinned))
        .map_err(|error| link_failed(path.clone(), &error))?;
    let id = program.attach_to_link(link).map_err(failed(hook))?;
    // Our copy of the link is closed; the pin holds the other.
    drop(program.take_link(id).map_err(failed(hook))?);
    Ok(())
}

fn link_failed(path: PathBuf, error: &dyn std::error::Error) -> KernelError {
    KernelError::Pin {
        path,
        source: io::Error::other(error.to_string()),
    }
}
