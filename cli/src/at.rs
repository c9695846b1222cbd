//! The moment for which a question is asked.

use std::str::FromStr;

use bulkhead_policy::model::{Moment, Timestamp};

/// An instant, as RFC 3339 on the command line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At(Timestamp);

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let instant: Result<jiff::Timestamp, _> = text.parse();
        instant
            .map(|instant| Self(Timestamp(instant.as_millisecond())))
            .map_err(|_| format!("{text:?} is no instant; write one like 2026-11-23T12:00:00Z"))
    }
}

/// A duration on the command line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unheard(u64);

impl FromStr for Unheard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration: Result<jiff::SignedDuration, _> = text.parse();
        let ms = duration
            .ok()
            .and_then(|it| u64::try_from(it.as_millis()).ok());
        ms.map(Self)
            .ok_or_else(|| format!("{text:?} is no duration; write one like 90s, 10m or 1h30m"))
    }
}

/// When the question is asked for.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct When {
    /// The instant to judge for, like 2026-11-23T12:00:00Z; now if it is not given
    #[arg(long)]
    at: Option<At>,
    /// Judge as nodes do that have not heard their controller for so long, like 10m (see maxStaleness)
    #[arg(long, value_name = "DURATION")]
    unheard: Option<Unheard>,
}

impl When {
    /// The moment that was asked for: at present, and on nodes that hear their controller, if nothing was said.
    pub(crate) fn moment(self) -> Moment {
        let present = || Timestamp(jiff::Timestamp::now().as_millisecond());
        Moment {
            now: self.at.map_or_else(present, |at| at.0),
            unheard_ms: self.unheard.map_or(0, |unheard| unheard.0),
        }
    }
}
