//! What is wrong with the intent, as people read it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something that was written is not in force.
    Error,
    /// Everything is in force, perhaps not as it was meant.
    Warning,
}

/// One thing that is wrong: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file; for objects of an API server, its address; empty for what the compiler found.
    pub file: Arc<str>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Kind and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Path of the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        // What the compiler finds stands in no file.
        if !self.file.is_empty() {
            f.write_str(": ")?;
        }
        for part in [&self.object, &self.field].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_nowhere_is_told_without_a_place() {
        let text = |file: &str, line| {
            Problem {
                severity: Severity::Warning,
                file: file.into(),
                line,
                object: Some("Segment s".to_owned()),
                field: Some("spec".to_owned()),
                message: "no".to_owned(),
            }
            .to_string()
        };
        assert_eq!(text("a.yaml", Some(7)), "a.yaml:7: Segment s: spec: no");
        assert_eq!(
            text("https://api", None),
            "https://api: Segment s: spec: no"
        );
        assert_eq!(text("", None), "Segment s: spec: no");
    }
}
