//! The program as somebody starts it who has mistaken a path: what it says, and the system's reason once.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

const NOT_THERE: &str = "No such file or directory (os error 2)";

/// A folder of one test.
fn place(name: &str) -> PathBuf {
    let name = format!("bulkhead-controller-{name}-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The program, with nothing of this test's own environment, and silent up to its end.
fn controller(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead-controller"));
    command
        .args(arguments)
        .env_clear()
        .env("BULKHEAD_LOG", "off");
    command
}

/// What it says where it does not begin.
fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn a_settings_file_that_is_not_there_is_named_with_one_reason() {
    let folder = place("settings-file");
    let missing = folder.join("missing.toml");
    let said = refusal(&mut controller(&[
        "run",
        "--config",
        missing.to_str().unwrap(),
    ]));
    let expected = format!(
        "bulkhead-controller: settings file {}: {NOT_THERE}\n",
        missing.display()
    );
    assert_eq!(said, expected);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_for_keys_that_cannot_be_is_named_with_one_reason() {
    let folder = place("key-folder");
    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    let said = refusal(&mut controller(&["init", "--keys", file.to_str().unwrap()]));
    let expected = format!(
        "bulkhead-controller: keys: {}: Not a directory (os error 20)\n",
        file.join("nodes").display()
    );
    assert_eq!(said, expected);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_source_of_intent_that_is_not_there_is_named_with_one_reason() {
    let folder = place("intent");
    let [keys, state, missing] = ["keys", "state", "missing"].map(|name| folder.join(name));
    let [keys, state, missing] = [&keys, &state, &missing].map(|path| path.to_str().unwrap());
    let made = controller(&["init", "--keys", keys]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let run = [
        "run",
        "--keys",
        keys,
        "--state",
        state,
        "--listen=127.0.0.1:0",
        "--http=127.0.0.1:0",
    ];
    let said = refusal(controller(&run).args(["--folder", missing]));
    let expected = format!(
        "bulkhead-controller: --folder: {missing}: {NOT_THERE}; create the folder or name another one\n"
    );
    assert_eq!(said, expected);

    // Others' errors tell it in their texts and behind them.
    let said = refusal(
        controller(&run)
            .arg("--kubernetes")
            .env("KUBECONFIG", missing),
    );
    assert!(said.contains("--kubernetes: set KUBECONFIG"), "{said}");
    assert_eq!(said.matches(NOT_THERE).count(), 1, "{said}");
    fs::remove_dir_all(folder).unwrap();
}
