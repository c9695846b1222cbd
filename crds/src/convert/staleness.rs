//! For how long a policy allows what it does while the controller is not heard.

use bulkhead_policy::model::Lease;

use super::violation::{Checked, Violation};

const FIELD: &str = "spec.maxStaleness";

/// Well above what passes between two answers of a controller that is well.
const SHORTEST_MS: u64 = 60_000;
const LONGEST_MS: u64 = 720 * 3_600_000;

/// The lease of what a policy allows, if it has one.
pub(super) fn max_staleness(text: Option<&String>) -> Checked<Option<Lease>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let ms = milliseconds(text).ok_or_else(|| {
        let message = format!("`{text}` is no duration; write it like 90s, 10m or 1h30m");
        Violation::new(FIELD, message)
    })?;
    if (SHORTEST_MS..=LONGEST_MS).contains(&ms) {
        return Ok(Some(Lease(ms)));
    }
    let message = format!(
        "`{text}` is not between 1m and 720h; below that a healthy cluster would look stale"
    );
    Err(Violation::new(FIELD, message))
}

/// At most four numbers of at most five digits, each with its unit, as in the Gateway API.
fn milliseconds(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, 0);
    for _ in 0..4 {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = match digits {
            1..=5 => rest[..digits].parse().ok()?,
            _ => return None,
        };
        let unit_and_rest = &rest[digits..];
        let unit = unit_and_rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit_and_rest.len());
        total += number
            * match &unit_and_rest[..unit] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return None,
            };
        rest = &unit_and_rest[unit..];
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubernetes_writes_them() {
        for (text, ms) in [
            ("90s", Some(90_000)),
            ("10m", Some(600_000)),
            ("1h30m", Some(5_400_000)),
            ("1h1m1s1ms", Some(3_661_001)),
            ("99999h", Some(99_999 * 3_600_000)),
            ("", None),
            ("10", None),
            ("m", None),
            ("10 m", None),
            ("-10m", None),
            ("1.5h", None),
            ("10d", None),
            ("100000s", None),
            ("1h1h1h1h1h", None),
            ("10mx", None),
            ("10µs", None),
        ] {
            assert_eq!(milliseconds(text), ms, "{text}");
        }
    }
}
