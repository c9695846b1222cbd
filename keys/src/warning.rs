//! When something is said about key files: not of every look, and not while files are still being copied.

use std::path::PathBuf;

use bulkhead_graph::Timestamp;

use crate::validity::Validity;

/// An end that is near is said once in so long.
const AGAIN_MS: i64 = 24 * 3_600_000;

/// What looks found wrong. Files that are being copied fit together a moment later: what is wrong is said when the next look
/// finds it again, and once.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    last: Option<String>,
    said: Option<String>,
}

impl Failures {
    /// Takes what a look found wrong, and returns what is to be said.
    pub(crate) fn found(&mut self, found: Option<String>) -> Option<String> {
        let again = found.is_some() && found == self.last && found != self.said;
        if again || found.is_none() {
            self.said.clone_from(&found);
        }
        self.last = found;
        if again { self.last.clone() } else { None }
    }
}

/// When it was said last that an end is near.
#[derive(Debug, Default)]
pub(crate) struct Ends(Option<Timestamp>);

impl Ends {
    /// The files whose end is near, with the days that are left, if it is time to say so.
    pub(crate) fn near<'a, const N: usize>(
        &mut self,
        certificates: [(&'a PathBuf, Validity); N],
        now: Timestamp,
    ) -> Vec<(&'a PathBuf, i64)> {
        if self.0.is_some_and(|at| now.0 - at.0 < AGAIN_MS) {
            return Vec::new();
        }
        let near: Vec<_> = certificates
            .into_iter()
            .filter_map(|(file, validity)| Some((file, validity.few_days_left(now)?)))
            .collect();
        if !near.is_empty() {
            self.0 = Some(now);
        }
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_when_it_is_found_again_and_once() {
        let mut failures = Failures::default();
        let mut said = |found: Option<&str>| failures.found(found.map(str::to_owned));
        assert_eq!(said(Some("a")), None, "it may be on its way");
        assert_eq!(said(None), None);
        assert_eq!(said(Some("a")), None);
        assert_eq!(said(Some("a")).as_deref(), Some("a"));
        assert_eq!(said(Some("a")), None);
        assert_eq!(said(Some("b")), None);
        assert_eq!(said(Some("b")).as_deref(), Some("b"));
        assert_eq!(said(None), None);
        assert_eq!(said(Some("b")), None);
        assert_eq!(said(Some("b")).as_deref(), Some("b"), "it is wrong anew");
    }

    #[test]
    fn an_end_that_is_near_is_said_once_a_day() {
        let day = |day: i64| Timestamp(day * AGAIN_MS);
        let (near, far) = (PathBuf::from("near"), PathBuf::from("far"));
        let of = |days| Validity {
            from: day(0),
            until: day(days),
        };
        let mut ends = Ends::default();
        let mut said = |now| ends.near([(&near, of(100)), (&far, of(1000))], now);
        assert_eq!(said(day(10)), []);
        assert_eq!(said(day(80)), [(&near, 20)]);
        assert_eq!(said(Timestamp(day(81).0 - 1)), []);
        assert_eq!(said(day(81)), [(&near, 19)]);
    }
}
