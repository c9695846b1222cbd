//! The names of the outside world, in the compiler's thread: every update passes through their table before it is compiled, and so
//! does every answer. Nothing waits in between, so what a source has handed on is never claimed before it is in the graphs.

use std::collections::BTreeSet;

use bulkhead_policy::model::{Event, Interned};
use bulkhead_source::names::{Answer, Counts, Lookups, Table};
use bulkhead_source::{BootTime, Problem, Update};
use ipnet::IpNet;
use tracing::{info, warn};

/// See the module.
pub(crate) struct Names {
    table: Table,
    lookups: Lookups,
    /// As told last.
    problems: Vec<Problem>,
    /// Names of which the log says that they are not answered.
    failing: BTreeSet<Interned>,
}

impl Names {
    /// Nothing known, in a cluster with these ranges beside those of its nodes.
    pub(crate) fn new(cluster_ranges: Vec<IpNet>, lookups: Lookups) -> Self {
        Self {
            table: Table::new(cluster_ranges),
            lookups,
            problems: Vec::new(),
            failing: BTreeSet::new(),
        }
    }

    /// Puts into an update what is known of names, and has the others asked for.
    pub(crate) fn resolve(&mut self, update: &mut Update) {
        update.events = self.table.handle(std::mem::take(&mut update.events));
        let wanted = self.table.wanted();
        self.failing.retain(|name| wanted.contains(name));
        self.lookups.want(wanted);
    }

    /// The next answer; `None` when nobody asks any more.
    pub(crate) async fn heard(&mut self) -> Option<Answer> {
        self.lookups.answers.recv().await
    }

    /// What an answer, and all that wait behind it, change. `each` is shown every one of them.
    pub(crate) fn take(&mut self, first: Answer, each: impl Fn(&Answer)) -> Vec<Event> {
        let (mut events, mut next) = (Vec::new(), Some(first));
        while let Some(answer) = next {
            each(&answer);
            self.log(&answer);
            events.extend(self.table.answer(answer, BootTime::now()));
            next = self.lookups.answers.try_recv().ok();
        }
        events
    }

    /// Says of a name once that it is not answered, and once that it is.
    fn log(&mut self, answer: &Answer) {
        let name = &answer.name;
        match &answer.failure {
            Some(why) if self.failing.insert(name.clone()) => {
                warn!(%name, why, "a name that segments have is not answered; what was known of it stays in force");
            }
            Some(_) => {}
            None if self.failing.remove(name) => info!(%name, "the name is answered again"),
            None => {}
        }
    }

    /// Looks for what is wrong with names; `false` if it is as before.
    pub(crate) fn look(&mut self) -> bool {
        let problems = self.table.problems();
        let is_news = problems != self.problems;
        self.problems = problems;
        is_news
    }

    /// What is wrong with names.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there is a name that is not known, or not all of it.
    pub(crate) fn are_missing(&self) -> bool {
        self.counts().unresolved > 0
    }

    /// How much there is.
    pub(crate) fn counts(&self) -> Counts {
        self.table.counts()
    }
}
