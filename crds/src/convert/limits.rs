//! Bounds that the schema also has, for objects that no API server has seen.

use super::violation::{Checked, Violation};

/// Most subjects, peers, ports or rules in one list.
pub(super) const LIST: usize = 64;

/// A list that must say something.
pub(super) fn filled<T>(list: &[T], field: &str, limit: usize) -> Checked<()> {
    if list.is_empty() {
        return Err(Violation::new(
            field,
            "the list is empty, which would mean nobody; add an entry or remove the field",
        ));
    }
    bounded(list, field, limit)
}

/// A list that must not be too long.
pub(super) fn bounded<T>(list: &[T], field: &str, limit: usize) -> Checked<()> {
    if list.len() > limit {
        let message = format!(
            "{} entries, at most {limit} are possible; use several objects",
            list.len()
        );
        return Err(Violation::new(field, message));
    }
    Ok(())
}

/// An optional list: absent is empty, but a list that is there must say something.
pub(super) fn optional<'a, T>(
    list: Option<&'a Vec<T>>,
    field: &str,
    limit: usize,
) -> Checked<&'a [T]> {
    let Some(list) = list else { return Ok(&[]) };
    filled(list, field, limit)?;
    Ok(list)
}

/// A name that must not be empty.
pub(super) fn named(name: &str, field: &str) -> Checked<()> {
    if name.is_empty() {
        return Err(Violation::new(
            field,
            "the name is empty; give one or remove the field",
        ));
    }
    Ok(())
}
