//! Nothing in the project names the place it was written at: no folder of a machine, no server of a
//! package registry. Clients of registries are configured by the machine they run on.

use std::path::Path;

use super::{Finding, SourceFile};

/// Names of servers, in parts, or this file would be its own finding.
const REGISTRIES: &[&[&str]] = &[
    &["crates", "io"],
    &["static", "rust-lang", "org"],
    &["deb", "debian", "org"],
    &["snapshot", "debian", "org"],
    &["security", "debian", "org"],
    &["archive", "ubuntu", "com"],
    &["proxy", "golang", "org"],
    &["sum", "golang", "org"],
    &["pypi", "org"],
    &["files", "pythonhosted", "org"],
    &["registry", "npmjs", "org"],
    &["repo1", "maven", "org"],
    &["repo", "maven", "apache", "org"],
];

/// First folders that only a certain machine has, again in parts.
const MACHINE_FOLDERS: &[&[&str]] = &[&["work"], &["root"], &["home"], &["tmp", "bulkhead"]];

/// Cargo writes the index's name beside every dependency.
const WRITTEN_BY_TOOLS: &[&str] = &["Cargo.lock"];

pub(super) fn check(file: &SourceFile, root: &Path) -> Vec<Finding> {
    if WRITTEN_BY_TOOLS.contains(&file.name()) {
        return Vec::new();
    }
    let mut folders: Vec<String> = MACHINE_FOLDERS
        .iter()
        .map(|parts| format!("/{}/", parts.join("/")))
        .collect();
    folders.push(format!("{}/", root.display()));

    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for server in REGISTRIES.iter().map(|parts| parts.join(".")) {
            if line.contains(&server) {
                findings.push(Finding::at_line(
                    file,
                    index + 1,
                    format!("names the registry server {server}: leave it to the machine's client"),
                ));
            }
        }
        if let Some(folder) = folders.iter().find(|folder| starts_path(line, folder)) {
            findings.push(Finding::at_line(
                file,
                index + 1,
                format!(
                    "names a folder of one machine ({folder}…): derive it, or take an argument"
                ),
            ));
        }
    }
    findings
}

/// Whether a path in the line begins with this folder; one that only holds its name does not count.
fn starts_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at]
            .chars()
            .next_back()
            .is_some_and(|letter| letter.is_alphanumeric() || "._-/}>~*".contains(letter))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::example, *};

    fn count(path: &str, text: &str) -> usize {
        check(&example(path, text), Path::new("/srv/checkout")).len()
    }

    #[test]
    fn a_registry_server_is_found_but_not_in_the_lock_file() {
        let line = format!("index = \"https://{}.{}/x\"\n", "crates", "io");
        assert_eq!(count("a/README.md", &line), 1);
        assert_eq!(count("Cargo.lock", &line), 0);
    }

    #[test]
    fn a_folder_of_a_machine_is_found() {
        for first in ["work", "root", "home"] {
            let line = format!("let x = \"/{first}/somebody\";\n");
            assert_eq!(count("a/src/b.rs", &line), 1, "{first}");
        }
        assert_eq!(count("a/src/b.rs", "cd /srv/checkout/a\n"), 1);
    }

    #[test]
    fn a_path_that_only_contains_such_a_name_is_not() {
        let line = format!("upper/{}/x ${{base}}/{}/y\n", "work", "home");
        assert_eq!(count("a/src/b.rs", &line), 0);
    }
}
