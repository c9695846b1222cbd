//! Running other programs, with errors that name the whole command line.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs to the end; the program talks to the terminal itself.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs to the end and says nothing, unless it fails: then what the program said is in the error.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}\n{}{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }
    Ok(())
}

/// Runs to the end and returns what the program printed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}\n{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr),
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that is no text", line(command)))
}

fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = run_quietly(Command::new("sh").args(["-c", "echo why >&2; exit 3"]))
            .expect_err("the program exits with 3");
        let text = format!("{error:#}");
        assert!(text.contains("sh -c"), "{text}");
        assert!(text.contains("why"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = read(&mut Command::new("bulkhead-no-such-program")).expect_err("not there");
        assert!(format!("{error:#}").contains("bulkhead-no-such-program"));
    }
}
