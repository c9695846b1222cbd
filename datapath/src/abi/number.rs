//! The agent's own numbers for things, as newtypes so that they cannot be mixed up.
//!
//! Zero always means "none": array elements start as zeroes, and whatever is missing denies.

use super::plain::plain;

macro_rules! numbers {
    ($($(#[$doc:meta])+ $name:ident($inner:ty);)+) => {$(
        $(#[$doc])+
        #[repr(transparent)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number that stands for nothing.
            pub const NONE: Self = Self(0);

            /// Whether this is the number that stands for nothing.
            #[inline(always)]
            pub const fn is_none(self) -> bool {
                self.0 == 0
            }
        }
    )+};
}

numbers! {
    /// Decisions of one side and direction. 0 = none: everything is denied.
    RuleSet(u32);
    /// Peers that no rule set of this node tells apart. 0 = not known by address, or (networks) nothing.
    Class(u32);
    /// Ports, or ICMP types and codes, that no rule set of this node tells apart. A number belongs to one protocol only.
    PortClass(u16);
    /// Index into EXPIRIES, below 65,536. 0 = no deadline.
    ExpiryId(u32);
}

/// Index into WORKLOADS, below 4,096. Slot 0 is an ordinary slot; it is INTERFACES that says whether there is one.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadSlot(pub u32);

impl WorkloadSlot {
    /// How many slots the flow key has room for.
    pub const LIMIT: u32 = 1 << 12;

    /// In INTERFACES: not a workload but a bridge behind which hooks of local workloads lie.
    pub const BRIDGE: WorkloadSlot = WorkloadSlot(u32::MAX);
}

/// Index into CLASSES.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerSlot(pub u32);

/// Index into NETWORK_CLASSES.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkSlot(pub u32);

/// Counts the changes of the node's revision. The lowest bit says which lane is read.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

plain! {
    RuleSet: 4, align 4;
    Class: 4, align 4;
    PortClass: 2, align 2;
    ExpiryId: 4, align 4;
    WorkloadSlot: 4, align 4;
    PeerSlot: 4, align 4;
    NetworkSlot: 4, align 4;
    Generation: 8, align 8;
}
