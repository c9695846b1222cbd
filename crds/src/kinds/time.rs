//! Points in time in manifests: RFC 3339 strings.

use schemars::{Schema, SchemaGenerator, json_schema};

/// The schema of a point in time, in the form in which CEL compares timestamps.
pub(super) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}
