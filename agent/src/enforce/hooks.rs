//! Which interfaces carry our programs.
//!
//! A hook stays on its interface until the interface is gone, also when the workload is: what still lives behind it is
//! then no workload that anybody vouches for, and everything is denied to it.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::Hook;
use tracing::{info, warn};

use crate::interfaces::{Binding, Links};
use crate::kernel::{Kernel, KernelError};

/// Hooks known to be where they should.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    /// Interfaces that carry both programs, with their names.
    carried: BTreeMap<u32, String>,
}

impl Hooks {
    /// Puts both programs on a workload's interface unless they are there.
    pub(super) fn attach(
        &mut self,
        kernel: &mut Kernel,
        binding: &Binding,
    ) -> Result<(), KernelError> {
        if self.carried.get(&binding.ifindex) == Some(&binding.name) {
            return Ok(());
        }
        self.put(kernel, binding.ifindex, &binding.name)
    }

    fn put(&mut self, kernel: &mut Kernel, ifindex: u32, name: &str) -> Result<(), KernelError> {
        if position(kernel, name)?.is_none() {
            // In place where a link is pinned; a pin of an interface of the past that had the number leads nowhere.
            kernel.attach(name, ifindex)?;
            info!(interface = name, "guarded");
        }
        self.carried.insert(ifindex, name.to_owned());
        Ok(())
    }

    /// Takes over interfaces that programs of another ABI version guard, and then takes those away. To be called once the own
    /// tables hold what they should.
    pub(super) fn supersede(
        &mut self,
        kernel: &mut Kernel,
        links: &Links,
    ) -> Result<usize, KernelError> {
        let others = kernel.other_links()?;
        for (version, ifindex, hook) in &others {
            // A number that another interface has by now is none that they guard.
            if let Some(link) = links.by_index.get(ifindex)
                && kernel.is_guarded_by(version, &link.name, *ifindex, *hook)?
            {
                self.put(kernel, *ifindex, &link.name)?;
            }
        }
        kernel.remove_others()?;
        Ok(others.len())
    }

    /// Goes on with interfaces on which both programs were found, although nobody has said yet whose they are.
    pub(super) fn adopt(&mut self, kernel: &Kernel, links: &Links) -> Result<(), KernelError> {
        for (ifindex, _) in kernel.pinned_links()? {
            if let Some(link) = links.by_index.get(&ifindex)
                && position(kernel, &link.name)?.is_some()
            {
                self.carried.insert(ifindex, link.name.clone());
            }
        }
        Ok(())
    }

    /// Interfaces on which both programs were found or put.
    pub(super) fn guarded(&self) -> BTreeSet<u32> {
        self.carried.keys().copied().collect()
    }

    /// Forgets interfaces that are gone.
    pub(super) fn forget(&mut self, kernel: &mut Kernel, links: &Links) {
        let pinned = kernel
            .pinned_links()
            .unwrap_or_default()
            .into_iter()
            .map(|(ifindex, _)| ifindex);
        let known: BTreeSet<u32> = pinned.chain(self.carried.keys().copied()).collect();
        for ifindex in known
            .into_iter()
            .filter(|ifindex| !links.by_index.contains_key(ifindex))
        {
            self.carried.remove(&ifindex);
            if let Err(error) = kernel.detach(ifindex) {
                warn!(%error, ifindex, "the pins of an interface that is gone stay behind");
            }
        }
    }

    /// Looks whether the programs are still on every interface; puts them back. Returns how many interfaces lacked them. Where
    /// others have come before them, that is only said: moving would leave a gap.
    pub(super) fn check(&mut self, kernel: &mut Kernel) -> Result<usize, KernelError> {
        let mut repaired = 0;
        for (ifindex, name) in &self.carried {
            match position(kernel, name)? {
                Some(0) => {}
                Some(before) => warn!(
                    interface = name,
                    before, "other programs come before the hooks and may pass packets by"
                ),
                None => {
                    kernel.attach(name, *ifindex)?;
                    warn!(interface = name, "the hooks were taken off; put back");
                    repaired += 1;
                }
            }
        }
        Ok(repaired)
    }
}

/// How many programs come before ours on the interface, on the worse of both hooks; `None` if one of ours is missing.
fn position(kernel: &Kernel, interface: &str) -> Result<Option<usize>, KernelError> {
    let mut worst = 0;
    for hook in Hook::ALL {
        match kernel.attached(interface, hook)?.position {
            Some(position) => worst = worst.max(position),
            None => return Ok(None),
        }
    }
    Ok(Some(worst))
}
