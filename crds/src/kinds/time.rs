//! Points in time in manifests: RFC 3339 strings. Durations: `90s`, `10m`, `1h30m`.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The schema of a point in time, in the form in which CEL compares timestamps.
pub(super) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// A duration as in the Gateway API: at most four numbers of at most five digits, each with its unit.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": 28, "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$" })
}

/// Agents ask every five seconds, and a controller hears of its own inputs every half a minute.
pub(super) const STALENESS: &str = "!has(self.maxStaleness) || \
     (duration(self.maxStaleness) >= duration('1m') && duration(self.maxStaleness) <= duration('720h'))";

pub(super) const STALENESS_MESSAGE: &str =
    "maxStaleness must be between 1m and 720h; below that a healthy cluster would look stale";
