//! Settings of the long-running programs: one clap schema, filled from flags, environment and a TOML file.
//!
//! A flag wins over the environment, that over the file, that over the default. A variable that is empty counts as not
//! set. The file knows exactly the long flags as keys; an unknown key is an error, so that a misspelt setting never goes
//! unnoticed.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod file;
mod logging;
mod print;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, Parser};
use thiserror::Error;

pub use logging::{LogFormat, Logging};

/// The settings that every command with a file has. Flatten it into the command's arguments.
#[derive(Debug, Clone, Args)]
pub struct Source {
    /// Read settings from this TOML file; its keys are the long flags.
    #[arg(long, value_name = "FILE", env = "BULKHEAD_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print every setting with its value and meaning as such a file, and exit.
    #[arg(long)]
    pub print_config: bool,
}

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// Wrong use of flags or environment; also `--help` and `--version`.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file cannot be read.
    #[error("settings file {path}: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
    /// The file is no TOML.
    #[error("settings file {path}: {problem}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// With line and column.
        problem: String,
    },
    /// A key that is no setting.
    #[error("settings file {path}: there is no setting `{key}`; the settings are: {known}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// As written.
        key: String,
        /// All that could be written.
        known: String,
    },
    /// A value of a kind that no flag takes.
    #[error(
        "settings file {path}: `{key}` has to be a text, a number, a truth value or a list of those"
    )]
    Value {
        /// The file.
        path: PathBuf,
        /// The setting.
        key: String,
    },
}

/// What to do after reading the settings.
#[derive(Debug)]
pub enum Resolved<C> {
    /// Go on.
    Run(C),
    /// Print this and exit: the answer to `--print-config`.
    Print(String),
}

/// Reads the settings of `C` from `arguments` (the program's name first), the environment and, where given, a file.
///
/// # Errors
/// Names the flag, variable, or file and key that is wrong. Let clap print and exit on [`SettingsError::Usage`].
pub fn resolve<C: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Resolved<C>, SettingsError> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let glance = schema::<C>()
        .ignore_errors(true)
        .try_get_matches_from(&arguments)?;
    let path = leaf(&C::command(), &glance, file::path);
    let mut from_file = Vec::new();
    if let Some(path) = path {
        let table = file::read(&path)?;
        let extra = leaf(&C::command(), &glance, |command, matches| {
            file::arguments(&path, &table, command, matches)
        })?;
        from_file = extra.iter().map(|(key, _)| key.clone()).collect();
        arguments.extend(extra.into_iter().map(|(_, argument)| argument));
    }
    let mut command = schema::<C>();
    if leaf(&command, &glance, |_, matches| print::wanted(matches)) {
        command = with_nothing_required(command);
    }
    let matches = command.try_get_matches_from(&arguments)?;
    let printed = leaf(&C::command(), &matches, |command, matches| {
        print::wanted(matches).then(|| print::render(command, matches, &from_file))
    });
    match printed {
        Some(text) => Ok(Resolved::Print(text)),
        None => Ok(Resolved::Run(C::from_arg_matches(&matches)?)),
    }
}

/// How the settings of `C` are read.
fn schema<C: Parser>() -> Command {
    without_empty_variables(C::command())
}

/// Files of variables and manifests leave empty ones where nothing is meant.
fn without_empty_variables(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let value = argument.get_env().and_then(std::env::var_os);
            if value.is_some_and(|value| value.is_empty()) {
                argument.env(None::<&'static str>)
            } else {
                argument
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// For printing, which may come before anything is known.
fn with_nothing_required(command: Command) -> Command {
    command
        .mut_args(|argument| argument.required(false))
        .mut_subcommands(with_nothing_required)
}

/// The subcommand that was chosen, with its matches.
fn leaf<T>(
    command: &Command,
    matches: &ArgMatches,
    then: impl FnOnce(&Command, &ArgMatches) -> T,
) -> T {
    match matches
        .subcommand()
        .and_then(|(name, sub)| Some((command.find_subcommand(name)?, sub)))
    {
        Some((command, matches)) => leaf(command, matches, then),
        None => then(command, matches),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Verb {
        Run(Run),
    }

    #[derive(Debug, Args)]
    struct Run {
        #[command(flatten)]
        source: Source,
        /// Who this is.
        #[arg(long)]
        node: String,
        /// Where to.
        #[arg(long = "peer", value_name = "ADDRESS")]
        peers: Vec<String>,
        /// How often.
        #[arg(long, default_value_t = 7)]
        times: u32,
        /// Only look.
        #[arg(long)]
        dry: bool,
    }

    fn file(name: &str, content: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("bulkhead-settings-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    }

    fn run(arguments: &[&str]) -> Result<Resolved<Program>, SettingsError> {
        resolve(
            ["program", "run"]
                .iter()
                .chain(arguments)
                .map(OsString::from),
        )
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let path = file(
            "order",
            "node = \"n1\"\ntimes = 3\npeer = [\"a\", \"b\"]\ndry = true\n",
        );
        let config = format!("--config={}", path.display());
        let Resolved::Run(program) = run(&[&config, "--times=5"]).unwrap() else {
            panic!("printed")
        };
        let Verb::Run(run) = program.verb;
        assert_eq!((run.node.as_str(), run.times, run.dry), ("n1", 5, true));
        assert_eq!(run.peers, ["a", "b"]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_lists_the_settings() {
        let path = file("unknown", "nod = \"n1\"\n");
        let error = run(&[&format!("--config={}", path.display())])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no setting `nod`") && error.contains("node, peer"),
            "{error}"
        );
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_toml_is_an_error_with_its_line() {
        let path = file("syntax", "node = \"n1\"\ntimes = = 3\n");
        let error = run(&[&format!("--config={}", path.display())])
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2"), "{error}");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_needed_to_run_is_not_needed_to_print() {
        let Resolved::Print(text) = run(&["--print-config"]).unwrap() else {
            panic!("ran")
        };
        assert!(text.contains("# node =   # not set"), "{text}");
        let error = run(&["--print-config", "--times=many"]).unwrap_err();
        assert!(error.to_string().contains("--times"), "{error}");
        let error = run(&[]).unwrap_err();
        assert!(error.to_string().contains("--node"), "{error}");
    }

    #[test]
    fn what_is_printed_is_a_file_that_gives_the_same_again() {
        let Resolved::Print(text) =
            run(&["--node=n\"1", "--peer=a", "--dry", "--print-config"]).unwrap()
        else {
            panic!("ran")
        };
        assert!(text.contains("# Who this is"), "{text}");
        let path = file("printed", &text);
        let Resolved::Run(program) = run(&[&format!("--config={}", path.display())]).unwrap()
        else {
            panic!("printed")
        };
        let Verb::Run(run) = program.verb;
        assert_eq!(
            (run.node.as_str(), run.times, run.dry, run.peers),
            ("n\"1", 7, true, vec!["a".to_owned()])
        );
        assert!(run.source.config.is_some() && !run.source.print_config);
        std::fs::remove_file(path).unwrap();
    }
}
