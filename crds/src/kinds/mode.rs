//! Acting or watching.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether an object acts or is only reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It decides nothing; what it would deny or allow is reported.
    Audit,
}
