//! What the programs say of themselves: rare messages about what cannot be, through aya-log's ring, into our own log.
//!
//! Enforcement never depends on it (I12): where the ring cannot be had, that is said once, and the counters still count.

use crate::reason::whole;
use aya::programs::SchedClassifier;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tracing::{debug, error, info, trace, warn};

/// Reads the messages. The programs never wake a reader; it comes by in its own rhythm.
pub struct Diagnostics {
    logger: Option<EbpfLogger<Forward>>,
}

impl Diagnostics {
    /// The messages of a program, and of all that came from the same object.
    pub(crate) fn of(program: &SchedClassifier) -> Self {
        let logger = program
            .info()
            .map_err(|error| whole(&error))
            .and_then(|info| {
                EbpfLogger::init_from_id_with_logger(info.id(), Forward)
                    .map_err(|error| whole(&error))
            });
        match logger {
            Ok(logger) => Self {
                logger: Some(logger),
            },
            Err(error) => {
                warn!(error, "the programs' own messages cannot be read");
                Self { logger: None }
            }
        }
    }

    /// Logs what has been said since.
    pub fn drain(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }
}

/// Hands a record on with its level.
struct Forward;

impl Log for Forward {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (message, target) = (record.args(), record.target());
        match record.level() {
            log::Level::Error => error!(program = target, "{message}"),
            log::Level::Warn => warn!(program = target, "{message}"),
            log::Level::Info => info!(program = target, "{message}"),
            log::Level::Debug => debug!(program = target, "{message}"),
            log::Level::Trace => trace!(program = target, "{message}"),
        }
    }

    fn flush(&self) {}
}
