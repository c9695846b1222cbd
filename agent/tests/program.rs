//! The program as somebody starts it who is not root, or only looks at its settings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Not root, on any system.
const NOBODY: u32 = 65_534;

fn agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead-agent"));
    command.args(arguments).env_clear();
    command
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn settings_are_printed_before_anything_is_known_and_each_has_its_variable() {
    let output = agent(&["run", "--print-config"]).output().unwrap();
    assert!(output.status.success(), "{}", error(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut told = 0;
    for setting in printed.split("\n\n").filter(|part| !part.is_empty()) {
        let (_, last) = setting.rsplit_once('\n').unwrap();
        let key = last.trim_start_matches("# ").split(' ').next().unwrap();
        let variable = format!("BULKHEAD_{}", key.replace('-', "_").to_uppercase());
        let line = format!("# Environment: {variable}.");
        assert!(setting.contains(&line), "{setting}");
        told += 1;
    }
    assert_eq!(told, 18, "{printed}");
    assert!(printed.contains("# node =   # not set"), "{printed}");
    let output = agent(&["run"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        error(&output).contains("--node <NAME>"),
        "{}",
        error(&output)
    );
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let print = |variables: &[&str]| {
        let mut command = agent(&["run", "--print-config"]);
        command.envs(variables.iter().map(|variable| (variable, "")));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", error(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = print(&[]);
    let named = printed
        .lines()
        .filter_map(|line| line.strip_prefix("# Environment: ")?.strip_suffix('.'));
    let variables: Vec<&str> = named.chain(["BULKHEAD_CONFIG"]).collect();
    assert_eq!(variables.len(), 19);
    assert_eq!(print(&variables), printed);
    // What is needed to run is missed all the same.
    let output = agent(&["run"]).env("BULKHEAD_NODE", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        error(&output).contains("--node <NAME>"),
        "{}",
        error(&output)
    );
}

#[test]
fn whoever_is_not_root_is_told_so_before_anything_is_touched() {
    let (folder, program) = somewhere_for_everybody();
    let state = folder.join("state");
    let state = state.to_str().unwrap();
    let run = [
        "run",
        "--node=n",
        "--controller=127.0.0.1:9",
        "--state",
        state,
    ];
    for arguments in [&run[..], &["remove", "--state", state]] {
        let output = as_nobody(&program, arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", error(&output));
        assert!(
            error(&output).contains("root is needed to load kernel programs"),
            "{}",
            error(&output)
        );
        assert!(!Path::new(state).exists());
    }
    fs::remove_dir_all(folder).unwrap();
}

fn as_nobody(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    if nix::unistd::Uid::effective().is_root() {
        command.uid(NOBODY);
    }
    command
}

/// A folder with the program in it, where everybody may start it: neither a home nor every folder for temporary files is such a place.
fn somewhere_for_everybody() -> (PathBuf, PathBuf) {
    for place in [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()] {
        let folder = place.join(format!("bulkhead-nobody-{}", std::process::id()));
        let program = folder.join("bulkhead-agent");
        let everybody = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755));
        let copied = fs::create_dir_all(&folder)
            .and_then(|()| everybody(&folder))
            .and_then(|()| fs::copy(env!("CARGO_BIN_EXE_bulkhead-agent"), &program))
            .and_then(|_| everybody(&program));
        // A program that another test starts meanwhile may hold the copy open for an instant: then the next place will do.
        if copied.is_ok() && as_nobody(&program, &["--version"]).output().is_ok() {
            return (folder, program);
        }
        let _ = fs::remove_dir_all(&folder);
    }
    panic!("nobody else than root can start a program in /tmp, /var/tmp or TMPDIR");
}
