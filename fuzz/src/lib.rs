//! Fuzz targets: what reads bytes that others wrote, as plain functions over `&[u8]`.
//!
//! A target panics where an invariant does not hold, and only there. The same functions run in the fuzzer (`src/main.rs`)
//! and over the committed corpora in the normal tests (`tests/replay.rs`).
#![forbid(unsafe_code)]

pub mod hooks;
pub mod manifests;
mod mutate;
pub mod parser;
mod seeds;
pub mod store;
pub mod wire;

pub use mutate::mutated;

/// What can be fuzzed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The packet parser.
    Parser,
    /// Both hooks' decision function, on frames one after the other.
    Hooks,
    /// Manifests as people write them, up to the node graphs that they become.
    Manifests,
    /// The messages of the stream, and the deltas in them.
    Wire,
    /// The agent's file.
    Store,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Parser,
        Self::Hooks,
        Self::Manifests,
        Self::Wire,
        Self::Store,
    ];

    /// Its name: in commands, and of its folder in `corpus/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parser => "parser",
            Self::Hooks => "hooks",
            Self::Manifests => "manifests",
            Self::Wire => "wire",
            Self::Store => "store",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Feeds it.
    ///
    /// # Panics
    /// If an invariant of the target does not hold.
    pub fn run(self, bytes: &[u8]) {
        match self {
            Self::Parser => parser::run(bytes),
            Self::Hooks => hooks::run(bytes),
            Self::Manifests => manifests::run(bytes),
            Self::Wire => wire::run(bytes),
            Self::Store => store::run(bytes),
        }
    }

    /// Inputs that are well formed, to begin with. The committed corpora hold what a fuzzer made of them.
    pub fn seeds(self) -> Vec<Vec<u8>> {
        match self {
            Self::Parser => seeds::frames(),
            Self::Hooks => seeds::conversations(),
            Self::Manifests => seeds::manifests(),
            Self::Wire => seeds::messages(),
            Self::Store => seeds::files(),
        }
    }
}
