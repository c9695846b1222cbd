//! Which revision the kernel enforces, noted in the kernel before it begins to, and what a new agent makes of that. Pure.
//!
//! The graph reaches the disk after the ack, or not at all if the disk is full. So the disk alone never says what is in
//! force: a graph is taken up only if the kernel's own note names it. Else what is in the kernel stays until the
//! controller speaks, because leading it to an older graph would open again what an ack has promised closed (G1, G5).

use bulkhead_datapath::abi::{ABI_VERSION, Generation};
use bulkhead_graph::Digest;
use bulkhead_wire::Frontier;
use serde::{Deserialize, Serialize};

/// One revision under its number in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    abi: u32,
    generation: u64,
    /// `None` where everything is closed because nobody knows yet who the workloads are.
    digest: Option<Digest>,
    frontier: Vec<u8>,
}

impl Entry {
    pub(super) fn new(generation: Generation, digest: Option<Digest>, frontier: &Frontier) -> Self {
        Self {
            abi: ABI_VERSION,
            generation: generation.0,
            digest,
            frontier: frontier.to_bytes(),
        }
    }

    fn is_of(&self, generation: Generation) -> bool {
        self.abi == ABI_VERSION && self.generation == generation.0
    }

    fn held(&self) -> Option<(Digest, Frontier)> {
        let frontier = Frontier::from_bytes(&self.frontier).ok()?;
        // No revision has the digest of nothing, so nothing but a newer frontier is accepted after it.
        Some((self.digest.unwrap_or_default(), frontier))
    }
}

/// What is in force, and what is about to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) current: Option<Entry>,
    /// Written before the flip, gone after the read-back.
    pub(super) next: Option<Entry>,
}

impl Journal {
    /// What cannot be read says nothing.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        postcard::from_bytes(bytes).unwrap_or_default()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// The entry of what the kernel enforces.
    fn in_force(&self, generation: Generation) -> Option<&Entry> {
        let entries = [&self.next, &self.current];
        entries
            .into_iter()
            .flatten()
            .find(|entry| entry.is_of(generation))
    }

    fn newest(&self) -> Option<&Entry> {
        self.next.as_ref().or(self.current.as_ref())
    }
}

/// The graph on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OnDisk {
    pub(super) digest: Digest,
    pub(super) frontier: Frontier,
    pub(super) boot: Boot,
}

/// When it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boot {
    This,
    Earlier,
}

/// Programs of other ABI versions, with their own tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    None,
    Guard,
}

/// All that a new agent finds.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) generation: Generation,
    pub(super) journal: Journal,
    pub(super) others: Others,
    pub(super) on_disk: Option<OnDisk>,
    /// The newest inputs on disk, and what was made of them.
    pub(super) mark: Option<(Digest, Frontier)>,
    pub(super) folder: Folder,
}

/// The state folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folder {
    /// Nothing was ever written into it, or somebody has emptied it.
    Empty,
    /// Something was written, readable or not.
    Used,
}

/// How a new agent begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing is known of this node.
    Empty,
    /// The graph on disk is in force, or was when the machine still ran as now.
    Resume,
    /// Something is in force and its graph is not here: it stays as it is until the controller speaks.
    Frozen,
    /// Nothing is in force, and who the workloads are the controller has to say: until then they are closed.
    Closed,
}

/// How to begin, and the revision and inputs behind which this node never goes back.
pub(super) fn start(found: &Found) -> (Start, Option<(Digest, Frontier)>) {
    let disk = found.on_disk.as_ref();
    let is_on_disk =
        |digest: Option<Digest>| digest.is_some_and(|d| disk.is_some_and(|g| g.digest == d));
    let noted = found
        .journal
        .in_force(found.generation)
        .or_else(|| found.journal.newest());
    let start = if found.generation != Generation(0) {
        match found.journal.in_force(found.generation) {
            Some(entry) if entry.digest.is_none() && disk.is_some() => Start::Closed,
            Some(entry) if is_on_disk(entry.digest) => Start::Resume,
            Some(_) | None => Start::Frozen,
        }
    } else {
        let mark = found.mark.as_ref().map(|(digest, _)| *digest);
        let last = noted
            .map(|entry| entry.digest)
            .unwrap_or(mark.or(disk.map(|graph| graph.digest)));
        match disk {
            Some(graph) if graph.boot == Boot::This && is_on_disk(last) => Start::Resume,
            Some(_) | None if found.others == Others::Guard => Start::Frozen,
            Some(_) => Start::Closed,
            None => Start::Empty,
        }
    };
    // Who empties the state folder wants the past forgotten, and the kernel's note with it.
    if found.folder == Folder::Empty {
        return (start, None);
    }
    let sources = [
        noted.and_then(Entry::held),
        found.mark.clone(),
        disk.map(|graph| (graph.digest, graph.frontier.clone())),
    ];
    let held = sources
        .into_iter()
        .flatten()
        .reduce(|(digest, newest), (_, older)| (digest, newest.joined(&older)));
    (start, held)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const OLD: Digest = Digest([1; 16]);
    const NEW: Digest = Digest([2; 16]);

    fn frontier(version: u64) -> Frontier {
        Frontier {
            versions: [("folder".to_owned(), version)].into(),
            ..Frontier::default()
        }
    }

    fn entry(generation: u64, digest: Digest, version: u64) -> Entry {
        Entry::new(Generation(generation), Some(digest), &frontier(version))
    }

    fn graph(digest: Digest, version: u64, boot: Boot) -> Option<OnDisk> {
        Some(OnDisk {
            digest,
            frontier: frontier(version),
            boot,
        })
    }

    /// A node that has acked `NEW` (version 5) as generation 7 and has it on disk.
    fn whole() -> Found {
        Found {
            generation: Generation(7),
            journal: Journal {
                current: Some(entry(7, NEW, 5)),
                next: None,
            },
            others: Others::None,
            on_disk: graph(NEW, 5, Boot::This),
            mark: Some((NEW, frontier(5))),
            folder: Folder::Used,
        }
    }

    #[track_caller]
    fn check(found: &Found, expected: Start, held: Option<(Digest, u64)>) {
        let held = held.map(|(digest, version)| (digest, frontier(version)));
        assert_eq!(start(found), (expected, held), "{found:?}");
    }

    #[test]
    fn what_the_kernel_and_the_disk_agree_on_is_taken_up() {
        check(&whole(), Start::Resume, Some((NEW, 5)));
        // Confirmed for newer inputs: only the note in the kernel knows as yet.
        let confirmed = Found {
            journal: Journal {
                current: Some(entry(7, NEW, 8)),
                next: None,
            },
            ..whole()
        };
        check(&confirmed, Start::Resume, Some((NEW, 8)));
    }

    #[test]
    fn g1_killed_between_ack_and_save_the_kernel_is_left_alone() {
        for next in [None, Some(entry(8, OLD, 6))] {
            let found = Found {
                on_disk: graph(OLD, 3, Boot::This),
                mark: None,
                journal: Journal {
                    next,
                    ..whole().journal
                },
                ..whole()
            };
            check(&found, Start::Frozen, Some((NEW, 5)));
        }
    }

    #[test]
    fn killed_on_either_side_of_the_flip_the_note_tells_which() {
        let noted = Journal {
            current: Some(entry(6, OLD, 3)),
            next: Some(entry(7, NEW, 5)),
        };
        let before = Found {
            generation: Generation(6),
            journal: noted.clone(),
            on_disk: graph(OLD, 3, Boot::This),
            mark: Some((OLD, frontier(3))),
            ..whole()
        };
        check(&before, Start::Resume, Some((OLD, 3)));
        let after = Found {
            generation: Generation(7),
            ..before
        };
        check(&after, Start::Frozen, Some((NEW, 5)));
    }

    #[test]
    fn a_kernel_that_nobody_noted_is_left_alone() {
        let found = Found {
            journal: Journal::default(),
            ..whole()
        };
        check(&found, Start::Frozen, Some((NEW, 5)));
        let moved = Found {
            generation: Generation(9),
            ..whole()
        };
        check(&moved, Start::Frozen, Some((NEW, 5)));
    }

    #[test]
    fn after_a_reboot_everything_is_closed_and_nothing_forgotten() {
        let found = Found {
            generation: Generation(0),
            journal: Journal::default(),
            on_disk: graph(OLD, 3, Boot::Earlier),
            ..whole()
        };
        check(&found, Start::Closed, Some((NEW, 5)));
        // The next agent of the same boot finds it closed, and goes on so.
        let again = Found {
            generation: Generation(1),
            journal: Journal {
                current: Some(Entry::new(Generation(1), None, &frontier(5))),
                next: None,
            },
            ..found
        };
        assert_eq!(start(&again).0, Start::Closed);
        assert_eq!(start(&again).1.unwrap().1, frontier(5));
    }

    #[test]
    fn tables_that_are_new_in_a_running_machine_get_the_last_graph_and_no_older_one() {
        let emptied = Found {
            generation: Generation(0),
            ..whole()
        };
        check(&emptied, Start::Resume, Some((NEW, 5)));
        let stale = Found {
            on_disk: graph(OLD, 3, Boot::This),
            ..emptied
        };
        check(&stale, Start::Closed, Some((NEW, 5)));
        let upgraded = Found {
            others: Others::Guard,
            ..stale
        };
        check(&upgraded, Start::Frozen, Some((NEW, 5)));
    }

    #[test]
    fn an_empty_state_folder_is_an_operators_word() {
        let emptied = Found {
            on_disk: None,
            mark: None,
            folder: Folder::Empty,
            ..whole()
        };
        check(&emptied, Start::Frozen, None);
        let damaged = Found {
            folder: Folder::Used,
            ..emptied.clone()
        };
        check(&damaged, Start::Frozen, Some((NEW, 5)));
        let fresh = Found {
            generation: Generation(0),
            journal: Journal::default(),
            ..emptied
        };
        check(&fresh, Start::Empty, None);
    }

    #[test]
    fn a_note_comes_back_as_it_was_and_another_is_none() {
        let journal = Journal {
            next: Some(entry(8, OLD, 6)),
            ..whole().journal
        };
        assert_eq!(Journal::from_bytes(&journal.to_bytes()), journal);
        for bytes in [&[][..], &[0xff; 40]] {
            assert_eq!(Journal::from_bytes(bytes), Journal::default());
        }
    }
}
