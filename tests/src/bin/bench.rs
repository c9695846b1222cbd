//! `cargo xtask bench [ROW…]`: figures beside their targets. Each row runs in a process of its own.

use std::process::Command;

use anyhow::{Context, Result, bail};
use bulkhead_tests::bench::report::Figure;
use bulkhead_tests::bench::{apply, compile, datapath, event, memory, restart, rules};
use bulkhead_tests::worlds::rows::{Row, write_json};
use clap::Parser;

/// The one the controller runs with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "cargo xtask bench",
    about = "Figures beside their targets; all rows if none is named"
)]
struct Arguments {
    /// Rows of the table of targets, as A, A+, A'', B, B', C, C+, D, E, F, F', H, I, K (with J)
    rows: Vec<String>,
    /// Seed of the worlds
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often a row is measured; the smallest of each figure is printed
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Print figures as JSON lines
    #[arg(long)]
    json: bool,
    /// Measure one row in this process
    #[arg(long, hide = true)]
    once: bool,
    /// Touch memory and give it back
    #[arg(long, hide = true)]
    touch: bool,
    /// Write the world of a row as JSON lines to standard output instead of measuring it
    #[arg(long, value_name = "ROW")]
    world: Option<String>,
}

const ROWS: [&str; 14] = [
    "A", "A+", "A''", "B", "B'", "C", "C+", "D", "E", "F", "F'", "H", "I", "K",
];

/// More than any row needs.
const TOUCHED_BYTES: usize = 768 << 20;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.touch {
        std::hint::black_box(vec![1_u8; TOUCHED_BYTES]);
        return Ok(());
    }
    if let Some(name) = &arguments.world {
        let row = Row::named(name).with_context(|| format!("no world is called {name}"))?;
        return Ok(write_json(
            &row.events(arguments.seed, 1000),
            std::io::stdout().lock(),
        )?);
    }
    let rows: Vec<&str> = if arguments.rows.is_empty() {
        ROWS.to_vec()
    } else {
        arguments.rows.iter().map(String::as_str).collect()
    };
    if let Some(unknown) = rows.iter().find(|row| !ROWS.contains(row)) {
        bail!("there is no row {unknown}; rows are {}", ROWS.join(", "));
    }
    for row in rows {
        if arguments.once {
            for figure in measure(row, arguments.seed)? {
                println!("{}", serde_json::to_string(&figure)?);
            }
        } else {
            smallest_of_runs(row, &arguments)?;
        }
    }
    Ok(())
}

fn measure(row: &str, seed: u64) -> Result<Vec<Figure>> {
    match (Row::named(row), row) {
        (Some(Row::D), _) => rules::run(seed),
        (Some(row), _) => compile::run(row, seed),
        (None, "F'") => apply::run(seed),
        (None, "H") => datapath::run(),
        (None, "I") => memory::run(),
        (None, "K") => restart::run(seed),
        (None, _) => event::run(seed),
    }
}

fn smallest_of_runs(row: &str, arguments: &Arguments) -> Result<()> {
    let mut smallest: Vec<Figure> = Vec::new();
    for _ in 0..arguments.runs.max(1) {
        let figures = in_a_process_of_its_own(row, arguments.seed)?;
        if smallest.is_empty() {
            smallest = figures;
            continue;
        }
        for (least, figure) in smallest.iter_mut().zip(figures) {
            if figure.figure < least.figure {
                *least = figure;
            }
        }
    }
    for figure in smallest {
        if arguments.json {
            println!("{}", serde_json::to_string(&figure)?);
        } else {
            println!("{figure}");
        }
    }
    Ok(())
}

fn in_a_process_of_its_own(row: &str, seed: u64) -> Result<Vec<Figure>> {
    let own = std::env::current_exe()?;
    // The host of a virtual machine may have taken back what lay free for a while, and to find it again takes it longer than the
    // row itself takes. A process that ends leaves it where the next one gets it.
    let touched = Command::new(&own)
        .arg("--touch")
        .status()
        .context("memory")?;
    if !touched.success() {
        bail!("cannot touch {TOUCHED_BYTES} bytes of memory: {touched}");
    }
    let output = Command::new(own)
        .args(["--once", "--seed", &seed.to_string(), row])
        .output()
        .with_context(|| format!("row {row}"))?;
    if !output.status.success() {
        bail!(
            "row {row}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let text = String::from_utf8(output.stdout)?;
    let figures = text.lines().map(serde_json::from_str);
    figures
        .collect::<serde_json::Result<_>>()
        .context("figures")
}
