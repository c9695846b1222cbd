//! The line between whoever wants names known and whoever asks for them.

use std::collections::BTreeSet;

use bulkhead_policy::model::Interned;
use tokio::sync::{mpsc, watch};

use super::Answer;

/// Answers that may wait to be taken in.
const WAITING: usize = 64;

/// The end of the one that wants names known.
#[derive(Debug)]
pub struct Lookups {
    wanted: watch::Sender<BTreeSet<Interned>>,
    /// What became of them, one by one.
    pub answers: mpsc::Receiver<Answer>,
}

/// The end of the one that asks.
#[derive(Debug)]
pub struct Asker {
    /// All names that are wanted.
    pub wanted: watch::Receiver<BTreeSet<Interned>>,
    /// Where answers go.
    pub answers: mpsc::Sender<Answer>,
}

/// Both ends. Where nobody takes the asker's, no name is ever answered.
pub fn line() -> (Lookups, Asker) {
    let (wanted, names) = watch::channel(BTreeSet::new());
    let (sender, answers) = mpsc::channel(WAITING);
    let asker = Asker {
        wanted: names,
        answers: sender,
    };
    (Lookups { wanted, answers }, asker)
}

impl Lookups {
    /// These names and no others are wanted.
    pub fn want(&self, names: BTreeSet<Interned>) {
        self.wanted.send_if_modified(|wanted| {
            let is_news = *wanted != names;
            *wanted = names;
            is_news
        });
    }
}
