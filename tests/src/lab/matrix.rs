//! Who reaches whom, found out by asking: each cell is a client in one namespace and a server in another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::endpoint::{Outcome, Pending, Question, Transport};
use super::{Family, Lab};

/// Silence for this long means dropped: an answer inside one machine takes far less than a millisecond.
const SILENCE: Duration = Duration::from_millis(400);
/// A silence that should have been an answer is asked for again with more patience, as the machine may have been busy. (An answer
/// that should have been silence needs no second question.)
const PATIENCE: Duration = Duration::from_millis(3000);

/// One question of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Whose client asks.
    pub source: String,
    /// Whose server is asked.
    pub destination: String,
    /// How.
    pub transport: Transport,
    /// 0 for a ping.
    pub port: u16,
    /// Over which addresses.
    pub family: Family,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            transport,
            port,
            family,
        } = self;
        match transport {
            Transport::Ping => write!(f, "{source} -> {destination} ping over {family}"),
            Transport::Tcp => write!(f, "{source} -> {destination}:{port}/TCP over {family}"),
            Transport::Udp => write!(f, "{source} -> {destination}:{port}/UDP over {family}"),
        }
    }
}

/// What somebody else says about a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It is answered.
    Reached,
    /// Nothing comes back.
    Silent,
}

/// A cell that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deviation {
    /// Which.
    pub cell: Cell,
    /// What should have been.
    pub expected: Expected,
    /// What was.
    pub outcome: Outcome,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = match self.expected {
            Expected::Reached => "has to be reached",
            Expected::Silent => "must not be reached",
        };
        write!(f, "{}: {expected}, but: {:?}", self.cell, self.outcome)
    }
}

/// A measured matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    outcomes: BTreeMap<Cell, Outcome>,
}

impl Matrix {
    /// Every ordered pair of workloads and machines outside, on each port of the destination, over both families; and pings.
    pub fn questions(lab: &Lab) -> Vec<Cell> {
        let plan = lab.plan();
        let places: Vec<(String, &[u16])> = plan
            .workloads()
            .iter()
            .map(|w| (w.key(), w.ports.as_slice()))
            .chain(
                plan.outsiders()
                    .iter()
                    .map(|o| (o.name.clone(), o.ports.as_slice())),
            )
            .collect();
        let outside: BTreeSet<&str> = plan.outsiders().iter().map(|o| o.name.as_str()).collect();
        let mut cells = Vec::new();
        for (source, _) in &places {
            for (destination, ports) in &places {
                let both_outside =
                    outside.contains(source.as_str()) && outside.contains(destination.as_str());
                if source == destination || both_outside {
                    continue;
                }
                for family in Family::BOTH {
                    let asked = ports.iter().map(|port| (Transport::Tcp, *port));
                    let udp = ports.first().map(|port| (Transport::Udp, *port));
                    for (transport, port) in asked.chain(udp).chain([(Transport::Ping, 0)]) {
                        let (source, destination) = (source.clone(), destination.clone());
                        cells.push(Cell {
                            source,
                            destination,
                            transport,
                            port,
                            family,
                        });
                    }
                }
            }
        }
        cells
    }

    /// Asks everything, all sources at the same time.
    pub fn measure(lab: &Lab, cells: &[Cell]) -> Result<Self> {
        Ok(Self {
            outcomes: ask(lab, cells, SILENCE)?,
        })
    }

    /// Where it is not as expected. Cells that were silent and should not have been get a second chance.
    pub fn deviations(
        &mut self,
        lab: &Lab,
        expected: impl Fn(&Cell) -> Expected,
    ) -> Result<Vec<Deviation>> {
        let missed: Vec<Cell> = self
            .outcomes
            .iter()
            .filter(|(cell, outcome)| !outcome.is_reached() && expected(cell) == Expected::Reached)
            .map(|(cell, _)| cell.clone())
            .collect();
        if !missed.is_empty() {
            self.outcomes.extend(ask(lab, &missed, PATIENCE)?);
        }
        let deviates = |(cell, outcome): (&Cell, &Outcome)| {
            let expected = expected(cell);
            (found(cell, outcome) != Some(expected)).then(|| Deviation {
                cell: cell.clone(),
                expected,
                outcome: outcome.clone(),
            })
        };
        Ok(self.outcomes.iter().filter_map(deviates).collect())
    }

    /// All cells with their outcomes.
    pub fn outcomes(&self) -> &BTreeMap<Cell, Outcome> {
        &self.outcomes
    }

    /// How many cells were answered.
    pub fn reached(&self) -> usize {
        self.outcomes
            .values()
            .filter(|outcome| outcome.is_reached())
            .count()
    }
}

/// What an outcome shows; nothing if the wrong server answered.
fn found(cell: &Cell, outcome: &Outcome) -> Option<Expected> {
    match outcome {
        Outcome::Answered(name)
            if cell.transport == Transport::Ping || *name == cell.destination =>
        {
            Some(Expected::Reached)
        }
        Outcome::Answered(_) => None,
        Outcome::Refused => Some(Expected::Reached),
        Outcome::Silence => Some(Expected::Silent),
        Outcome::Error(_) => None,
    }
}

fn ask(lab: &Lab, cells: &[Cell], limit: Duration) -> Result<BTreeMap<Cell, Outcome>> {
    let mut by_source: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    for cell in cells {
        by_source.entry(&cell.source).or_default().push(cell);
    }
    let mut asked: Vec<(Vec<&Cell>, Pending)> = Vec::new();
    for (source, cells) in by_source {
        let questions = cells
            .iter()
            .map(|cell| question(lab, cell))
            .collect::<Result<Vec<Question>>>()?;
        asked.push((cells, lab.endpoint(source)?.begin_probe(&questions, limit)?));
    }
    let mut outcomes = BTreeMap::new();
    for (cells, pending) in asked {
        outcomes.extend(cells.into_iter().cloned().zip(pending.outcomes()?));
    }
    Ok(outcomes)
}

fn question(lab: &Lab, cell: &Cell) -> Result<Question> {
    let address = lab.addresses(&cell.destination)?.of(cell.family);
    Ok(Question {
        transport: cell.transport,
        to: SocketAddr::new(address, cell.port),
    })
}
