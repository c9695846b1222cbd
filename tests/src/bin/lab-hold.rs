//! Builds a small lab, prints its name and holds it until it is killed: shows that a crash leaves nothing for ever.

use anyhow::{Context, Result};
use bulkhead_tests::lab::{Lab, Plan};

fn main() -> Result<()> {
    let lab = Lab::start(Plan::new(1).workload("a/one", 1, &[80])?)?;
    let name = lab
        .folder()
        .file_name()
        .context("a lab's folder has a name")?
        .to_string_lossy()
        .into_owned();
    let mut output = std::io::stdout();
    std::io::Write::write_all(&mut output, format!("{name}\n").as_bytes())?;
    loop {
        std::thread::park();
    }
}
