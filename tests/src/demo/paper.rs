//! What the demo looks like: plain lines in a pipe, colours on a terminal.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crate::lab::endpoint::Transport;
use crate::lab::{Cell, Matrix};

/// Where the telling goes.
#[derive(Debug)]
pub struct Paper {
    colours: Colours,
    step: u32,
}

/// Whether escape sequences may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colours {
    Ansi,
    None,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// As it comes.
    Plain,
    /// Headings.
    Bold,
    /// Beside the point.
    Faint,
    /// As it should be, and open.
    Good,
    /// Stopped.
    Stopped,
    /// To be typed or opened.
    Path,
}

impl Ink {
    fn sequence(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Stopped => "\x1b[31m",
            Self::Path => "\x1b[36m",
        }
    }
}

impl Paper {
    /// Standard output; colours only where a person looks at it and has not asked for none.
    pub fn standard() -> Self {
        let person = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            colours: if person { Colours::Ansi } else { Colours::None },
            step: 0,
        }
    }

    /// The first lines.
    pub fn title(&mut self, title: &str, subtitle: &str) {
        self.line("");
        self.line(&format!(
            "  {}  {}",
            self.ink(Ink::Bold, title),
            self.ink(Ink::Faint, subtitle)
        ));
    }

    /// A heading, numbered.
    pub fn step(&mut self, heading: &str) {
        self.step += 1;
        let number = self.ink(Ink::Faint, &format!("{:>2}", self.step));
        self.line("");
        self.line(&format!("{number}  {}", self.ink(Ink::Bold, heading)));
    }

    /// Something that is as told.
    pub fn good(&self, text: &str) {
        self.line(&format!("    {} {text}", self.ink(Ink::Good, "✓")));
    }

    /// Something that was stopped, as it should be.
    pub fn stopped(&self, text: &str) {
        self.line(&format!("    {} {text}", self.ink(Ink::Stopped, "✗")));
    }

    /// A remark.
    pub fn note(&self, text: &str) {
        self.line(&format!("      {}", self.ink(Ink::Faint, text)));
    }

    /// A line of text.
    pub fn text(&self, text: &str) {
        self.line(&format!("    {text}"));
    }

    /// Text in an ink.
    pub fn ink(&self, ink: Ink, text: &str) -> String {
        match (self.colours, ink) {
            (Colours::None, _) | (_, Ink::Plain) => text.to_owned(),
            (Colours::Ansi, ink) => format!("{}{text}\x1b[0m", ink.sequence()),
        }
    }

    /// Who reaches whom over TCP: a full dot for every port over both families, half a dot for some, a point for none.
    pub fn matrix(&self, matrix: &Matrix) {
        let table = Table::of(matrix);
        let header: String = (1..=table.names.len())
            .map(|number| format!("{number:>3}"))
            .collect();
        self.line("");
        self.line(&format!("    {:>22}{}", "", self.ink(Ink::Faint, &header)));
        for (row, name) in table.names.iter().enumerate() {
            let marks: String = (0..table.names.len())
                .map(|column| self.mark(table.share(row, column)))
                .collect();
            let number = self.ink(Ink::Faint, &format!("{:>3}", row + 1));
            self.line(&format!("    {name:<18} {number}{marks}"));
        }
        let legend = format!(
            "      {} every port   {} some   {} none   (row opens to column; {} of {} questions answered, TCP, UDP and ping, IPv4 and IPv6)",
            self.ink(Ink::Good, "●"),
            self.ink(Ink::Good, "◐"),
            self.ink(Ink::Stopped, "·"),
            matrix.reached(),
            matrix.outcomes().len()
        );
        self.line("");
        self.line(&legend);
    }

    fn mark(&self, share: Share) -> String {
        match share {
            Share::NotAsked => "   ".to_owned(),
            Share::None => format!("  {}", self.ink(Ink::Stopped, "·")),
            Share::Some => format!("  {}", self.ink(Ink::Good, "◐")),
            Share::All => format!("  {}", self.ink(Ink::Good, "●")),
        }
    }

    fn line(&self, text: &str) {
        // Nobody listens any more: the checks go on.
        let _written = writeln!(io::stdout().lock(), "{text}");
    }
}

/// Milliseconds for people.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    NotAsked,
    None,
    Some,
    All,
}

/// Questions and answers by pair.
struct Table {
    names: Vec<String>,
    counts: BTreeMap<(usize, usize), (u32, u32)>,
}

impl Table {
    fn of(matrix: &Matrix) -> Self {
        let tcp = || {
            matrix
                .outcomes()
                .iter()
                .filter(|(cell, _)| cell.transport == Transport::Tcp)
        };
        let mut names: Vec<String> = tcp()
            .flat_map(
                |(
                    Cell {
                        source,
                        destination,
                        ..
                    },
                    _,
                )| [source.clone(), destination.clone()],
            )
            .collect();
        // Those in namespaces first, machines outside last.
        names.sort_by_key(|name| (!name.contains('/'), name.clone()));
        names.dedup();
        let position = |name: &String| {
            names
                .iter()
                .position(|other| other == name)
                .unwrap_or_default()
        };
        let mut counts: BTreeMap<(usize, usize), (u32, u32)> = BTreeMap::new();
        for (cell, outcome) in tcp() {
            let (asked, answered) = counts
                .entry((position(&cell.source), position(&cell.destination)))
                .or_default();
            *asked += 1;
            *answered += u32::from(outcome.is_reached());
        }
        Self { names, counts }
    }

    fn share(&self, row: usize, column: usize) -> Share {
        match self.counts.get(&(row, column)) {
            None => Share::NotAsked,
            Some((_, 0)) => Share::None,
            Some((asked, answered)) if asked == answered => Share::All,
            Some(_) => Share::Some,
        }
    }
}
