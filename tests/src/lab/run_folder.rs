//! The folder of one lab, and finding labs whose owner died.
//!
//! A living owner holds the lock in its folder; the kernel lets go of it however the owner ends. So a folder whose lock can be
//! had is a lab that crashed, and everything with its name is taken away.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::netns::{self, Netns};
use super::wiring::Names;
use crate::cluster::Deadline;

const ROOT: &str = "/run/bulkhead-lab";
/// What all labs' names begin with.
const NAME_PREFIX: &str = "bhlab";
const END_LIMIT: Duration = Duration::from_secs(10);

/// Labs of this process that are up, for [`remove_labs_of_this_process`].
static UP: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LABS_OF_THIS_PROCESS: AtomicU32 = AtomicU32::new(0);

/// Whether this process makes nothing any more that would have to be taken away.
static CLOSED: RwLock<bool> = RwLock::new(false);

/// Makes something that carries a lab's name: a namespace, an interface, a mount, a process. Must not be nested.
pub(crate) fn make<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let closed = CLOSED.read().unwrap_or_else(PoisonError::into_inner);
    if *closed {
        bail!("the labs of this process are being taken away");
    }
    work()
}

/// The folder of a lab that lives. Dropped, it takes away everything with the lab's name.
#[derive(Debug)]
pub(crate) struct RunFolder {
    name: String,
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Removes what crashed labs have left and makes a folder with a bpffs of its own.
    pub(crate) fn create() -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("the lab makes network namespaces and mounts a bpffs: run it as root");
        }
        fs::create_dir_all(ROOT).with_context(|| format!("make {ROOT}"))?;
        let _turn = take_turn()?;
        remove_stale()?;
        make(Self::make)
    }

    fn make() -> Result<Self> {
        let count = LABS_OF_THIS_PROCESS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{NAME_PREFIX}{}x{count}", std::process::id());
        let path = Path::new(ROOT).join(&name);
        fs::create_dir_all(path.join("bpf")).with_context(|| format!("make {}", path.display()))?;
        let lock = File::create(path.join("lock"))?;
        lock.lock().context("lock the lab's folder")?;
        UP.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name.clone());
        let folder = Self {
            name,
            path,
            _lock: lock,
        };
        mount(
            Some("bpf"),
            &folder.bpffs(),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("mount a bpffs on {}", folder.bpffs().display()))?;
        Ok(folder)
    }

    /// The lab's name; everything of it begins so.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// For whatever the lab's programs keep on disk.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A bpffs that nobody else uses.
    pub(crate) fn bpffs(&self) -> PathBuf {
        self.path.join("bpf")
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let mut up = UP.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(position) = up.iter().position(|name| *name == self.name) else {
            return;
        };
        if let Err(error) = remove(&self.name) {
            eprintln!("lab {}: {error:#}", self.name);
        }
        up.remove(position);
    }
}

/// Labs whose owner is gone.
pub fn remove_stale_labs() -> Result<()> {
    fs::create_dir_all(ROOT).with_context(|| format!("make {ROOT}"))?;
    let _turn = take_turn()?;
    remove_stale()
}

/// Takes the labs of this process away, from whatever thread. Who still uses one, or is about to make one, gets errors; for the last
/// moments of a process.
pub fn remove_labs_of_this_process() -> Result<()> {
    // What is being made at this moment is waited for, so that it is found.
    *CLOSED.write().unwrap_or_else(PoisonError::into_inner) = true;
    let mut up = UP.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(name) = up.pop() {
        remove(&name)?;
    }
    Ok(())
}

/// One process at a time looks for crashed labs and makes its own.
fn take_turn() -> Result<File> {
    let turn = File::create(Path::new(ROOT).join("turn"))?;
    turn.lock().with_context(|| format!("lock {ROOT}/turn"))?;
    Ok(turn)
}

fn remove_stale() -> Result<()> {
    for entry in fs::read_dir(ROOT)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(NAME_PREFIX) || lives(&entry.path())? {
            continue;
        }
        remove(&name).with_context(|| format!("remove the crashed lab {name}"))?;
    }
    Ok(())
}

fn lives(folder: &Path) -> Result<bool> {
    let Ok(lock) = File::open(folder.join("lock")) else {
        return Ok(false);
    };
    match lock.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).context("look at a lab's lock"),
    }
}

fn remove(name: &str) -> Result<()> {
    let namespaces = netns::with_prefix(Names::new(name).prefix())?;
    Deadline::after(END_LIMIT).until(&format!("the end of the processes of lab {name}"), || {
        let processes = processes_in(&namespaces)?;
        for pid in &processes {
            // Gone in the meantime is as good.
            let _gone = kill(*pid, Signal::SIGKILL);
        }
        Ok(processes.is_empty().then_some(()))
    })?;
    let path = Path::new(ROOT).join(name);
    // Not mounted is as good: the lab may have crashed before it was.
    let _unmounted = umount2(&path.join("bpf"), MntFlags::MNT_DETACH);
    if !namespaces.is_empty() {
        netns::remove(&namespaces)?;
    }
    fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))
}

/// The living processes in any of the namespaces; only labs' own can be there, nobody else knows the names.
fn processes_in(namespaces: &[Netns]) -> Result<Vec<Pid>> {
    let inodes: Vec<u64> = namespaces
        .iter()
        .filter_map(|n| Some(fs::metadata(n.path()).ok()?.ino()))
        .collect();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let Some(Ok(number)) = entry?.file_name().to_str().map(str::parse::<i32>) else {
            continue;
        };
        let inside = fs::metadata(format!("/proc/{number}/ns/net"))
            .is_ok_and(|own| inodes.contains(&own.ino()));
        if inside && !is_zombie(number) {
            found.push(Pid::from_raw(number));
        }
    }
    Ok(found)
}

fn is_zombie(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    })
}
