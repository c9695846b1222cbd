//! A named network namespace, and running things in it.
//!
//! A thread enters the namespace and starts the program, which inherits it. So mounts stay those of the machine, and pins in a
//! bpffs stay visible, unlike with `ip netns exec`.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use super::run_folder::make;

/// A network namespace by its name under `/run/netns`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Netns(String);

impl Netns {
    /// The namespace of that name, there or not.
    pub(crate) fn named(name: String) -> Self {
        Self(name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.0)
    }

    /// Runs `work` in a thread that lives in the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace = File::open(self.path())
                    .with_context(|| format!("open {}", self.path().display()))?;
                setns(namespace, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("enter {}", self.0))?;
                work()
            });
            inside
                .join()
                .map_err(|_| anyhow!("a thread in {} panicked", self.0))?
        })
    }

    /// Writes settings below `/proc/sys/net`, in order.
    pub(crate) fn configure(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.enter(|| {
            for (setting, value) in settings {
                let path = PathBuf::from("/proc/sys/net").join(setting);
                fs::write(&path, value)
                    .with_context(|| format!("write {value} to {}", path.display()))?;
            }
            Ok(())
        })
    }

    /// Executes lines of `ip` inside.
    pub fn ip(&self, lines: &str) -> Result<()> {
        self.enter(|| make(|| ip_batch(lines)))
            .with_context(|| format!("in {}", self.0))
    }

    /// What a program prints when it runs inside.
    pub fn read(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.output(Command::new(program).args(arguments))?;
        if !output.status.success() {
            bail!(
                "{program} {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// How a program ends that runs inside, and what it prints.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        self.enter(|| {
            let output = command.stdin(Stdio::null()).output();
            output.with_context(|| format!("start {command:?}"))
        })
    }
}

/// Makes namespaces, all in one go.
pub(crate) fn create<'a>(namespaces: impl IntoIterator<Item = &'a Netns>) -> Result<()> {
    make(|| ip_batch(&lines("netns add", namespaces)))
}

/// Removes namespaces, all in one go; interfaces in them go along.
pub(crate) fn remove<'a>(namespaces: impl IntoIterator<Item = &'a Netns>) -> Result<()> {
    ip_batch(&lines("netns del", namespaces))
}

/// The namespaces there are whose names begin so.
pub(crate) fn with_prefix(prefix: &str) -> Result<Vec<Netns>> {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry
            .context("read /run/netns")?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if name.starts_with(prefix) {
            found.push(Netns(name));
        }
    }
    found.sort();
    Ok(found)
}

fn lines<'a>(verb: &str, namespaces: impl IntoIterator<Item = &'a Netns>) -> String {
    namespaces
        .into_iter()
        .map(|netns| format!("{verb} {}\n", netns.0))
        .collect()
}

/// Executes lines of `ip` in the network namespace of this thread.
pub(crate) fn ip_batch(lines: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start ip (Debian package iproute2)")?;
    child
        .stdin
        .take()
        .context("no pipe to ip")?
        .write_all(lines.as_bytes())
        .context("write to ip")?;
    let output = child.wait_with_output().context("wait for ip")?;
    if !output.status.success() {
        bail!(
            "ip: {}\nwhile executing\n{lines}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
