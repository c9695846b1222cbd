//! What name servers say of one name at one moment.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bulkhead_policy::model::Interned;

/// See the module. There is an address or a failure, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name that was asked for.
    pub name: Interned,
    /// The addresses that were told, of either family.
    pub addresses: BTreeSet<IpAddr>,
    /// Why this is not all of it, or nothing; `None` if both families were answered and there is an address.
    pub failure: Option<String>,
}

impl Answer {
    /// All that there is.
    pub fn whole(name: Interned, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let addresses: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let failure = addresses.is_empty().then(|| "it has no address".to_owned());
        Self {
            name,
            addresses,
            failure,
        }
    }

    /// What is known although a part was not answered.
    pub fn failed(
        name: Interned,
        addresses: impl IntoIterator<Item = IpAddr>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            name,
            addresses: addresses.into_iter().collect(),
            failure: Some(why.into()),
        }
    }
}
