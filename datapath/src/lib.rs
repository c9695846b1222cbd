//! The ABI, the packet parser and the decision function shared by host and kernel. Pure, no_std.
