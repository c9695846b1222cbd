//! Address ranges.

use std::net::IpAddr;

use bulkhead_policy::model::Network;
use ipnet::IpNet;

use super::limits::bounded;
use super::violation::{Checked, Violation};
use crate::kinds;

/// One of our own.
pub(super) fn network(network: &kinds::Network, field: &str) -> Checked<Network> {
    bounded(&network.except, &format!("{field}.except"), 32)?;
    block(&network.cidr, &network.except, field)
}

/// A range with holes, from strings.
pub(super) fn block(range: &str, except: &[String], field: &str) -> Checked<Network> {
    let outer = cidr(range, &format!("{field}.cidr"))?;
    let mut holes = Vec::with_capacity(except.len());
    for (index, hole) in except.iter().enumerate() {
        let field = format!("{field}.except[{index}]");
        let hole = cidr(hole, &field)?;
        if !outer.contains(&hole) {
            let message = format!(
                "{hole} does not lie inside {outer}; except cuts holes into its own cidr only"
            );
            return Err(Violation::new(field, message));
        }
        holes.push(hole);
    }
    Ok(Network::new(outer, holes))
}

/// A range of addresses, host bits cleared.
pub(super) fn cidr(text: &str, field: &str) -> Checked<IpNet> {
    match text.parse::<IpNet>() {
        Ok(net) => Ok(net.trunc()),
        Err(_) => {
            let hint = match text.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => format!("write {text}/32 for one address"),
                Ok(IpAddr::V6(_)) => format!("write {text}/128 for one address"),
                Err(_) => "write one like 10.0.0.0/8 or 2001:db8::/32".to_owned(),
            };
            Err(Violation::new(
                field,
                format!("{text:?} is no range of addresses; {hint}"),
            ))
        }
    }
}

/// One address.
pub(super) fn address(text: &str, field: &str) -> Checked<IpAddr> {
    text.parse::<IpAddr>()
        .map(|address| address.to_canonical())
        .map_err(|_| {
            let message = format!(
                "{text:?} is no address; write one like 10.1.2.3 or 2001:db8::1, without a length"
            );
            Violation::new(field, message)
        })
}
