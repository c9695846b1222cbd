//! Running the test programs of one suite, and judging what they say.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    closing::Count,
    ladder::{self, Output, Rung, Suite},
};
use crate::{
    build::{Executable, Role},
    workspace::Workspace,
};

/// What test programs are told by their environment.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    /// Folder of the product's programs, where they were built.
    pub(super) programs: Option<PathBuf>,
    object: PathBuf,
    effort: u32,
}

impl Environment {
    pub(super) fn new(workspace: &Workspace, effort: u32) -> Self {
        Self {
            programs: None,
            object: workspace.bpf_object(),
            effort,
        }
    }

    fn apply(&self, command: &mut Command) {
        command
            .env("BULKHEAD_BPF_OBJECT", &self.object)
            .env("BULKHEAD_EFFORT", self.effort.to_string());
        if let Some(folder) = &self.programs {
            command.env("BULKHEAD_BIN_DIR", folder);
        }
        // A caller who asks for so many cases shall get them.
        if self.effort > 1 && std::env::var_os("PROPTEST_CASES").is_none() {
            command.env("PROPTEST_CASES", (256 * self.effort).to_string());
        }
    }
}

/// What a suite came to, failed tests included.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) count: Count,
}

/// Runs every test program of the suite. An error is a suite that cannot be counted on: it is not
/// there, ran nothing, skipped something, or ended in no orderly way.
pub(super) fn run(
    suite: &Suite,
    rung: &Rung,
    built: &[Executable],
    environment: &Environment,
    filter: &[String],
) -> Result<Outcome> {
    let label = suite.label();
    let programs = find(suite, built);
    if programs.is_empty() {
        bail!("suite {label} has no test program");
    }
    let mut count = Count::default();
    for program in programs {
        println!("--- {label}: {}", program.target);
        let mut command = Command::new(&program.path);
        command
            .args(filter)
            .current_dir(&program.manifest_dir)
            .env("CARGO_MANIFEST_DIR", &program.manifest_dir);
        if rung.output == Output::OfAll {
            command.arg("--show-output");
        }
        environment.apply(&mut command);
        for (name, path) in own_programs(built, &program.room) {
            command.env(name, path);
        }
        // So many times the cases take so many times the time.
        let limit_seconds = rung.limit_seconds * u64::from(environment.effort);
        count.add(&run_one(&mut command, limit_seconds, &label)?);
    }
    judge(&label, count, filter)
}

fn judge(label: &str, count: Count, filter: &[String]) -> Result<Outcome> {
    if count.ignored > 0 {
        bail!(
            "suite {label} skipped {} tests: run or delete them",
            count.ignored
        );
    }
    if count.executed() == 0 && filter.is_empty() {
        bail!("suite {label} ran no test");
    }
    Ok(Outcome { count })
}

/// The suite's test programs, each once.
fn find<'a>(suite: &Suite, built: &'a [Executable]) -> Vec<&'a Executable> {
    let mut found: Vec<&Executable> = Vec::new();
    for executable in built.iter().filter(|executable| belongs(executable, suite)) {
        if !found.iter().any(|other| other.path == executable.path) {
            found.push(executable);
        }
    }
    found
}

fn belongs(executable: &Executable, suite: &Suite) -> bool {
    match suite {
        Suite::Room(room) => {
            executable.room == *room
                && match executable.role {
                    Role::Program => false,
                    Role::UnitTests => true,
                    Role::TestFile => !ladder::is_suite(room, &executable.target),
                }
        }
        Suite::File { room, name } => {
            executable.room == *room
                && executable.role == Role::TestFile
                && executable.target == *name
        }
    }
}

/// Cargo tells test files where the programs of their own crate are.
fn own_programs<'a>(
    built: &'a [Executable],
    room: &'a str,
) -> impl Iterator<Item = (OsString, &'a Path)> {
    built
        .iter()
        .filter(move |one| one.room == room && one.role == Role::Program)
        .map(|one| {
            let name = OsString::from(format!("CARGO_BIN_EXE_{}", one.target));
            (name, one.path.as_path())
        })
}

/// Runs one test program, repeating what it prints.
fn run_one(command: &mut Command, limit_seconds: u64, label: &str) -> Result<Count> {
    let began = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start the tests of {label}"))?;
    let stdout = child
        .stdout
        .take()
        .context("a test program has no output")?;
    let (sender, receiver) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if sender
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                break;
            }
        }
    });

    let deadline = began + Duration::from_secs(limit_seconds);
    let mut closing = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(line) => {
                println!("{line}");
                closing = Count::from_closing_line(&line).or(closing);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                end(&mut child);
                bail!("the tests of {label} hang: ended after {limit_seconds} s");
            }
        }
    }
    let status = child.wait().context("cannot wait for a test program")?;
    drop(reader);
    println!("{label}: {:.1} s", began.elapsed().as_secs_f64());
    let count = closing
        .with_context(|| format!("the tests of {label} ended with no closing line: {status}"))?;
    if !status.success() && count.failed == 0 {
        bail!("the tests of {label} say that none failed, and end with {status}");
    }
    Ok(count)
}

fn end(child: &mut Child) {
    // Both fail only where the program has ended by itself, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit_seconds: u64) -> Result<Count> {
        run_one(
            Command::new("sh").args(["-c", script]),
            limit_seconds,
            "suite",
        )
    }

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        format!("{:#}", result.expect_err("it must not pass"))
    }

    const FOUR: Count = Count {
        passed: 4,
        failed: 0,
        ignored: 0,
    };

    #[test]
    fn the_closing_line_counts() {
        let count = shell(
            "echo 'test result: ok. 4 passed; 0 failed; 0 ignored; x'",
            9,
        );
        assert_eq!(count.expect("it passes"), FOUR);
    }

    #[test]
    fn a_program_that_dies_or_lies_is_an_error() {
        assert!(message(shell("kill -9 $$", 9)).contains("no closing line"));
        let lies = "echo 'test result: ok. 4 passed; 0 failed; 0 ignored; x'; exit 1";
        assert!(message(shell(lies, 9)).contains("none failed"));
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        assert!(message(shell("exec tail -f /dev/null", 1)).contains("hang"));
    }

    #[test]
    fn a_suite_that_runs_nothing_or_skips_is_an_error() {
        assert!(message(judge("x", Count::default(), &[])).contains("no test"));
        let skipped = Count { ignored: 1, ..FOUR };
        assert!(message(judge("x", skipped, &[])).contains("skipped"));
        assert!(judge("x", FOUR, &[]).is_ok());
    }

    #[test]
    fn a_suite_that_is_not_there_has_no_program() {
        let file = |name| Suite::File {
            room: "tests",
            name,
        };
        let built = [Executable {
            room: "tests".to_owned(),
            manifest_dir: PathBuf::new(),
            target: "diff".to_owned(),
            role: Role::TestFile,
            path: PathBuf::from("/x/diff"),
        }];
        assert_eq!(find(&file("kernel"), &built).len(), 0);
        assert_eq!(find(&file("diff"), &built).len(), 1);
        assert_eq!(find(&Suite::Room("policy"), &built).len(), 0);
        // It is a rung, and so no test of its room.
        assert_eq!(find(&Suite::Room("tests"), &built).len(), 0);
    }
}
