//! What the machine has to provide: Go, and programs of Debian packages. Checked before anything is started, so that what is
//! missing is named instead of showing up as a node that never gets ready.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// A program (by name, or by path where it is in nobody's PATH) and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("timeout", "coreutils"),
    ("/bin/busybox", "busybox-static"),
];

/// Fails with the packages to install, or with what else is missing.
pub(crate) fn check() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the cluster makes namespaces, mounts and cgroups: run it as root");
    }
    let mut packages: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    if !packages.is_empty() {
        bail!(
            "missing Debian packages; install them with: apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    Ok(())
}

/// Where a program is, as a shell would find it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrator = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrator)
        .map(|folder| folder.join(Path::new(program)))
        .find(|candidate| candidate.is_file())
}
