//! The settings file, turned into the flags that it stands for.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};
use toml::{Table, Value};

use crate::SettingsError;

/// The file that flags or environment name.
pub(crate) fn path(command: &Command, matches: &ArgMatches) -> Option<PathBuf> {
    command
        .get_arguments()
        .find(|argument| argument.get_id() == "config")?;
    matches.get_one::<PathBuf>("config").cloned()
}

pub(crate) fn read(path: &Path) -> Result<Table, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|reason| SettingsError::Unreadable {
        path: path.to_owned(),
        reason,
    })?;
    text.parse()
        .map_err(|error: toml::de::Error| SettingsError::Syntax {
            path: path.to_owned(),
            problem: error.to_string().trim().to_owned(),
        })
}

/// Keys of the file with the flags that say the same; those already given by flag or environment are left out.
pub(crate) fn arguments(
    path: &Path,
    table: &Table,
    command: &Command,
    matches: &ArgMatches,
) -> Result<Vec<(String, OsString)>, SettingsError> {
    let settable = || {
        command
            .get_arguments()
            .filter(|argument| is_setting(argument))
    };
    let mut flags = Vec::new();
    for (key, value) in table {
        let Some(argument) = settable().find(|argument| argument.get_long() == Some(key)) else {
            let known: Vec<&str> = settable()
                .filter_map(|argument| argument.get_long())
                .collect();
            return Err(SettingsError::Unknown {
                path: path.to_owned(),
                key: key.clone(),
                known: known.join(", "),
            });
        };
        let id = argument.get_id().as_str();
        let given = matches
            .try_contains_id(id)
            .unwrap_or(false)
            .then(|| matches.value_source(id))
            .flatten();
        if matches!(
            given,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) {
            continue;
        }
        let wrong = || SettingsError::Value {
            path: path.to_owned(),
            key: key.clone(),
        };
        let values = if let Value::Array(values) = value {
            values
                .iter()
                .map(text)
                .collect::<Option<Vec<_>>>()
                .ok_or_else(wrong)?
        } else {
            vec![text(value).ok_or_else(wrong)?]
        };
        for value in values {
            let flag = match (argument.get_action(), value.as_str()) {
                (ArgAction::SetTrue, "true") => format!("--{key}"),
                (ArgAction::SetTrue, "false") => continue,
                _ => format!("--{key}={value}"),
            };
            flags.push((key.clone(), flag.into()));
        }
    }
    Ok(flags)
}

/// Whether the argument can stand in a file.
pub(crate) fn is_setting(argument: &clap::Arg) -> bool {
    argument.get_long().is_some()
        && !["config", "print_config", "help", "version"].contains(&argument.get_id().as_str())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}
