//! Go, which compiles the Kubernetes of the topmost rung. No package of a stable Debian is new enough, so it is asked for
//! and not brought.

use std::{fs, process::Command};

use anyhow::{Context, Result, bail};

use crate::{command::read, workspace::Workspace};

/// Fails where Go is missing or too old, with what to do about it.
pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let module = workspace.root().join("tests/kubernetes/go.mod");
    let text =
        fs::read_to_string(&module).with_context(|| format!("cannot read {}", module.display()))?;
    let wanted = text
        .lines()
        .find_map(|line| line.strip_prefix("go "))
        .with_context(|| format!("{} names no version of Go", module.display()))?;
    let remedy = || {
        format!(
            "the cluster tests compile Kubernetes with Go {wanted} or newer: install it and put \
             its bin folder on the search path"
        )
    };
    // Outside of any module, so that none asks for another version.
    let said = read(Command::new("go").current_dir("/").arg("version")).with_context(remedy)?;
    match version(&said) {
        Some(found) if is_at_least(&found, wanted) => Ok(()),
        Some(found) => bail!("Go {found} is too old; {}", remedy()),
        None => bail!("`go version` says {:?}; {}", said.trim(), remedy()),
    }
}

/// From `go version go1.26.8 linux/amd64`.
fn version(said: &str) -> Option<String> {
    said.split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))
        .map(|rest| format!("1.{rest}"))
}

fn is_at_least(found: &str, wanted: &str) -> bool {
    let numbers = |text: &str| -> Vec<u32> {
        text.split('.')
            .map_while(|part| part.parse().ok())
            .collect()
    };
    numbers(found) >= numbers(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let said = "go version go1.26.8 linux/amd64\n";
        assert_eq!(version(said).as_deref(), Some("1.26.8"));
        assert_eq!(version("no go here"), None);
        assert!(is_at_least("1.26.8", "1.26.0"));
        assert!(is_at_least("1.100.0", "1.26.0"));
        assert!(!is_at_least("1.9", "1.26.0"));
        assert!(!is_at_least("1.25.9", "1.26.0"));
    }
}
