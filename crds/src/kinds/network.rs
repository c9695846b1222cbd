//! Address ranges.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A range of addresses with holes. It matches by address, those of workloads included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("isCIDR(self.cidr)").message("cidr must be a range like 10.0.0.0/8 or 2001:db8::/32"))]
#[x_kube(validation = Rule::new(
    "!has(self.except) || isCIDR(self.cidr) && self.except.all(e, isCIDR(e) && cidr(self.cidr).containsCIDR(e))"
).message("each range in except must lie inside cidr"))]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The range, `10.0.0.0/8` or `2001:db8::/32`. Families never match each other.
    #[schemars(length(min = 3, max = 49))]
    pub cidr: String,
    /// Ranges inside `cidr` that are not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 3, max = 49)))]
    pub except: Vec<String>,
}
