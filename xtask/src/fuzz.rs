//! `cargo xtask fuzz`: the targets of crate `fuzz` under a coverage-guided engine.
//!
//! Only our own crates are instrumented, by this program standing in for the compiler: what they stand on is
//! linked as the tests compiled it, so that a change is under the fuzzer in seconds.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    build::{self, Role},
    command::run,
    ebpf,
    workspace::Workspace,
};

/// Set where this program is called in the compiler's place.
const STAND_IN: &str = "BULKHEAD_INSTRUMENT";

/// Names the target to the fuzzer.
const TARGET: &str = "BULKHEAD_FUZZ_TARGET";

/// Coverage by edges, counters and comparisons: what libFuzzer reads.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // Or the linker throws away halves of those tables.
    "-Clink-dead-code",
    "-Ccodegen-units=1",
];

/// Longest input, bytes.
const INPUT_BYTES: u32 = 4096;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// parser, hooks, manifests, wire or store
    target: String,
    /// How long to look
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Put what reached something new into the committed corpus
    #[arg(long)]
    keep: bool,
}

/// Looks for an input that breaks a target.
pub(crate) fn search(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let committed = workspace.root().join("fuzz/corpus").join(&arguments.target);
    if !committed.is_dir() {
        bail!(
            "there is no target {:?}; `ls fuzz/corpus` names them",
            arguments.target
        );
    }
    // The agent carries the programs inside, whoever links it.
    ebpf::build(workspace)?;
    let program = compile(workspace)?;
    let folder = workspace.target().join("fuzz").join(&arguments.target);
    let found = folder.join("corpus");
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let engine = |options: &[String], corpora: &[&Path]| {
        let mut command = Command::new(&program);
        command
            .env(TARGET, &arguments.target)
            .arg(prefixed(&folder))
            .args(options)
            .args(corpora);
        command
    };
    let options = [
        format!("-max_total_time={}", arguments.seconds),
        format!("-max_len={INPUT_BYTES}"),
        "-timeout=10".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-print_final_stats=1".to_owned(),
        "-use_value_profile=1".to_owned(),
    ];
    run(&mut engine(&options, &[&found, &committed])).with_context(|| {
        format!(
            "target {} was broken: the input lies in {}; give it to the program again with \
             {TARGET}={} {} FILE, mend it, and put it into {}",
            arguments.target,
            folder.display(),
            arguments.target,
            program.display(),
            committed.display(),
        )
    })?;
    if arguments.keep {
        let merge = ["-merge=1".to_owned(), "-max_len=1024".to_owned()];
        run(&mut engine(&merge, &[&committed, &found]))?;
    }
    Ok(())
}

fn prefixed(folder: &Path) -> OsString {
    let mut option = OsString::from("-artifact_prefix=");
    option.push(folder);
    option.push("/");
    option
}

fn compile(workspace: &Workspace) -> Result<PathBuf> {
    let own = env::current_exe().context("this program does not know where it lies")?;
    let mut cargo = workspace.cargo();
    cargo
        .args(["build", "--package", "bulkhead-fuzz", "--bins"])
        .args(["--features", "engine"])
        .env("RUSTC_WORKSPACE_WRAPPER", own)
        .env(STAND_IN, "1");
    let built = build::compile(cargo).context("the engine needs a C++ compiler (g++)")?;
    built
        .into_iter()
        .find(|program| program.role == Role::Program)
        .map(|program| program.path)
        .context("cargo built no fuzzer")
}

/// Calls the compiler in our place, with coverage, if that is what we were started for.
pub(crate) fn stand_in() -> Option<ExitCode> {
    env::var_os(STAND_IN)?;
    let mut arguments = env::args_os().skip(1);
    let compiler = arguments.next()?;
    let arguments: Vec<OsString> = arguments.collect();
    let mut command = Command::new(compiler);
    command.args(&arguments);
    if is_instrumented(&arguments) {
        command.args(COVERAGE);
    }
    // Its code is ours; one that was killed has none.
    let code = command.status().ok().and_then(|status| status.code());
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Some(ExitCode::from(code))
}

/// Whether it becomes a part of the fuzzer: build scripts and macros run while it is compiled.
fn is_instrumented(arguments: &[OsString]) -> bool {
    let has = |text: &str| arguments.iter().any(|argument| argument == text);
    let after = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.to_str()
    };
    match after("--crate-name") {
        // Cargo asks the compiler about itself.
        None | Some("___") => false,
        Some(name) => !name.starts_with("build_script_") && !has("proc-macro"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> bool {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        is_instrumented(&arguments)
    }

    #[test]
    fn what_becomes_the_fuzzer_is_instrumented_and_nothing_else() {
        assert!(asked("--crate-name bulkhead_crds --crate-type lib"));
        assert!(asked("--crate-name bulkhead_fuzz --crate-type bin"));
        assert!(!asked("--crate-name build_script_build --crate-type bin"));
        assert!(!asked("--crate-name some_macro --crate-type proc-macro"));
        assert!(!asked("- --crate-name ___ --print=file-names"));
        assert!(!asked("-vV"));
    }
}
