//! `cargo xtask demo`: the shop, told step by step, then up until Ctrl-C. With `--check` it ends after the last check.
//!
//! However it ends, nothing is left behind.

use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, Result};
use bulkhead_tests::demo::{Ending, Paper, follow, tell};
use bulkhead_tests::lab::remove_labs_of_this_process;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Shows what Bulkhead does, on this machine, in network namespaces.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo")]
struct Arguments {
    /// End after the last check; the exit code says whether everything was as told
    #[arg(long)]
    check: bool,
}

enum News {
    Told(Result<()>),
    Interrupted,
}

fn main() -> ExitCode {
    let ending = if Arguments::parse().check {
        Ending::AtOnce
    } else {
        Ending::WhenTold
    };
    let (sender, news) = channel();
    let interrupted = sender.clone();
    thread::spawn(move || {
        let _told = wait_for_signal().map(|()| interrupted.send(News::Interrupted));
    });
    thread::spawn(move || run(ending, &sender));
    let code = match news.recv() {
        Ok(News::Told(Ok(()))) => ExitCode::SUCCESS,
        Ok(News::Told(Err(error))) => {
            eprintln!("\n    demo: {error:#}");
            ExitCode::FAILURE
        }
        Ok(News::Interrupted) | Err(_) => match ending {
            Ending::WhenTold => ExitCode::SUCCESS,
            Ending::AtOnce => ExitCode::FAILURE,
        },
    };
    match remove_labs_of_this_process() {
        Ok(()) => code,
        Err(error) => {
            eprintln!("demo: {error:#}; the next start removes the rest");
            ExitCode::FAILURE
        }
    }
}

fn run(ending: Ending, news: &Sender<News>) {
    let mut paper = Paper::standard();
    let told = tell(&mut paper, ending).and_then(|scene| match ending {
        Ending::AtOnce => Ok(()),
        Ending::WhenTold => follow(&paper, &scene),
    });
    // The other end waits for exactly one message.
    let _heard = news.send(News::Told(told));
}

fn wait_for_signal() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
