//! The program's own settings, as it prints them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

/// `run --print-config`, with nothing of this test's own environment.
fn print(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bulkhead-controller"))
        .args(["run", "--print-config"])
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn every_setting_has_its_variable() {
    let printed = text(&print(&[], &[]));
    let mut told = 0;
    for setting in printed.split("\n\n").filter(|part| !part.is_empty()) {
        let (_, last) = setting.rsplit_once('\n').unwrap();
        let key = last.trim_start_matches("# ").split(' ').next().unwrap();
        let variable = format!("BULKHEAD_{}", key.replace('-', "_").to_uppercase());
        assert!(
            setting.contains(&format!("# Environment: {variable}.")),
            "{setting}"
        );
        told += 1;
    }
    assert_eq!(told, 12, "{printed}");
}

#[test]
fn a_flag_wins_over_a_variable_that_over_the_file_and_that_over_the_default() {
    let folder = std::env::temp_dir().join(format!("bulkhead-controller-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("settings.toml");
    std::fs::write(&file, "gather-ms = 30\ncluster-range = [\"10.0.0.0/8\"]\n").unwrap();
    let config = format!("--config={}", file.display());
    let variable = ("BULKHEAD_GATHER_MS", "20");
    for (arguments, variables, expected) in [
        (vec![], vec![], "gather-ms = 10  # default"),
        (vec![&*config], vec![], "gather-ms = 30  # from the file"),
        (
            vec![&*config],
            vec![variable],
            "gather-ms = 20  # from the environment",
        ),
        (
            vec![&*config, "--gather-ms=15"],
            vec![variable],
            "gather-ms = 15  # from the command line",
        ),
        (
            vec![&*config],
            vec![("BULKHEAD_GATHER_MS", "")],
            "gather-ms = 30  # from the file",
        ),
    ] {
        let printed = text(&print(&arguments, &variables));
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    let ranges = ("BULKHEAD_CLUSTER_RANGE", "10.1.0.0/16,fd00::/48");
    let printed = text(&print(&[&*config], &[ranges]));
    let expected = r#"cluster-range = ["10.1.0.0/16", "fd00::/48"]  # from the environment"#;
    assert!(printed.contains(expected), "{printed}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let printed = text(&print(&[], &[]));
    let named = printed
        .lines()
        .filter_map(|line| line.strip_prefix("# Environment: ")?.strip_suffix('.'));
    let variables: Vec<(&str, &str)> = named
        .chain(["BULKHEAD_CONFIG"])
        .map(|variable| (variable, ""))
        .collect();
    assert_eq!(variables.len(), 13);
    assert_eq!(text(&print(&[], &variables)), printed);
}

#[test]
fn a_variable_out_of_bounds_is_named() {
    let output = print(&[], &[("BULKHEAD_GATHER_MS", "0")]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("--gather-ms") && error.contains("1..=1000"),
        "{error}"
    );
}
