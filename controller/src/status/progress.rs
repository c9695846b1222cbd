//! How far one node has come: what batches have made of it, one after the other, and which of that it enforces.

use std::collections::VecDeque;

use bulkhead_graph::Digest;

/// So many changes are told apart. A node that lags farther counts as without those in the middle.
const KEPT: usize = 16;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Batches that changed what it ought to enforce, and to what; the newest is last.
    desired: VecDeque<(u64, Digest)>,
    realised: Option<Digest>,
}

impl Progress {
    /// What it ought to enforce.
    pub(super) fn desired(&self) -> Option<Digest> {
        self.desired.back().map(|(_, digest)| *digest)
    }

    /// What it enforces.
    pub(super) fn realised(&self) -> Option<Digest> {
        self.realised
    }

    /// Whether that is the same.
    pub(super) fn is_there(&self) -> bool {
        self.desired() == self.realised
    }

    /// Whether it enforces what the batch made of it. Of what nobody has desired here, nobody knows which batches are in it: none.
    pub(super) fn has_realised(&self, sequence: u64) -> bool {
        if self.desired.is_empty() {
            return self.realised.is_some();
        }
        let lacks = self.place().map(|at| self.desired.get(at + 1));
        lacks.is_some_and(|first| first.is_none_or(|(batch, _)| sequence < *batch))
    }

    /// A batch makes something else of it.
    pub(super) fn desire(&mut self, digest: Digest, sequence: u64) {
        if self.desired() == Some(digest) {
            return;
        }
        if self.desired.len() == KEPT {
            // What it has, and the first batch that it lacks, are what answers follow from.
            let is_needed = self.place() == Some(0);
            self.desired.remove(if is_needed { 2 } else { 0 });
        }
        self.desired.push_back((sequence, digest));
    }

    /// It has read this back; `None`: nobody knows what it has. Says whether that is something else than before.
    pub(super) fn realise(&mut self, digest: Option<Digest>) -> bool {
        let before = std::mem::replace(&mut self.realised, digest);
        before != digest
    }

    /// Where among what was desired lies what it has; the newest, if it was desired twice.
    fn place(&self) -> Option<usize> {
        let realised = self.realised?;
        self.desired
            .iter()
            .rposition(|(_, digest)| *digest == realised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        Digest([number; 16])
    }

    fn progress(desired: &[(u64, u8)], realised: Option<u8>) -> Progress {
        let mut progress = Progress::default();
        for (batch, number) in desired {
            progress.desire(digest(*number), *batch);
        }
        progress.realise(realised.map(digest));
        progress
    }

    /// The last of so many batches that it enforces.
    fn has(progress: &Progress) -> u64 {
        (1..=100)
            .take_while(|batch| progress.has_realised(*batch))
            .last()
            .unwrap_or(0)
    }

    #[test]
    fn a_node_has_every_batch_before_the_first_that_it_lacks() {
        let desired = [(1, 1), (5, 2), (6, 3), (9, 1)];
        for (realised, last) in [
            (None, 0),
            (Some(1), 100),
            (Some(2), 5),
            (Some(3), 8),
            (Some(4), 0),
        ] {
            assert_eq!(has(&progress(&desired, realised)), last, "{realised:?}");
        }
        assert_eq!(has(&progress(&[], Some(4))), 100, "nothing else is desired");
        assert_eq!(has(&progress(&[], None)), 0);
        assert!(progress(&desired, Some(1)).is_there());
        assert!(!progress(&desired, Some(3)).is_there());
    }

    #[test]
    fn the_first_that_is_desired_of_a_node_is_no_word_about_what_it_had() {
        let mut early = progress(&[], Some(7));
        early.desire(digest(1), 50);
        assert_eq!(has(&early), 0);
        assert!(early.realise(Some(digest(1))));
        assert!(!early.realise(Some(digest(1))), "the same again");
        assert_eq!(has(&early), 100);
    }

    #[test]
    fn a_node_that_is_away_for_long_keeps_what_it_had() {
        let mut away = progress(&[(1, 1), (2, 2)], Some(2));
        for number in 3..90 {
            away.desire(digest(number), u64::from(number));
            assert!(away.desired.len() <= KEPT);
            assert_eq!(has(&away), 2);
            assert_eq!(away.desired(), Some(digest(number)));
        }
        // What it takes up in the middle is no longer told apart; the newest is.
        away.realise(Some(digest(30)));
        assert_eq!(has(&away), 0);
        away.realise(Some(digest(88)));
        assert_eq!(has(&away), 88);
    }
}
