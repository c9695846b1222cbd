//! DECISIONS: what one rule set says about one class, for 64 port classes at a time. Entries are immutable.

use super::{Class, ExpiryId, PortClass, RuleSet, plain::plain};

/// Which decision.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionKey {
    /// Who decides.
    pub rule_set: RuleSet,
    /// About whom.
    pub class: Class,
    /// Port class divided by 64.
    pub block: u32,
}

impl DecisionKey {
    /// The key under which the decision for a port class is found.
    #[inline(always)]
    pub const fn new(rule_set: RuleSet, class: Class, port_class: PortClass) -> Self {
        Self {
            rule_set,
            class,
            block: (port_class.0 >> 6) as u32,
        }
    }
}

/// Bitmaps over the 64 port classes of a block: a set bit allows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionValue {
    /// What is enforced until the deadline.
    pub enforced: u64,
    /// What would be enforced if every policy in audit were in force, until the deadline.
    pub intended: u64,
    /// What is enforced from the deadline on.
    pub enforced_after: u64,
    /// What is intended from the deadline on.
    pub intended_after: u64,
    /// The deadline; none = the first two hold for ever.
    pub expiry: ExpiryId,
    /// Zero.
    pub reserved: u32,
}

plain! {
    DecisionKey: 12, align 4;
    DecisionValue: 40, align 8;
}
