//! What has to be so before anything is touched: each check says what is missing and what to do.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::Uid;
use thiserror::Error;

use crate::settings::Places;

/// The oldest kernel with TCX (links on the hooks of an interface).
const KERNEL: (u32, u32) = (6, 6);

/// Where bpf file systems are mounted by convention.
const BPFFS: &str = "/sys/fs/bpf";

/// What stands in the way.
#[derive(Debug, Error)]
pub enum Unfit {
    /// Not root.
    #[error("root is needed to load kernel programs (this is user {0}): run it as root")]
    NotRoot(u32),
    /// The kernel lacks what we need.
    #[error("kernel {release} is too old: the hooks (TCX) need {}.{} or newer", KERNEL.0, KERNEL.1)]
    Kernel {
        /// As the kernel names itself.
        release: String,
    },
    /// What one program writes down for itself another could write over.
    #[error(
        "the kernel is a real-time one ({version}): on it a packet may interrupt another on the same processor, and the verdicts of \
         the two could mix; run a kernel without PREEMPT_RT"
    )]
    RealTime {
        /// As the kernel says how it was built.
        version: String,
    },
    /// No bpf file system.
    #[error(
        "{path} is on no bpf file system, and `{BPFFS}` cannot be mounted: {reason}; do `mount -t bpf bpf {BPFFS}` or set --pins"
    )]
    NoBpffs {
        /// Where the pins were to be.
        path: PathBuf,
        /// Why mounting failed.
        reason: io::Error,
    },
    /// The folder for pins is elsewhere.
    #[error(
        "--pins {0} is on no bpf file system: use a folder below `{BPFFS}`, or mount one there (mount -t bpf)"
    )]
    PinsElsewhere(PathBuf),
    /// Another agent.
    #[error("another agent runs on this node (it holds {0}): end that one first")]
    AnotherAgent(PathBuf),
    /// The state folder.
    #[error("--state {path}: {reason}; the agent needs a folder that it can write")]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The folder for pins cannot be had.
    #[error("--pins {path}: {reason}; the agent needs a folder there that it can write and lock")]
    Pins {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
}

/// Held as long as the agent runs; the kernel lets go of it however the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Everything that the kernel has to offer.
///
/// # Errors
/// The first check that fails.
pub fn kernel(places: &Places) -> Result<(), Unfit> {
    root()?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    kernel_release(release.trim())?;
    let version = fs::read_to_string("/proc/sys/kernel/version").unwrap_or_default();
    not_real_time(version.trim())?;
    bpffs(&places.pins)
}

/// Whether this process may do what an agent does.
///
/// # Errors
/// If it is not root's.
pub fn root() -> Result<(), Unfit> {
    root_is(nix::unistd::geteuid())
}

fn root_is(user: Uid) -> Result<(), Unfit> {
    if user.is_root() {
        Ok(())
    } else {
        Err(Unfit::NotRoot(user.as_raw()))
    }
}

/// Whether a kernel that names itself so is new enough.
///
/// # Errors
/// If it is not.
pub fn kernel_release(release: &str) -> Result<(), Unfit> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(str::parse::<u32>);
    let version = (numbers.next(), numbers.next());
    match version {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= KERNEL => Ok(()),
        _ => Err(Unfit::Kernel {
            release: release.to_owned(),
        }),
    }
}

fn not_real_time(version: &str) -> Result<(), Unfit> {
    if version.split_whitespace().any(|word| word == "PREEMPT_RT") {
        return Err(Unfit::RealTime {
            version: version.to_owned(),
        });
    }
    Ok(())
}

fn on_bpffs(path: &Path) -> bool {
    // The folder itself may not be there yet: the first ancestor that is tells the file system.
    let there = path.ancestors().find(|ancestor| ancestor.exists());
    there
        .and_then(|there| statfs(there).ok())
        .is_some_and(|found| found.filesystem_type() == BPF_FS_MAGIC)
}

fn bpffs(pins: &Path) -> Result<(), Unfit> {
    if on_bpffs(pins) {
        return Ok(());
    }
    if !pins.starts_with(BPFFS) {
        return Err(Unfit::PinsElsewhere(pins.to_owned()));
    }
    // Whoever can open the folder of an agent's pins can hold its lock.
    let options = Some("mode=0700");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    match mount(Some("bpf"), BPFFS, Some("bpf"), flags, options) {
        Ok(()) => {
            tracing::info!("mounted a bpf file system at {BPFFS}");
            Ok(())
        }
        Err(error) => Err(Unfit::NoBpffs {
            path: pins.to_owned(),
            reason: error.into(),
        }),
    }
}

/// Makes sure that the state folder can be written and that no other agent uses it.
///
/// # Errors
/// If it cannot, or one does.
pub fn state(folder: &Path) -> Result<Lock, Unfit> {
    let failed = |reason| Unfit::State {
        path: folder.to_owned(),
        reason,
    };
    // The last graph names every neighbour of the node and who may reach whom.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    hold(file, path, failed)
}

/// Makes sure that nobody else leads what is pinned there, wherever that agent keeps its state. Makes the folder if there is none.
///
/// # Errors
/// If somebody does, or there can be no such folder.
pub fn pins(folder: &Path) -> Result<Lock, Unfit> {
    let failed = |reason| Unfit::Pins {
        path: folder.to_owned(),
        reason,
    };
    // A bpf file system has no files to lock, but its folders are like any other's.
    let lock = hold(
        own_folder(folder).map_err(failed)?,
        folder.to_owned(),
        failed,
    )?;
    // Whoever takes the pins away takes the folder, and one may be held by then that is none any more.
    let of_path = fs::metadata(folder).map_err(failed)?;
    let held = lock.file.metadata().map_err(failed)?;
    if (held.dev(), held.ino()) != (of_path.dev(), of_path.ino()) {
        return Err(Unfit::AnotherAgent(folder.to_owned()));
    }
    Ok(lock)
}

/// A folder that nobody else can open, made if there is none.
fn own_folder(path: &Path) -> io::Result<File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    let folder = File::open(path)?;
    if folder.metadata()?.uid() != nix::unistd::geteuid().as_raw() {
        let message = "it belongs to somebody else; remove it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    // One of an earlier version may be open to all.
    folder.set_permissions(fs::Permissions::from_mode(0o700))?;
    Ok(folder)
}

fn hold(file: File, path: PathBuf, failed: impl FnOnce(io::Error) -> Unfit) -> Result<Lock, Unfit> {
    match file.try_lock() {
        Ok(()) => Ok(Lock { file }),
        Err(TryLockError::WouldBlock) => Err(Unfit::AnotherAgent(path)),
        Err(TryLockError::Error(reason)) => Err(failed(reason)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn kernels_are_told_by_their_release() {
        for release in ["6.6.0", "6.18.44-cloud", "7.0-rc1", "10.2"] {
            kernel_release(release).unwrap();
        }
        for release in ["6.5.13", "5.15.0-101-generic", "4.19", "", "unknown"] {
            let error = kernel_release(release).unwrap_err().to_string();
            assert!(error.contains("6.6 or newer"), "{error}");
        }
    }

    #[test]
    fn a_real_time_kernel_is_told_by_how_it_was_built() {
        for version in [
            "#1 SMP PREEMPT_DYNAMIC Debian 6.12.73-1 (2026-02-17)",
            "#1 SMP PREEMPT Tue Jan 6 12:00:00 UTC 2026",
            "",
        ] {
            not_real_time(version).unwrap();
        }
        let error = not_real_time("#1 SMP PREEMPT_RT Debian 6.12.73-1 (2026-02-17)").unwrap_err();
        let error = error.to_string();
        assert!(error.contains("run a kernel without PREEMPT_RT"), "{error}");
    }

    #[test]
    fn whoever_is_not_root_is_told_so() {
        root_is(Uid::from_raw(0)).unwrap();
        let error = root_is(Uid::from_raw(1000)).unwrap_err().to_string();
        assert_eq!(
            error,
            "root is needed to load kernel programs (this is user 1000): run it as root"
        );
    }

    #[test]
    fn a_second_agent_is_told_who_holds_the_folder() {
        let folder = std::env::temp_dir().join(format!("bulkhead-checks-{}", std::process::id()));
        let first = state(&folder).unwrap();
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "nobody else may look into it");
        let error = state(&folder).unwrap_err().to_string();
        assert!(error.contains("another agent runs on this node"), "{error}");
        drop(first);
        drop(state(&folder).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn pins_that_somebody_leads_are_named() {
        let name = format!("bulkhead-checks-pins-{}", std::process::id());
        let folder = std::env::temp_dir().join(name).join("below");
        // One of an earlier version, which anybody could lock.
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let first = pins(&folder).unwrap();
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "nobody else may hold the lock");
        let error = pins(&folder).unwrap_err().to_string();
        let expected = format!(
            "another agent runs on this node (it holds {}): end that one first",
            folder.display()
        );
        assert_eq!(error, expected);
        drop(first);
        drop(pins(&folder).unwrap());
        fs::remove_dir_all(folder.parent().unwrap()).unwrap();
        let error = pins(Path::new("/proc/bulkhead")).unwrap_err().to_string();
        assert!(error.starts_with("--pins /proc/bulkhead: "), "{error}");
    }

    #[test]
    fn a_state_folder_that_cannot_be_is_named() {
        let error = state(Path::new("/proc/bulkhead")).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("--state /proc/bulkhead"), "{said}");
        // The system's reason stands in the text, and is not told again behind it.
        assert_eq!(format!("{:#}", anyhow::Error::new(error)), said);
    }

    #[test]
    fn pins_elsewhere_are_refused() {
        let error = bpffs(Path::new("/proc/bulkhead")).unwrap_err().to_string();
        assert!(
            error.contains("--pins /proc/bulkhead is on no bpf file system"),
            "{error}"
        );
    }
}
