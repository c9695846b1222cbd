//! The task that gathers what the watches of all kinds say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_policy::model::{Kind, Timestamp};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::follow::{Message, Told, follow};
use super::pulse::Pulse;
use super::reason::reason_of;
use super::resources::KINDS;
use super::store::Store;
use crate::{BootTime, Freshness, Update};

/// Its beginning is the beginning of the cluster's history.
const OLDEST_NAMESPACE: &str = "kube-system";

/// The name of this source in problems.
const PLACE: &str = "kubernetes";

/// Changes that come within so long of each other make one update. The first one goes at once.
const WINDOW: Duration = Duration::from_millis(10);

/// How often a source that is not whole yet says what it waits for.
const REMINDER: Duration = Duration::from_secs(30);

/// Messages on the way. A full queue holds the watches back, and the API server keeps what they have not read.
const QUEUE: usize = 1024;

/// Why the API cannot be followed.
#[derive(Debug, Error)]
pub enum KubernetesError {
    /// The first question was not answered.
    #[error(
        "namespace {OLDEST_NAMESPACE}: {}; the controller needs to reach the API server and to get, list and watch namespaces",
        reason_of(.0)
    )]
    Unanswered(Box<kube::Error>),
    /// The API server answers strangely.
    #[error(
        "namespace {OLDEST_NAMESPACE} has no creation timestamp; is this a Kubernetes API server?"
    )]
    NoBeginning,
}

/// Follows the API, and tells until when all kinds are known. The first update comes when every kind was read; the tasks end when the receiver is dropped.
///
/// # Errors
/// If the API server cannot be asked at all; later failures are retried for ever, with everything left in force.
pub async fn watch(
    client: Client,
    freshness: Freshness,
) -> Result<mpsc::Receiver<Update>, KubernetesError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let oldest = namespaces.get(OLDEST_NAMESPACE).await;
    let oldest = oldest.map_err(|error| KubernetesError::Unanswered(Box::new(error)))?;
    let beginning = oldest
        .metadata
        .creation_timestamp
        .ok_or(KubernetesError::NoBeginning)?;
    let incarnation = Timestamp(beginning.0.as_millisecond());
    let (sender, messages) = mpsc::channel(QUEUE);
    let mut watches = JoinSet::new();
    let pulse = Arc::new(Pulse::new(BootTime::now()));
    watches.spawn(pulse.clone().keep());
    for kind in KINDS {
        watches.spawn(follow(client.clone(), kind, sender.clone(), pulse.clone()));
    }
    let (updates, receiver) = mpsc::channel(1);
    tokio::spawn(gather(
        Store::new(PLACE, incarnation),
        watches,
        messages,
        updates,
        freshness,
    ));
    Ok(receiver)
}

/// Ends, and the updates with it, when somebody stops listening or a watch has died: half of the intent must not go on as if
/// it were the whole.
async fn gather(
    mut store: Store,
    mut watches: JoinSet<()>,
    mut messages: mpsc::Receiver<Told>,
    updates: mpsc::Sender<Update>,
    freshness: Freshness,
) {
    let mut reported = Vec::new();
    let mut heard = Heard::default();
    let mut remind = Instant::now() + REMINDER;
    loop {
        tokio::select! {
            () = updates.closed() => return,
            Some(ended) = watches.join_next() => {
                tracing::error!(?ended, "the watch of a kind has died");
                return;
            }
            message = messages.recv() => match message {
                Some(told) => store.take(heard.of(told)),
                None => return,
            },
            () = tokio::time::sleep_until(remind), if !store.missing().is_empty() => {
                let missing = store.missing();
                tracing::warn!(?missing, "not read yet; are the definitions installed and may the controller list them?");
                remind = Instant::now() + REMINDER;
            }
        }
        drain(&mut store, &mut heard, &mut messages).await;
        let Some(update) = store.update() else {
            heard.tell(&freshness);
            continue;
        };
        if update.problems != reported {
            update
                .problems
                .iter()
                .for_each(|problem| tracing::warn!("{problem}"));
            reported.clone_from(&update.problems);
        }
        if updates.send(update).await.is_err() {
            return;
        }
        heard.tell(&freshness);
    }
}

/// When each kind was heard of.
#[derive(Default)]
struct Heard(BTreeMap<Kind, BootTime>);

impl Heard {
    fn of(&mut self, (at, message): Told) -> Message {
        if let Some(at) = at {
            self.0.insert(message.kind(), at);
        }
        message
    }

    /// All kinds are known until the one that was heard of the longest ago.
    fn tell(&self, freshness: &Freshness) {
        let heard = KINDS.iter().map(|kind| self.0.get(kind).copied());
        if let Some(Some(oldest)) = heard.min() {
            freshness.reached(oldest);
        }
    }
}

/// Takes in what is there already, and what comes right after it.
async fn drain(store: &mut Store, heard: &mut Heard, messages: &mut mpsc::Receiver<Told>) {
    let until = Instant::now() + WINDOW;
    let mut taken = 0;
    while taken < QUEUE {
        match messages.try_recv() {
            Ok(told) => store.take(heard.of(told)),
            Err(_) if taken == 0 => return,
            Err(_) => match timeout_at(until, messages.recv()).await {
                Ok(Some(told)) => store.take(heard.of(told)),
                Ok(None) | Err(_) => return,
            },
        }
        taken += 1;
    }
}
