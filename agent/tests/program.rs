//! The program as somebody starts it who is not root, or only looks at its settings.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::process::CommandExt as _;
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
    assert!(error(&output).contains("--node <NAME>"), "{}", error(&output));
}

#[test]
fn whoever_is_not_root_is_told_so_before_anything_is_touched() {
    // The program has to be where everybody may start it.
    let folder = std::env::temp_dir().join(format!("bulkhead-nobody-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("bulkhead-agent");
    std::fs::copy(env!("CARGO_BIN_EXE_bulkhead-agent"), &program).unwrap();
    let state = folder.join("state");
    let state = state.to_str().unwrap();
    let run = ["run", "--node=n", "--controller=127.0.0.1:9", "--state", state];
    for arguments in [&run[..], &["remove", "--state", state]] {
        let mut command = Command::new(&program);
        command.args(arguments).env_clear();
        if nix::unistd::Uid::effective().is_root() {
            command.uid(NOBODY);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", error(&output));
        assert!(
            error(&output).contains("root is needed to load kernel programs"),
            "{}",
            error(&output)
        );
        assert!(!std::path::Path::new(state).exists());
    }
    std::fs::remove_dir_all(folder).unwrap();
}
