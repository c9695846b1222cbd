//! Links: programs on a workload's interface.
//!
//! A link that is pinned is updated in place, never detached first, so no packet passes unjudged (CVE-2023-27595). Our
//! programs come first on the hook; where somebody has put another before them, [`attached`] shows it.

use super::load::{LINKS, Pins, pin_failed};
use super::{Kernel, KernelError};
use crate::reason::whole;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};
use bulkhead_datapath::abi::Hook;
use std::path::{Path, PathBuf};
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
    move |reason| KernelError::Program {
        program: hook.name(),
        reason: Box::new(reason),
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
            let updated = match &pin {
                Some(path) if path.exists() => update(program, hook, path)?,
                Some(_) | None => Updated::Nothing,
            };
            if updated == Updated::Nothing {
                create(program, hook, interface, pin)?;
            }
        }
        Ok(())
    }

    /// Replaces the programs of every pinned link by this object's. Returns how many there are.
    pub fn update_links(&mut self) -> Result<usize, KernelError> {
        let mut updated = 0;
        for (ifindex, hook) in self.pinned_links()? {
            if let Some(path) = self.link_pin(ifindex, hook)
                && update(self.program_mut(hook)?, hook, &path)? == Updated::InPlace
            {
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
        match &self.pins {
            Some(pins) => links_in(&pins.links()),
            None => Ok(Vec::new()),
        }
    }

    /// Links of other ABI versions, by the folder of their version.
    pub fn other_links(&self) -> Result<Vec<(PathBuf, u32, Hook)>, KernelError> {
        let mut links = Vec::new();
        for version in self.pins.iter().flat_map(Pins::other_versions) {
            let folder = version.join(LINKS);
            if folder.exists() {
                let own = links_in(&folder)?.into_iter();
                links.extend(own.map(|(ifindex, hook)| (version.clone(), ifindex, hook)));
            }
        }
        Ok(links)
    }

    /// Whether the link that another ABI version pinned still stands on the interface.
    pub fn is_guarded_by(
        &self,
        version: &Path,
        interface: &str,
        ifindex: u32,
        hook: Hook,
    ) -> Result<bool, KernelError> {
        let path = version.join(LINKS).join(link_name(ifindex, hook));
        let link =
            PinnedLink::from_pin(&path).map_err(|error| link_failed(path.clone(), &error))?;
        let info = FdLink::from(link).info();
        let own = info
            .map_err(|error| link_failed(path, &error))?
            .program_id();
        Ok(attached(interface, hook, own)?.position.is_some())
    }

    /// What stands on a hook of an interface, and where our program is among it.
    pub fn attached(&self, interface: &str, hook: Hook) -> Result<Attached, KernelError> {
        let own = self.program(hook)?.info().map_err(failed(hook))?.id();
        attached(interface, hook, own)
    }

    fn link_pin(&self, ifindex: u32, hook: Hook) -> Option<PathBuf> {
        Some(self.pins.as_ref()?.links().join(link_name(ifindex, hook)))
    }
}

fn link_name(ifindex: u32, hook: Hook) -> String {
    format!("{ifindex}-{}", hook.name())
}

/// Interfaces and hooks with a link in a folder, in order.
fn links_in(folder: &Path) -> Result<Vec<(u32, Hook)>, KernelError> {
    let mut links = Vec::new();
    for entry in fs::read_dir(folder).map_err(pin_failed(folder))? {
        let name = entry.map_err(pin_failed(folder))?.file_name();
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

/// Whether a program with the name of ours stands on a hook of an interface, whoever holds it.
pub fn carries(interface: &str, hook: Hook) -> Result<bool, KernelError> {
    let (_, programs) =
        SchedClassifier::query_tcx(interface, attach_type(hook)).map_err(failed(hook))?;
    Ok(programs
        .iter()
        .any(|program| program.name_as_str() == Some(hook.name())))
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

/// What became of a pinned link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Updated {
    InPlace,
    /// It led to an interface that is gone, or somebody took it off: the pin is gone, too.
    Nothing,
}

fn update(program: &mut SchedClassifier, hook: Hook, path: &Path) -> Result<Updated, KernelError> {
    let pinned = PinnedLink::from_pin(path).map_err(|error| link_failed(path.into(), &error))?;
    let link = SchedClassifierLink::try_from(FdLink::from(pinned))
        .map_err(|error| link_failed(path.into(), &error))?;
    match program.attach_to_link(link) {
        Ok(id) => {
            // Our copy of the link is closed; the pin holds the other.
            drop(program.take_link(id).map_err(failed(hook))?);
            Ok(Updated::InPlace)
        }
        Err(error) if leads_nowhere(&error) => {
            fs::remove_file(path).map_err(pin_failed(path))?;
            Ok(Updated::Nothing)
        }
        Err(error) => Err(failed(hook)(error)),
    }
}

/// What the kernel says of a link without interface.
fn leads_nowhere(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(call) = error else {
        return false;
    };
    call.io_error.raw_os_error() == Some(libc::ENOLINK)
}

fn link_failed(path: PathBuf, error: &dyn std::error::Error) -> KernelError {
    KernelError::Pin {
        path,
        reason: io::Error::other(whole(error)),
    }
}
