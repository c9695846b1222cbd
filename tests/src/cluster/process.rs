//! A process of the cluster: started with its own log file, known by its process number, ended by that number only.
//!
//! Programs inside a node are started by `nsenter`, which has to fork to enter the node's process numbers; signals sent to
//! `nsenter` would not reach the program. So the number remembered here is that of the program itself.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::Deadline;

/// For a killed process to be gone, on a busy machine.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How much of a log is shown when its process fails.
const LOG_TAIL_LINES: usize = 15;

/// Whether the started command is the program or its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Launch {
    /// The command becomes the program.
    Direct,
    /// The command has the program as its only child and ends with it.
    ByParent,
}

/// A running process. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    program: Pid,
    log: PathBuf,
    ends_with_us: bool,
}

impl Process {
    /// Starts `command` in the background, its output going to `log`.
    pub(crate) fn spawn(
        name: &str,
        mut command: Command,
        launch: Launch,
        log: PathBuf,
    ) -> Result<Self> {
        let output = File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A Ctrl-C at the terminal is for whoever started the cluster; he then ends it in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        let started = Pid::from_raw(i32::try_from(child.id())?);
        let mut process = Self {
            name: name.to_owned(),
            child,
            program: started,
            log,
            ends_with_us: true,
        };
        if launch == Launch::ByParent {
            process.program = Deadline::after(KILL_LIMIT)
                .until(&format!("the start of {name}"), || {
                    if let Some(status) = process.child.try_wait()? {
                        return Ok(Some(Err(status)));
                    }
                    Ok(child_of(started)?.map(Ok))
                })?
                .map_err(|status| {
                    anyhow::anyhow!("{name} ended at once ({status}): {}", process.log_tail())
                })?;
        }
        Ok(process)
    }

    /// What it is called in messages and log files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The program's number, as the machine counts.
    pub fn pid(&self) -> i32 {
        self.program.as_raw()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its output, for messages.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        format!(
            "{}:\n{}",
            self.log.display(),
            lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
        )
    }

    /// Fails, with the end of the log, if the program is no longer there.
    pub fn check_running(&mut self) -> Result<()> {
        match self
            .child
            .try_wait()
            .with_context(|| format!("look at {}", self.name))?
        {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}): {}", self.name, self.log_tail()),
        }
    }

    /// Whether the program is no longer there, although nobody here has ended it.
    pub fn has_ended(&self) -> bool {
        // Until it is waited for, an ended child is a zombie; one that was waited for is not there at all.
        status_field(self.program, "State").is_none_or(|state| state.starts_with('Z'))
    }

    /// Sends a signal; a process that has ended is left alone.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        match kill(self.program, signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("{signal} to {} ({})", self.name, self.program))
            }
        }
    }

    /// Waits for the end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        Deadline::after(limit).until(&format!("the end of {}", self.name), || {
            Ok(child.try_wait()?)
        })
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.end()
    }

    /// SIGTERM, and waits until it has ended by itself.
    pub fn terminate(mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(limit)
    }

    /// Lets it outlive this value; whoever comes later finds it by its network namespace.
    pub(crate) fn leave(&mut self) {
        self.ends_with_us = false;
    }

    fn end(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait(KILL_LIMIT)?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ends_with_us {
            return;
        }
        if let Err(error) = self.end() {
            eprintln!("cluster: {error:#}");
        }
    }
}

/// All process numbers of the machine.
pub(crate) fn all_processes() -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        if let Some(Ok(pid)) = entry?.file_name().to_str().map(str::parse) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// A line of `/proc/PID/status`; nothing if the process is gone.
pub(crate) fn status_field(pid: Pid, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| {
        line.strip_prefix(field)?
            .strip_prefix(':')
            .map(|value| value.trim().to_owned())
    })
}

fn child_of(parent: Pid) -> Result<Option<Pid>> {
    let parent = parent.to_string();
    Ok(all_processes()?
        .into_iter()
        .find(|pid| status_field(*pid, "PPid").as_deref() == Some(&parent)))
}
