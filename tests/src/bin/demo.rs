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
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    // Before anything is told: who reads the first line may press Ctrl-C at once.
    let interruption = match Interruption::listen() {
        Ok(interruption) => interruption,
        Err(error) => {
            eprintln!("demo: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let interrupted = sender.clone();
    thread::spawn(move || {
        interruption.wait();
        // Nobody listens any more if the demo has ended otherwise.
        let _heard = interrupted.send(News::Interrupted);
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

/// Ctrl-C, or being told to end.
struct Interruption {
    runtime: Runtime,
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    /// From here on no signal is lost.
    fn listen() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
        let terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        drop(inside);
        Ok(Self {
            runtime,
            interrupt,
            terminate,
        })
    }

    fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        });
    }
}
