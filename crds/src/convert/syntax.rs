//! What names and labels can look like. A text that can be none would match nobody, which opens where it stands in what denies.

use super::limits::named;
use super::violation::{Checked, Violation};

/// Longest part of a name, and longest value of a label.
const PART: usize = 63;

/// Longest name.
const NAME: usize = 253;

/// The name of an object that is meant.
pub(super) fn object_name(name: &str, field: &str) -> Checked<()> {
    named(name, field)?;
    if is_subdomain(name) {
        return Ok(());
    }
    let message = format!(
        "{name:?} can be no object's name; a name has lower-case letters, digits, - and ., and begins and ends with a letter or digit"
    );
    Err(Violation::new(field, message))
}

/// The kind of an object of whatever API.
pub(super) fn kind(kind: &str, field: &str) -> Checked<()> {
    let begins_well = kind.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if begins_well && kind.len() <= PART && kind.chars().all(is_allowed) {
        return Ok(());
    }
    let message = format!(
        "{kind:?} can be no kind; write one like Deployment, ReplicaSet, StatefulSet, DaemonSet or Job"
    );
    Err(Violation::new(field, message))
}

/// What tells incarnations apart; where no API server gave one, NAMESPACE/NAME.
pub(super) fn uid(uid: &str, field: &str) -> Checked<()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !uid.is_empty() && uid.chars().all(is_allowed) {
        return Ok(());
    }
    let message = format!("{uid:?} can be no uid; copy metadata.uid of the workload");
    Err(Violation::new(field, message))
}

/// A label, as a selector names it.
pub(super) fn label_key(key: &str, field: &str) -> Checked<()> {
    let is_key = match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_part(name),
        None => is_part(key),
    };
    if is_key {
        return Ok(());
    }
    let message = format!("{key:?} can be no label; correct it");
    Err(Violation::new(field, message))
}

/// A label's value; it may be empty.
pub(super) fn label_value(value: &str, field: &str) -> Checked<()> {
    if value.is_empty() || is_part(value) {
        return Ok(());
    }
    let message =
        format!("{value:?} can be no label's value, so it would match nobody; correct it");
    Err(Violation::new(field, message))
}

fn is_part(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    text.len() <= PART && text.chars().all(is_allowed) && has_plain_ends(text)
}

fn is_subdomain(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = |label: &str| label.chars().all(is_allowed) && has_plain_ends(label);
    text.len() <= NAME && text.split('.').all(is_label)
}

fn has_plain_ends(text: &str) -> bool {
    let ends = [text.chars().next(), text.chars().next_back()];
    ends.iter()
        .all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_those_that_kubernetes_gives() {
        for (text, is_name) in [
            ("a", true),
            ("a-1.b", true),
            ("", false),
            ("A", false),
            ("a..b", false),
            ("-a", false),
            ("?!", false),
        ] {
            assert_eq!(object_name(text, "").is_ok(), is_name, "{text}");
        }
        for (text, is_key, is_value) in [
            ("app", true, true),
            ("kubernetes.io/metadata.name", true, false),
            ("App_1.x", true, true),
            ("", false, true),
            ("-a", false, false),
            ("?!", false, false),
            ("Upper.io/x", false, false),
        ] {
            assert_eq!(label_key(text, "").is_ok(), is_key, "{text}");
            assert_eq!(label_value(text, "").is_ok(), is_value, "{text}");
        }
        assert!(label_value(&"a".repeat(64), "").is_err());
        assert!(kind("ReplicaSet", "").is_ok());
        for text in ["", "1", "Stateful Set", &"A".repeat(64)] {
            assert!(kind(text, "").is_err(), "{text}");
        }
        assert!(uid("shop/web", "").is_ok() && uid("?!", "").is_err() && uid("", "").is_err());
    }
}
