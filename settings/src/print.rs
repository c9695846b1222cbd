//! All settings as a commented file: the reference that cannot be out of date.

use std::fmt::Write as _;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use toml::Value;

use crate::file::is_setting;

/// Whether `--print-config` was given.
pub(crate) fn wanted(matches: &ArgMatches) -> bool {
    matches
        .try_get_one::<bool>("print_config")
        .ok()
        .flatten()
        .copied()
        .unwrap_or(false)
}

pub(crate) fn render(command: &Command, matches: &ArgMatches, from_file: &[String]) -> String {
    let mut text = String::new();
    for argument in command
        .get_arguments()
        .filter(|argument| is_setting(argument))
    {
        if argument.is_hide_set() {
            continue;
        }
        let _ = render_one(&mut text, argument, matches, from_file);
    }
    text
}

fn render_one(
    text: &mut String,
    argument: &Arg,
    matches: &ArgMatches,
    from_file: &[String],
) -> std::fmt::Result {
    let key = argument.get_long().unwrap_or_default();
    if let Some(help) = argument.get_help() {
        writeln!(text, "# {}", help.to_string().replace('\n', "\n# "))?;
    }
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    if !possible.is_empty() && !matches!(argument.get_action(), ArgAction::SetTrue) {
        writeln!(text, "# One of: {}.", possible.join(", "))?;
    }
    if let Some(variable) = argument.get_env() {
        writeln!(text, "# Environment: {}.", variable.to_string_lossy())?;
    }
    let id = argument.get_id().as_str();
    let from = match matches.value_source(id) {
        Some(ValueSource::CommandLine) if from_file.iter().any(|other| other == key) => {
            "from the file"
        }
        Some(ValueSource::CommandLine) => "from the command line",
        Some(ValueSource::EnvVariable) => "from the environment",
        Some(_) | None => "default",
    };
    match value_of(argument, matches) {
        Some(value) => writeln!(text, "{key} = {value}  # {from}\n"),
        None => writeln!(text, "# {key} =   # not set\n"),
    }
}

fn value_of(argument: &Arg, matches: &ArgMatches) -> Option<Value> {
    let id = argument.get_id().as_str();
    let raw: Vec<String> = matches
        .get_raw(id)?
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        return Some(Value::Boolean(matches.get_flag(id)));
    }
    let many = matches!(argument.get_action(), ArgAction::Append);
    let mut values: Vec<Value> = raw.into_iter().map(typed).collect();
    if many {
        Some(Value::Array(values))
    } else {
        values.pop()
    }
}

fn typed(value: String) -> Value {
    match value.parse::<i64>() {
        Ok(number) if number.to_string() == value => Value::Integer(number),
        Ok(_) | Err(_) => Value::String(value),
    }
}
