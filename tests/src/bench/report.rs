//! One line a figure: row, what was measured, figure, target, and how far the two are apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
    /// Megabytes (10⁶ bytes).
    Mb,
    /// Hundredths of what it is compared with in the same run.
    Percent,
    /// A number.
    Count,
}

/// What was measured; smaller is better.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// The row of the table of targets.
    pub row: String,
    /// In words.
    pub what: String,
    /// What came out.
    pub figure: f64,
    /// What it is measured in.
    pub unit: Unit,
    /// What it should be at most.
    pub target: f64,
}

impl Figure {
    /// A figure of a row.
    pub fn new(row: &str, what: impl Into<String>, figure: f64, unit: Unit, target: f64) -> Self {
        Self {
            row: row.to_owned(),
            what: what.into(),
            figure,
            unit,
            target,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Ms => "ms",
            Unit::Us => "µs",
            Unit::Ns => "ns",
            Unit::Mb => "MB",
            Unit::Percent => "%",
            Unit::Count => "",
        };
        let (row, what, figure, target) = (&self.row, &self.what, self.figure, self.target);
        write!(
            f,
            "{row:<3} {what:<64} {figure:>10.1} {unit:<2}  target {target:>8.1} {unit:<2}"
        )?;
        if target > 0.0 {
            write!(f, "  × {:.2}", figure / target)?;
        }
        Ok(())
    }
}
