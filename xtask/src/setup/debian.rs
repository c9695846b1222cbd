//! Debian packages: those the tests need on the machine, and single ones unpacked beside it.
//!
//! Installing needs root and is done only for what is missing; unpacking needs none and leaves the
//! machine's own package configuration as it is.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    command::{run, run_quietly},
    privilege::is_root,
    setup::apt_sources::Archive,
};

/// A package, and a file that is there once it is installed: a program, looked for on the search
/// path and where the system keeps its own, or an absolute path.
struct Package {
    name: &'static str,
    proof: &'static str,
}

/// What the tests with real traffic, the demo and the cluster start.
const DEBIAN_PACKAGES: &[Package] = &[
    Package {
        name: "iproute2",
        proof: "ip",
    },
    Package {
        name: "nftables",
        proof: "nft",
    },
    Package {
        name: "openssl",
        proof: "openssl",
    },
    Package {
        name: "iptables",
        proof: "iptables",
    },
    Package {
        name: "conntrack",
        proof: "conntrack",
    },
    Package {
        name: "containerd",
        proof: "containerd",
    },
    Package {
        name: "runc",
        proof: "runc",
    },
    Package {
        name: "busybox-static",
        proof: "/bin/busybox",
    },
    Package {
        name: "containernetworking-plugins",
        proof: "/usr/lib/cni/bridge",
    },
];

/// Programs that only root calls are not on everybody's search path.
const SYSTEM_FOLDERS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Installs what is missing. Without root: says what and how, and is an error.
pub(crate) fn install_missing() -> Result<()> {
    let missing: Vec<&str> = DEBIAN_PACKAGES
        .iter()
        .filter(|package| !is_there(package.proof))
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() {
        bail!(
            "tests with real traffic need packages that are missing, and installing them needs \
             root: run `sudo apt-get install {list}` (building needs none of them)"
        );
    }
    eprintln!("setup: installing Debian packages: {list}");
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
        command
    };
    run_quietly(apt().arg("update")).context("setup, step Debian packages (update)")?;
    // It tells itself how far it is.
    run(apt()
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&missing))
    .context("setup, step Debian packages (install)")
}

fn is_there(proof: &str) -> bool {
    if proof.starts_with('/') {
        return Path::new(proof).exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(Into::into))
        .any(|folder| folder.join(proof).is_file())
}

/// One package of one suite.
pub(crate) struct Download<'a> {
    pub(crate) package: &'a str,
    /// Exact, or with `*` at its end.
    pub(crate) version: &'a str,
    pub(crate) suite: &'a str,
}

/// Downloads a package with a private apt configuration kept in `scratch` and unpacks it to `to`.
pub(crate) fn unpack(download: &Download<'_>, scratch: &Path, to: &Path) -> Result<()> {
    for folder in [scratch, to] {
        if folder.exists() {
            fs::remove_dir_all(folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
    }
    for folder in ["lists/partial", "cache/archives/partial", "packages"] {
        fs::create_dir_all(scratch.join(folder))
            .with_context(|| format!("cannot make {folder} in {}", scratch.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;

    let archive = Archive::find(Path::new("/etc/apt"))?;
    let sources = scratch.join("suite.sources");
    fs::write(&sources, archive.stanza_for(download.suite))
        .with_context(|| format!("cannot write {}", sources.display()))?;

    let wanted = format!("{}={}", download.package, download.version);
    run_quietly(private_apt(scratch, &sources).arg("update"))?;
    run_quietly(private_apt(scratch, &sources).args(["download", &wanted]))
        .with_context(|| format!("{wanted} is not in suite {}", download.suite))?;

    let package = fs::read_dir(scratch.join("packages"))
        .context("cannot list what was downloaded")?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download {wanted} left no package"))?;
    run_quietly(Command::new("dpkg").arg("-x").arg(&package).arg(to))?;
    fs::remove_dir_all(scratch).with_context(|| format!("cannot remove {}", scratch.display()))
}

/// apt with sources, lists and cache of its own; the machine's settings for proxies stay in force.
fn private_apt(scratch: &Path, sources: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.current_dir(scratch.join("packages")).arg("-qq");
    for (option, value) in [
        ("Dir::Etc::SourceList", sources.to_path_buf()),
        ("Dir::Etc::SourceParts", "/dev/null".into()),
        ("Dir::State::Lists", scratch.join("lists")),
        ("Dir::Cache", scratch.join("cache")),
        // Downloading as another user would fail below a folder of ours.
        ("APT::Sandbox::User", "root".into()),
        (
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled",
            "false".into(),
        ),
    ] {
        command
            .arg("-o")
            .arg(format!("{option}={}", value.display()));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_a_file_by_path_and_nothing_else() {
        assert!(is_there("sh"));
        assert!(is_there("/etc/passwd"));
        assert!(!is_there("bulkhead-no-such-program"));
        assert!(!is_there("/no/such/file"));
    }
}
