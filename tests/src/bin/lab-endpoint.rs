//! One client and server of the lab, in whatever network namespace it was started. Its only argument is its name.

use anyhow::{Context, Result};

fn main() -> Result<()> {
    let name = std::env::args()
        .nth(1)
        .context("tell me my name: lab-endpoint NAME")?;
    bulkhead_tests::lab::endpoint::run(&name)
}
