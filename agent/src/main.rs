//! `bulkhead-agent`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use bulkhead_agent::settings::{Command, Verb};
use bulkhead_agent::{dump, remove, run};
use bulkhead_settings::{Resolved, SettingsError};

fn main() -> ExitCode {
    let outcome = match bulkhead_settings::resolve::<Command>(std::env::args_os()) {
        Err(SettingsError::Usage(error)) => error.exit(),
        Err(error) => Err(anyhow::Error::new(error)),
        Ok(Resolved::Print(text)) => {
            print!("{text}");
            Ok(())
        }
        Ok(Resolved::Run(command)) => start(command.verb),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bulkhead-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Run(settings) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on(run::run(*settings))
        }
        Verb::Remove(settings) => remove::remove(&settings),
        Verb::Dump(settings) => {
            println!("{:#}", dump::dump(&settings)?);
            Ok(())
        }
    }
}
