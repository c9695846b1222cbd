//! What a machine can check about the order of the house.
//!
//! Every rule is a pure function from names and texts to findings, and has a test that shows it
//! finding something. A rule that can only be kept by judgement is not here but in CONTRIBUTING.md.

mod arrows;
mod code;
mod crates;
mod errors;
mod foreign;
mod names;
mod opening;
mod size;
mod unfinished;
mod unsafe_code;

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::{command::read, workspace::Workspace};

/// Something out of order: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    place: String,
    message: String,
}

impl Finding {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }

    fn at_line(file: &SourceFile, line: usize, message: impl Into<String>) -> Self {
        Self::new(format!("{}:{line}", file.path), message)
    }
}

/// A text that belongs to the project: tracked, or new and not ignored.
#[derive(Debug, Clone)]
struct SourceFile {
    /// From the root of the checkout, with `/`.
    path: String,
    text: String,
}

impl SourceFile {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Test code as a whole: a rung of the ladder, or the unit tests of a file, kept beside it.
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/tests/")
            || self.path.contains("/tests/")
            || self.name() == "tests.rs"
            || self.name().ends_with("_tests.rs")
    }
}

/// `cargo xtask tidy`: prints every finding and fails if there is one.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let files = project_files(workspace.root())?;
    let metadata = read(
        workspace
            .cargo()
            .args(["metadata", "--format-version", "1"]),
    )?;
    let crates = crates::Crates::from_metadata(&metadata)?;

    let mut findings = arrows::check(&crates);
    let mut notes = Vec::new();
    for file in &files {
        findings.extend(names::check(&file.path));
        findings.extend(foreign::check(file, workspace.root()));
        match size::check(file) {
            size::Verdict::Fits => {}
            size::Verdict::Long(note) => notes.push(note),
            size::Verdict::TooLong(finding) => findings.push(finding),
        }
        if file.is_rust() {
            findings.extend(opening::check(file));
            let code = code::Code::of(&file.text);
            findings.extend(unfinished::check(file, &code));
            findings.extend(unsafe_code::check(file, &code));
            findings.extend(errors::check(file, &code));
        }
    }

    for note in &notes {
        println!("note: {}: {}", note.place, note.message);
    }
    for finding in &findings {
        println!("{}: {}", finding.place, finding.message);
    }
    println!(
        "tidy: {} files, median Rust file {} lines, {} crates, {} notes, {} findings",
        files.len(),
        size::median_rust_lines(&files),
        crates.count(),
        notes.len(),
        findings.len(),
    );
    if !findings.is_empty() {
        bail!("tidy has {} findings", findings.len());
    }
    Ok(())
}

fn project_files(root: &Path) -> Result<Vec<SourceFile>> {
    let listed = read(std::process::Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let full = root.join(path);
        // Deleted and not yet committed, or a link.
        if !full.is_file() {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("cannot read {}", full.display()))?;
        // A picture or a packet capture has no lines to check.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile {
                path: path.to_owned(),
                text,
            });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.dedup_by(|one, other| one.path == other.path);
    Ok(files)
}

#[cfg(test)]
fn example(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}
