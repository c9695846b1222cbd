//! The instant for which a question is asked.

use std::str::FromStr;

use bulkhead_policy::model::Timestamp;

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

/// The instant that was asked for, or the present.
pub(crate) fn instant(at: Option<At>) -> Timestamp {
    at.map_or_else(
        || Timestamp(jiff::Timestamp::now().as_millisecond()),
        |at| at.0,
    )
}
