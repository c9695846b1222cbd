//! Reading single fields of messages; every error says which field it was.

use std::sync::Arc;

use bulkhead_graph::{Address, Digest};
use thiserror::Error;

use crate::limits;

/// A message that cannot be what a peer of this version sends.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("message is malformed: {field}: {problem}")]
pub struct Malformed {
    /// Path of the field, e.g. `Delta.rule_sets[3].entries[0].action`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Malformed {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }

    /// The same error, seen from the message that holds the field.
    pub(crate) fn within(mut self, outer: impl std::fmt::Display) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

pub(crate) fn required<T>(value: Option<T>, field: &str) -> Result<T, Malformed> {
    value.ok_or_else(|| Malformed::new(field, "is missing"))
}

pub(crate) fn id(bytes: &[u8], field: &str) -> Result<[u8; 16], Malformed> {
    bytes
        .try_into()
        .map_err(|_| Malformed::new(field, format!("has {} bytes instead of 16", bytes.len())))
}

pub(crate) fn digest(bytes: &[u8], field: &str) -> Result<Digest, Malformed> {
    id(bytes, field).map(Digest)
}

/// A concatenation of 16-byte items.
pub(crate) fn ids(bytes: &[u8], field: &str) -> Result<Vec<[u8; 16]>, Malformed> {
    let (items, rest) = bytes.as_chunks::<16>();
    if rest.is_empty() {
        Ok(items.to_vec())
    } else {
        Err(Malformed::new(
            field,
            format!("has {} bytes, which is no multiple of 16", bytes.len()),
        ))
    }
}

/// A sorted list of addresses without repetition.
pub(crate) fn addresses(bytes: &[u8], field: &str) -> Result<Vec<Address>, Malformed> {
    let addresses: Vec<Address> = ids(bytes, field)?.into_iter().map(Address).collect();
    if addresses.is_sorted_by(|a, b| a < b) {
        Ok(addresses)
    } else {
        Err(Malformed::new(field, "is not sorted or repeats an address"))
    }
}

pub(crate) fn joined<'a>(items: impl IntoIterator<Item = &'a [u8; 16]>) -> Vec<u8> {
    items.into_iter().flatten().copied().collect()
}

pub(crate) fn port(number: u32, field: &str) -> Result<u16, Malformed> {
    u16::try_from(number).map_err(|_| Malformed::new(field, format!("{number} is no port")))
}

pub(crate) fn text(value: String, field: &str) -> Result<Arc<str>, Malformed> {
    if value.len() > limits::TEXT_BYTES {
        let problem = format!(
            "has {} bytes, more than {}",
            value.len(),
            limits::TEXT_BYTES
        );
        return Err(Malformed::new(field, problem));
    }
    Ok(value.into())
}

/// Text cut to the length that the other side accepts, at a character.
pub(crate) fn cut(value: &str) -> String {
    let mut end = value.len().min(limits::TEXT_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value[..end].to_owned()
}

pub(crate) fn network(value: &str, field: &str) -> Result<ipnet::IpNet, Malformed> {
    let net: ipnet::IpNet = value
        .parse()
        .map_err(|_| Malformed::new(field, format!("`{value}` is no network")))?;
    if net.trunc() == net {
        Ok(net)
    } else {
        Err(Malformed::new(
            field,
            format!("`{value}` has bits behind its prefix"),
        ))
    }
}

/// Keeps the position of an item in the path of an error.
pub(crate) fn each<T, U>(
    items: impl IntoIterator<Item = T>,
    field: &str,
    mut convert: impl FnMut(T) -> Result<U, Malformed>,
) -> Result<Vec<U>, Malformed> {
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            convert(item).map_err(|error| error.within(format_args!("{field}[{index}]")))
        })
        .collect()
}
