//! What every program logs to: standard error, for people or for machines.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how. Flatten it into the command's arguments.
#[derive(Debug, Clone, Args)]
pub struct Logging {
    /// What to log: a level, or `target=level` items with commas between
    #[arg(
        long,
        value_name = "FILTER",
        env = "BULKHEAD_LOG",
        default_value = "info"
    )]
    pub log: String,
    /// The form of log lines
    #[arg(long, value_name = "FORM", env = "BULKHEAD_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl Logging {
    /// Starts logging to standard error.
    ///
    /// # Errors
    /// If the filter cannot be read, or logging was started before.
    pub fn start(&self) -> Result<(), String> {
        let filter = EnvFilter::builder()
            .parse(&self.log)
            .map_err(|error| format!("--log {}: {error}", self.log))?;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => lines.try_init(),
            LogFormat::Json => lines.json().try_init(),
        }
        .map_err(|error| error.to_string())
    }
}
