//! The rungs, as a table: what each runs, and what it needs to be there before.
//!
//! Each is checked against the one above. A rung that is in the table and has no test program fails.

use super::Part;
use crate::build::Selection;

/// One rung of the ladder.
#[derive(Debug)]
pub(super) struct Rung {
    part: Part,
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) suites: &'static [Suite],
    pub(super) selection: Selection,
    /// Whether selecting the whole product compiles these tests, too.
    pub(super) within_product: bool,
    pub(super) needs: &'static [Needs],
    /// Why root is needed.
    pub(super) root: Option<&'static str>,
    pub(super) output: Output,
    /// A test program that runs longer hangs.
    pub(super) limit_seconds: u64,
}

/// A group of tests that must not be empty.
#[derive(Debug)]
pub(super) enum Suite {
    /// Unit tests of a room, and the test files beside it that are no suite of their own.
    Room(&'static str),
    /// `<room>/tests/<name>.rs`.
    File {
        room: &'static str,
        name: &'static str,
    },
}

impl Suite {
    pub(super) fn label(&self) -> String {
        match self {
            Room(room) => (*room).to_owned(),
            File { room, name } => format!("{room}/tests/{name}.rs"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// The object of `cargo xtask build-ebpf`.
    KernelPrograms,
    /// Controller, agent, command line and the programs of the harness.
    Programs,
    /// Debian's.
    Packages,
    /// To compile Kubernetes.
    Go,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    OfFailures,
    /// Seeds, and times that were measured, are worth reading although all went well.
    OfAll,
}

use Suite::{File, Room};

/// A test file of the harness.
const fn rung(name: &'static str) -> Suite {
    File {
        room: "tests",
        name,
    }
}

const PURE: &[&str] = &[
    "bulkhead-policy",
    "bulkhead-graph",
    "bulkhead-encode",
    "bulkhead-datapath",
    "bulkhead-crds",
];

static LADDER: &[Rung] = &[
    Rung {
        part: Part::Unit,
        name: "unit",
        what: "tables by hand and properties of the pure rooms",
        suites: &[
            Room("policy"),
            Room("graph"),
            Room("encode"),
            Room("datapath"),
            Room("crds"),
        ],
        selection: Selection::Crates(PURE),
        within_product: true,
        needs: &[],
        root: None,
        output: Output::OfFailures,
        limit_seconds: 300,
    },
    Rung {
        part: Part::Rooms,
        name: "rooms",
        what: "the other rooms' own tests",
        suites: &[
            Room("settings"),
            Room("source"),
            Room("wire"),
            Room("keys"),
            Room("agent"),
            Room("controller"),
            Room("cli"),
            Room("tests"),
            // Corpora, seeds, and damaged copies of them.
            Room("fuzz"),
        ],
        selection: Selection::Product,
        within_product: true,
        // The agent embeds them, the command line's tests run them.
        needs: &[Needs::KernelPrograms, Needs::Programs],
        root: None,
        output: Output::OfFailures,
        limit_seconds: 600,
    },
    Rung {
        part: Part::Rooms,
        name: "xtask",
        what: "the rules of tidy, each seen to find something",
        suites: &[Room("xtask")],
        selection: Selection::Crates(&["xtask"]),
        within_product: false,
        needs: &[],
        root: None,
        output: Output::OfFailures,
        limit_seconds: 300,
    },
    Rung {
        part: Part::Diff,
        name: "diff",
        what: "the oracle against engine and decision function, and the order of events",
        suites: &[rung("diff")],
        selection: Selection::Product,
        within_product: true,
        needs: &[],
        root: None,
        output: Output::OfAll,
        limit_seconds: 1200,
    },
    Rung {
        part: Part::Kernel,
        name: "kernel",
        what: "the decision function on the host against the programs in the kernel",
        suites: &[
            rung("kernel"),
            File {
                room: "cli",
                name: "kernel",
            },
        ],
        selection: Selection::Product,
        within_product: true,
        needs: &[Needs::KernelPrograms, Needs::Programs],
        root: Some("it loads eBPF programs"),
        output: Output::OfAll,
        limit_seconds: 1200,
    },
    Rung {
        part: Part::Net,
        name: "net",
        what: "real packets between network namespaces, restarts",
        suites: &[rung("net")],
        selection: Selection::Product,
        within_product: true,
        needs: &[Needs::Packages, Needs::KernelPrograms, Needs::Programs],
        root: Some("it makes network namespaces and loads eBPF programs"),
        output: Output::OfAll,
        limit_seconds: 1200,
    },
    Rung {
        part: Part::Cluster,
        name: "cluster",
        what: "a real Kubernetes with real pods",
        suites: &[rung("cluster")],
        selection: Selection::Product,
        within_product: true,
        needs: &[
            Needs::Packages,
            Needs::Go,
            Needs::KernelPrograms,
            Needs::Programs,
        ],
        root: Some("it makes namespaces, mounts and cgroups, and loads eBPF programs"),
        output: Output::OfAll,
        limit_seconds: 2400,
    },
];

/// Whether a test file is a suite of its own, and so none of its room's.
pub(super) fn is_suite(room: &str, name: &str) -> bool {
    let is_it = |suite: &Suite| match suite {
        Room(_) => false,
        File {
            room: of,
            name: file,
        } => *of == room && *file == name,
    };
    LADDER.iter().any(|rung| rung.suites.iter().any(is_it))
}

/// The rungs of a part, in order.
pub(super) fn rungs(part: Part) -> Vec<&'static Rung> {
    LADDER
        .iter()
        .filter(|rung| match part {
            Part::All => true,
            Part::Deep => matches!(rung.part, Part::Unit | Part::Diff | Part::Kernel),
            Part::Unit | Part::Rooms | Part::Diff | Part::Kernel | Part::Net | Part::Cluster => {
                rung.part == part
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(part: Part) -> Vec<&'static str> {
        rungs(part).into_iter().map(|rung| rung.name).collect()
    }

    #[test]
    fn all_is_every_rung_in_order_and_unit_needs_nothing() {
        assert_eq!(
            names(Part::All),
            ["unit", "rooms", "xtask", "diff", "kernel", "net", "cluster"]
        );
        let unit = rungs(Part::Unit);
        assert_eq!(unit.len(), 1);
        assert!(unit[0].root.is_none() && unit[0].needs.is_empty());
    }

    #[test]
    fn whoever_needs_the_kernel_says_why_it_needs_root() {
        for part in [Part::Kernel, Part::Net, Part::Cluster] {
            assert!(
                rungs(part).iter().all(|rung| rung.root.is_some()),
                "{part:?}"
            );
        }
    }
}
