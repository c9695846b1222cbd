//! What can go wrong between the agent and the kernel, and what to do about it.

use bulkhead_datapath::abi::MapName;
use std::io;
use std::path::PathBuf;

use crate::reason::whole;

/// An operation on programs, maps or links failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The binary was built without the programs.
    #[error(
        "this binary holds no kernel programs: run `cargo xtask build-ebpf` and build it again"
    )]
    NoObject,
    /// The object was refused.
    #[error(
        "the kernel programs cannot be loaded (root, and kernel 6.6 or newer with BTF, are needed): {}",
        whole(.0)
    )]
    Load(Box<aya::EbpfError>),
    /// The object lacks something.
    #[error("the kernel programs have no {0}: object and agent are of different versions")]
    Missing(&'static str),
    /// The verifier, or an attachment, refused a program.
    #[error("program {program}: {}", whole(reason))]
    Program {
        /// Which.
        program: &'static str,
        /// Why.
        reason: Box<aya::programs::ProgramError>,
    },
    /// A map operation failed.
    #[error("map {}: {}", map.name(), whole(reason))]
    Map {
        /// Which.
        map: MapName,
        /// Why.
        reason: Box<aya::maps::MapError>,
    },
    /// A map took no more entries.
    #[error("map {} is full", map.name())]
    Full {
        /// Which.
        map: MapName,
    },
    /// A pinned map is not what this version expects.
    #[error("pinned map {} has {what} {found}, expected {expected}: remove the pins with `bulkhead-agent remove`", map.name())]
    Layout {
        /// Which.
        map: MapName,
        /// What of it.
        what: &'static str,
        /// As pinned.
        found: u32,
        /// As this version has it.
        expected: u32,
    },
    /// An array has no such element.
    #[error("map {} has no element {index}: it holds {length}", map.name())]
    Index {
        /// Which.
        map: MapName,
        /// Asked for.
        index: u32,
        /// How many there are.
        length: u32,
    },
    /// A pin could not be made, found or removed.
    #[error("pin {}: {reason} (is a bpf file system mounted there?)", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The agent's own note of what is in force.
    #[error("the agent's note in the kernel: {}", whole(.0))]
    Slate(Box<aya::maps::MapError>),
    /// Nothing here tells when packets under way are through.
    #[error(
        "no revision could be confirmed on this machine: nothing tells when packets under way are through \
         ({membarrier}; {map_update}). Boot without `nohz_full=`, or with a kernel that has maps of maps"
    )]
    NoGracePeriod {
        /// What one way met.
        membarrier: Box<KernelError>,
        /// What the other did.
        map_update: Box<KernelError>,
    },
    /// A system call failed.
    #[error("{call}: {reason}")]
    Call {
        /// Which.
        call: &'static str,
        /// Why.
        reason: io::Error,
    },
}
