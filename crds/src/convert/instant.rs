//! Points in time.

use bulkhead_policy::model::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::violation::{Checked, Violation};

/// In the model's form.
pub(super) fn instant(time: &Time) -> Timestamp {
    Timestamp(time.0.as_millisecond())
}

/// The two ends of a policy's life, in order.
pub(super) fn lifetime(
    from: Option<&Time>,
    until: Option<&Time>,
) -> Checked<(Option<Timestamp>, Option<Timestamp>)> {
    let (from, until) = (from.map(instant), until.map(instant));
    match (from, until) {
        (Some(from), Some(until)) if from >= until => Err(Violation::new(
            "spec.expiresAt",
            "the policy would expire before it begins; activeFrom must be before expiresAt",
        )),
        _ => Ok((from, until)),
    }
}
