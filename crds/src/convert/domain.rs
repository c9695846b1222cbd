//! Names of the outside world. What name servers are asked for has to be one host: no pattern, no address, no relative name.

use std::net::IpAddr;

use bulkhead_policy::model::Interned;

use super::violation::{Checked, Violation};

/// Longest name, in bytes (RFC 1035, 2.3.4, without the root's dot).
const NAME: usize = 253;

/// Longest part of it.
const PART: usize = 63;

/// One name, absolute, in small letters.
pub(super) fn domain(name: &str, field: &str) -> Checked<Interned> {
    if is_domain(name) {
        return Ok(name.into());
    }
    let message = format!("{name:?} {}", remedy(name));
    Err(Violation::new(field, message))
}

fn is_domain(name: &str) -> bool {
    let Some((_, last)) = name.rsplit_once('.') else {
        return false;
    };
    // All digits would be an address.
    let ends_well = last.starts_with(|c: char| c.is_ascii_lowercase());
    name.len() <= NAME && name.split('.').all(is_part) && ends_well
}

fn is_part(part: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_plain = !part.starts_with('-') && !part.ends_with('-');
    !part.is_empty() && part.len() <= PART && part.chars().all(is_allowed) && is_plain
}

fn remedy(name: &str) -> String {
    if name.contains('*') {
        return "is a wildcard, and wildcards are not supported, for nobody can ask for all names that one means; name each host"
            .to_owned();
    }
    if name.parse::<IpAddr>().is_ok() {
        return "is an address; write it as a range in spec.networks".to_owned();
    }
    let lower = name.to_ascii_lowercase();
    let plain = lower.trim_end_matches('.');
    if is_domain(plain) {
        return format!("is not written as names are here; write {plain}");
    }
    "is no domain name; write one like api.example.org, with two parts or more, of small letters, digits and -".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_one_host_by_its_whole_name() {
        let long = format!("{}.org", "a".repeat(64));
        let longest = format!("{}abcdefghi.org", "a23456789.".repeat(24));
        let too_long = format!("a{longest}");
        assert_eq!((longest.len(), too_long.len()), (253, 254));
        for (name, expected) in [
            ("api.example.org", None),
            ("a.b", None),
            ("4u.xn--p1ai", None),
            (&longest, None),
            ("*.example.org", Some("name each host")),
            ("api.*.org", Some("name each host")),
            ("203.0.113.7", Some("write it as a range in spec.networks")),
            ("2001:db8::7", Some("write it as a range in spec.networks")),
            ("API.example.org", Some("write api.example.org")),
            ("api.example.org.", Some("write api.example.org")),
            ("localhost", Some("is no domain name")),
            ("", Some("is no domain name")),
            ("a..b", Some("is no domain name")),
            ("-a.org", Some("is no domain name")),
            ("a_b.org", Some("is no domain name")),
            ("a.7", Some("is no domain name")),
            ("https://a.org", Some("is no domain name")),
            (&long, Some("is no domain name")),
            (&too_long, Some("is no domain name")),
        ] {
            let said = domain(name, "spec.domains[0]").err().map(|it| it.message);
            match expected {
                None => assert_eq!(said, None, "{name}"),
                Some(text) => assert!(said.is_some_and(|it| it.contains(text)), "{name}"),
            }
        }
    }
}
