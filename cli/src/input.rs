//! Manifests from files, folders and standard input.
//!
//! Invariant: an answer is about the intent as it was written. If some object cannot be read, there is no answer.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bulkhead_policy::model::Object;
use bulkhead_source::folder::read_paths;
use bulkhead_source::index::{Content, Index, Scan};
use bulkhead_source::{Problem, Severity};
use ipnet::IpNet;

#[derive(clap::Args)]
pub(crate) struct Manifests {
    /// A file, a folder, or - for standard input; YAML documents, JSON or Lists (repeatable)
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE|FOLDER|-",
        required = true
    )]
    files: Vec<PathBuf>,
    /// A range of pod addresses beside those that Nodes declare (repeatable)
    #[arg(long = "cluster-range", value_name = "CIDR")]
    pub(crate) cluster_ranges: Vec<IpNet>,
}

impl Manifests {
    /// All objects. Warnings go to standard error, errors end the run.
    pub(crate) fn read(&self) -> Result<Vec<Object>> {
        let (standard_input, paths): (Vec<_>, Vec<_>) = self
            .files
            .iter()
            .cloned()
            .partition(|path| path.as_os_str() == "-");
        let mut scan: Scan = read_paths(&paths)?;
        if !standard_input.is_empty() {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .context("standard input cannot be read")?;
            scan.insert("standard input".into(), Content::Bytes(bytes));
        }
        let mut index = Index::default();
        index.handle(scan);
        report(&[index.problems(), &index.unasked_names()[..]].concat())?;
        Ok(index.objects().cloned().collect())
    }
}

fn report(problems: &[Problem]) -> Result<()> {
    for problem in problems {
        eprintln!("{}: {problem}", problem.severity);
    }
    match problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count()
    {
        0 => Ok(()),
        1 => bail!("one thing in the manifests cannot be read; correct it and ask again"),
        errors => {
            bail!("{errors} things in the manifests cannot be read; correct them and ask again")
        }
    }
}
