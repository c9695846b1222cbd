//! An agent and a publisher under every order of changes, answers, refusals and time.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_graph::{Address, Digest, NodeGraph, PeerSetId, SortedMap};
use bulkhead_wire::{Answer, Frontier, Refusal};
use proptest::prelude::*;

use super::{Pace, Publisher, Step};

fn graph(number: u8) -> Arc<NodeGraph> {
    let members = [Address([number; 16])].into_iter().collect();
    Arc::new(NodeGraph::new(
        SortedMap::new(),
        SortedMap::new(),
        [(PeerSetId([1; 16]), Arc::new(members))].into(),
        Arc::default(),
        [].into(),
        Arc::default(),
    ))
}

fn frontier(version: u64) -> Frontier {
    Frontier {
        versions: [("folder".to_owned(), version)].into(),
        ..Frontier::default()
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn sent(step: Step) -> bulkhead_wire::Revision {
    match step {
        Step::Send(revision) => *revision,
        Step::Confirm { .. } | Step::Wait(_) | Step::Overdue => {
            panic!("expected a revision, got {step:?}")
        }
    }
}

/// The answer, if the agent is told that it is right.
fn answer(step: Step) -> Option<Answer> {
    match step {
        Step::Confirm { answer, .. } => answer,
        Step::Send(_) | Step::Wait(_) | Step::Overdue => None,
    }
}

#[test]
fn an_agent_that_asks_is_told_how_old_the_inputs_are() {
    let mut publisher = Publisher::new(Pace::default(), Some((graph(1).digest(), frontier(1))));
    publisher.offer(graph(1), frontier(1), ms(0));
    publisher.known(Some(ms(200)));
    assert!(
        matches!(publisher.step(ms(1_000)), Step::Wait(None)),
        "nobody has asked"
    );
    publisher.asked(77);
    publisher.asked(78);
    assert_eq!(
        answer(publisher.step(ms(1_000))),
        Some(Answer {
            at: 78,
            age_ms: 800
        }),
        "the newest question"
    );
    assert!(matches!(publisher.step(ms(1_000)), Step::Wait(None)));
    publisher.asked(79);
    assert!(
        matches!(publisher.step(ms(1_500)), Step::Wait(Some(until)) if until == ms(2_000)),
        "whoever asks without end is answered at the pace of confirmations"
    );
    assert_eq!(
        answer(publisher.step(ms(2_000))),
        Some(Answer {
            at: 79,
            age_ms: 1_800
        })
    );
}

#[test]
fn an_agent_that_is_not_right_gets_no_answer_before_it_is() {
    let mut publisher = Publisher::new(Pace::default(), Some((graph(1).digest(), frontier(1))));
    publisher.offer(graph(2), frontier(2), ms(0));
    publisher.known(Some(ms(0)));
    publisher.asked(77);
    sent(publisher.step(ms(1)));
    assert!(matches!(publisher.step(ms(2)), Step::Wait(Some(_))));
    publisher.refused(graph(2).digest(), Refusal::Kernel, ms(3));
    assert!(matches!(publisher.step(ms(4)), Step::Wait(Some(_))));
    sent(publisher.step(ms(300)));
    publisher.acked(graph(2).digest(), ms(310));
    assert_eq!(
        answer(publisher.step(ms(310))),
        Some(Answer {
            at: 77,
            age_ms: 310
        })
    );
}

#[test]
fn an_agent_that_is_right_only_for_the_moment_of_its_acknowledgement_is_answered_all_the_same() {
    let mut publisher = Publisher::new(Pace::default(), None);
    publisher.offer(graph(0), frontier(0), ms(0));
    publisher.known(Some(ms(0)));
    let (mut now, mut known_at) = (ms(0), ms(0));
    let mut revision = sent(publisher.step(now));
    let mut answers = 0;
    for version in 1..100 {
        // A newer one before every acknowledgement.
        now += ms(50);
        let offered_at = now;
        publisher.offer(graph(version), frontier(u64::from(version)), offered_at);
        publisher.known(Some(offered_at));
        publisher.asked(u64::from(version));
        now += ms(50);
        publisher.acked(revision.delta.target, now);
        let mut step = publisher.step(now);
        if let Step::Confirm {
            digest,
            frontier,
            answer,
        } = step
        {
            assert_eq!(
                (digest, frontier),
                (revision.delta.target, revision.frontier)
            );
            let Answer { at, age_ms } = answer.unwrap();
            assert_eq!((at, ms(age_ms)), (u64::from(version), now - known_at));
            answers += 1;
            step = publisher.step(now);
        }
        revision = sent(step);
        known_at = offered_at;
    }
    assert_eq!(answers, 10, "at the pace of confirmations, in ten seconds");
}

#[test]
fn a_controller_that_does_not_know_its_inputs_has_no_answer() {
    let mut publisher = Publisher::new(Pace::default(), Some((graph(1).digest(), frontier(1))));
    publisher.offer(graph(1), frontier(1), ms(0));
    publisher.asked(77);
    assert!(matches!(publisher.step(ms(5)), Step::Wait(None)));
    publisher.known(Some(ms(6)));
    assert_eq!(
        answer(publisher.step(ms(7))),
        Some(Answer { at: 77, age_ms: 1 })
    );
}

#[test]
fn the_first_change_goes_at_once_and_the_next_are_gathered() {
    let mut publisher = Publisher::new(Pace::default(), None);
    assert!(matches!(publisher.step(ms(0)), Step::Wait(None)));
    publisher.offer(graph(1), frontier(1), ms(5));
    assert_eq!(sent(publisher.step(ms(5))).delta.target, graph(1).digest());

    publisher.offer(graph(2), frontier(2), ms(6));
    assert!(
        matches!(publisher.step(ms(6)), Step::Wait(Some(_))),
        "one revision at a time"
    );
    let realised = publisher.acked(graph(1).digest(), ms(7)).unwrap();
    assert_eq!((realised.since_change, realised.since_sent), (ms(2), ms(2)));

    assert!(matches!(publisher.step(ms(8)), Step::Wait(Some(until)) if until == ms(15)));
    publisher.offer(graph(3), frontier(3), ms(9));
    let revision = sent(publisher.step(ms(15)));
    assert_eq!(
        revision.delta.base,
        graph(1).digest(),
        "a delta from what was acknowledged"
    );
    assert_eq!(
        revision.delta.target,
        graph(3).digest(),
        "what came between is gone"
    );
    let realised = publisher.acked(graph(3).digest(), ms(20)).unwrap();
    assert_eq!(
        realised.since_change,
        ms(14),
        "counted from the first change that it contains"
    );
}

#[test]
fn an_agent_that_has_it_already_gets_nothing() {
    let realised = Some((graph(1).digest(), frontier(4)));
    let mut publisher = Publisher::new(Pace::default(), realised);
    publisher.offer(graph(1), frontier(4), ms(0));
    assert!(matches!(publisher.step(ms(0)), Step::Wait(None)));
    publisher.offer(graph(2), frontier(5), ms(1));
    assert_eq!(
        sent(publisher.step(ms(1))).delta.base,
        graph(1).digest(),
        "its graph is known by digest"
    );
}

#[test]
fn an_agent_with_an_unknown_revision_gets_a_snapshot() {
    let mut publisher = Publisher::new(Pace::default(), Some((Digest([9; 16]), frontier(4))));
    publisher.offer(graph(1), frontier(5), ms(0));
    assert_eq!(
        sent(publisher.step(ms(0))).delta.base,
        NodeGraph::default().digest()
    );
}

#[test]
fn confirmations_of_an_unchanged_revision_are_rare() {
    let mut publisher = Publisher::new(Pace::default(), Some((graph(1).digest(), frontier(1))));
    let mut confirmations = 0;
    for version in 2..1_000 {
        let now = ms(version * 10);
        publisher.offer(graph(1), frontier(version), now);
        match publisher.step(now) {
            Step::Confirm { .. } => confirmations += 1,
            Step::Wait(_) => {}
            Step::Send(_) | Step::Overdue => panic!("nothing changed"),
        }
    }
    assert_eq!(confirmations, 10);
}

#[test]
fn a_refused_revision_is_tried_again_later_and_another_one_at_once() {
    let mut publisher = Publisher::new(Pace::default(), None);
    publisher.offer(graph(1), frontier(1), ms(0));
    let mut now = ms(0);
    let mut waits = Vec::new();
    for _ in 0..12 {
        sent(publisher.step(now));
        publisher.refused(graph(1).digest(), Refusal::Kernel, now);
        let Step::Wait(Some(until)) = publisher.step(now) else {
            panic!("it has to wait")
        };
        waits.push(until - now);
        now = until;
    }
    assert_eq!(waits[..3], [ms(200), ms(400), ms(800)]);
    assert_eq!(waits[11], Duration::from_secs(30));

    sent(publisher.step(now));
    publisher.refused(graph(1).digest(), Refusal::Kernel, now);
    publisher.offer(graph(2), frontier(2), now);
    sent(publisher.step(now + ms(10)));
}

#[test]
fn made_up_acknowledgements_are_answered_with_ever_rarer_snapshots() {
    let mut publisher = Publisher::new(Pace::default(), None);
    publisher.offer(graph(1), frontier(1), ms(0));
    let mut sendings = 0;
    for now in (0..60_000).step_by(10) {
        if matches!(publisher.step(ms(now)), Step::Send(_)) {
            sendings += 1;
            publisher.acked(graph(1).digest(), ms(now));
        }
        publisher.acked(Digest([now.to_be_bytes()[7]; 16]), ms(now));
    }
    // Each makes the pause longer, so that who goes on gets nothing more.
    assert!((1..12).contains(&sendings), "{sendings}");
}

#[test]
fn waiting_for_an_answer_begins_when_the_last_part_was_sent() {
    let mut publisher = Publisher::new(Pace::default(), None);
    publisher.offer(graph(1), frontier(1), ms(0));
    sent(publisher.step(ms(0)));
    publisher.sent(ms(50_000));
    assert!(matches!(publisher.step(ms(60_000)), Step::Wait(Some(_))));
    assert!(matches!(publisher.step(ms(110_000)), Step::Overdue));
}

#[test]
fn silence_ends_the_connection() {
    let mut publisher = Publisher::new(Pace::default(), None);
    publisher.offer(graph(1), frontier(1), ms(0));
    sent(publisher.step(ms(0)));
    assert!(matches!(publisher.step(ms(59_999)), Step::Wait(Some(_))));
    assert!(matches!(publisher.step(ms(60_000)), Step::Overdue));
}

#[derive(Debug, Clone)]
enum Happens {
    Change(u8),
    Know,
    Ask,
    Time(u64),
    Accept,
    Refuse(Refusal),
    LoseItsGraph,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (0..6_u8).prop_map(Happens::Change),
        2 => Just(Happens::Know),
        2 => Just(Happens::Ask),
        3 => prop_oneof![0..40_u64, 900..1_100_u64].prop_map(Happens::Time),
        3 => Just(Happens::Accept),
        1 => prop_oneof![Just(Refusal::Damaged), Just(Refusal::Kernel), Just(Refusal::Older)].prop_map(Happens::Refuse),
        1 => Just(Happens::LoseItsGraph),
    ]
}

/// An agent that applies what it gets exactly as the real one does.
#[derive(Default)]
struct Agent {
    held: Arc<NodeGraph>,
    /// What it said last; it may have lost that since.
    said: Option<Digest>,
    inbox: Option<bulkhead_wire::Revision>,
    /// Until when each graph was right, as far as the controller knew.
    right: BTreeMap<Digest, Duration>,
}

impl Agent {
    fn accept(&mut self) -> Option<Result<Digest, Digest>> {
        let revision = self.inbox.take()?;
        let snapshot = revision.delta.base == NodeGraph::default().digest();
        let base = if snapshot {
            Arc::new(NodeGraph::default())
        } else {
            self.held.clone()
        };
        Some(match revision.delta.apply(&base) {
            Ok(graph) => {
                self.held = Arc::new(graph);
                self.said = Some(revision.delta.target);
                Ok(revision.delta.target)
            }
            Err(_) => Err(revision.delta.target),
        })
    }
}

fn settle(publisher: &mut Publisher, agent: &mut Agent, now: Duration) -> Duration {
    match publisher.step(now) {
        Step::Send(revision) => {
            assert!(agent.inbox.is_none(), "two revisions under way");
            agent.inbox = Some(*revision);
            now
        }
        Step::Confirm { digest, answer, .. } => {
            assert_eq!(
                Some(digest),
                agent.said,
                "a confirmation of what the agent never said it has"
            );
            if let Some(Answer { age_ms, .. }) = answer {
                let right_at = now - ms(age_ms);
                assert!(right_at <= agent.right[&digest], "told to be newer");
            }
            now
        }
        Step::Wait(until) => until.unwrap_or(now),
        Step::Overdue => panic!("the agent answers in time here"),
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_agent_ends_with_the_newest(events in proptest::collection::vec(happens(), 0..60)) {
        let mut publisher = Publisher::new(Pace::default(), None);
        let mut agent = Agent::default();
        let (mut now, mut version, mut newest) = (ms(0), 0, None::<Arc<NodeGraph>>);
        for event in events {
            match event {
                Happens::Change(number) => {
                    version += 1;
                    newest = Some(graph(number));
                    publisher.offer(graph(number), frontier(version), now);
                }
                Happens::Know => {
                    publisher.known(Some(now));
                    agent.right.extend(newest.as_ref().map(|newest| (newest.digest(), now)));
                }
                Happens::Ask => publisher.asked(1),
                Happens::Time(passed) => now += ms(passed),
                Happens::Accept => match agent.accept() {
                    Some(Ok(digest)) => drop(publisher.acked(digest, now)),
                    Some(Err(digest)) => publisher.refused(digest, Refusal::Base, now),
                    None => {}
                },
                Happens::Refuse(refusal) => {
                    if let Some(revision) = agent.inbox.take() {
                        publisher.refused(revision.delta.target, refusal, now);
                    }
                }
                Happens::LoseItsGraph => agent.held = Arc::default(),
            }
            settle(&mut publisher, &mut agent, now);
        }
        let Some(newest) = newest else { return Ok(()) };
        for _ in 0..8 {
            match agent.accept() {
                Some(Ok(digest)) => drop(publisher.acked(digest, now)),
                Some(Err(digest)) => publisher.refused(digest, Refusal::Base, now),
                None => {}
            }
            now = settle(&mut publisher, &mut agent, now);
        }
        if publisher.realised() == Some(agent.held.digest()) {
            prop_assert_eq!(agent.held.digest(), newest.digest());
        } else {
            // The agent lost its graph after its last answer; it says so when it connects anew.
            prop_assert_eq!(publisher.realised(), Some(newest.digest()));
        }
    }
}
