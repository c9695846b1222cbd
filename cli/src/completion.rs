//! `bulkhead completion`.

use std::io;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

#[derive(clap::Args)]
#[command(after_help = "Example:\n  bulkhead completion bash > /etc/bash_completion.d/bulkhead")]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    clap_complete::generate(
        arguments.shell,
        &mut crate::Arguments::command(),
        "bulkhead",
        &mut io::stdout(),
    );
    Ok(())
}
