//! Following one kind: its whole state first, then every change, for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_crds::convert::{Converted, Rejection, StandIn, plain_object, stand_in};
use bulkhead_policy::model::{Kind, ObjectRef};
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, WatchParams};
use kube::core::{DynamicObject, WatchEvent};
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::pulse::{LATE, Pulse};
use super::reason::reason_of;
use super::resources::{optional_definition, resource};
use crate::{BootTime, ObjectVersion};

/// The API server marks the bookmark after which everything that was there has been sent.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// The version that we saw is too old to go on from.
const GONE: u16 = 410;
const TOO_OLD: &str = "the last version seen is too old";

/// How often to look whether a kind that the cluster lacks has been defined.
const UNDEFINED_WAIT: Duration = Duration::from_secs(5);

/// A watch that lasted so long was a good one, whether it had anything to say or not.
const LASTED: Duration = Duration::from_secs(10);

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A watch is asked to end after so many seconds. The API server sends a bookmark right before, and so nobody is in the dark
/// about the present for much longer. Two watches in a row may break in silence, with the waits after them, and the third one
/// still brings its bookmark within the shortest lease, a minute.
const WATCH_SECONDS: u32 = 15;

/// One that reads everything first may take longer.
const FIRST_WATCH_SECONDS: u32 = 290;

/// A watch that is silent for so long leads nowhere, as after a server that vanished without a word. While everything is read
/// there are pauses.
const LONGEST_SILENCE: Duration = Duration::from_secs(18);
const LONGEST_FIRST_SILENCE: Duration = Duration::from_secs(330);

/// One object as the API server has it now. Everything that is not needed is dropped before this is made.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) reference: ObjectRef,
    pub(super) version: ObjectVersion,
    pub(super) reading: Result<Converted, Rejection>,
    /// What is in force if it cannot be read and no good version is known.
    pub(super) stand_in: Option<StandIn>,
}

/// What is learnt about a kind.
#[derive(Debug)]
pub(super) enum Message {
    /// All there is, as of a version.
    Whole(Kind, Vec<Seen>, u64),
    /// One object appeared or changed.
    Changed(Kind, Box<Seen>, u64),
    /// One object is gone.
    Gone(Kind, ObjectRef, u64),
    /// Nothing changed up to a version.
    Reached(Kind, u64),
    /// The cluster does not have the kind, and so none of its objects.
    Absent(Kind),
    /// The cluster still does not have it.
    StillAbsent(Kind),
}

impl Message {
    /// Of which kind.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Whole(kind, ..)
            | Self::Changed(kind, ..)
            | Self::Gone(kind, ..)
            | Self::Reached(kind, _)
            | Self::Absent(kind)
            | Self::StillAbsent(kind) => *kind,
        }
    }
}

/// A message, and when it came: what the API server had said of its kind by then is in it or in earlier ones. `None` if it may
/// have waited to be read.
pub(super) type Told = (Option<BootTime>, Message);

/// Why a watch ended.
enum End {
    /// The other side closed it, as it was asked to; go on from the last version.
    Closed,
    /// It broke; go on from the last version, if there is one.
    Broken(String),
    /// The last version is of no use any more: start anew.
    Lost(String),
    /// Nobody listens any more.
    Unheard,
}

/// Follows a kind until nobody listens.
pub(super) async fn follow(
    client: Client,
    kind: Kind,
    messages: mpsc::Sender<Told>,
    pulse: Arc<Pulse>,
) {
    let mut follower = Follower {
        api: Api::all_with(client.clone(), &resource(kind)),
        kind,
        messages,
        pulse,
        began: None,
        version: None,
        definitions: Api::all(client),
        was_whole: false,
        absent: false,
    };
    let mut wait = FIRST_WAIT;
    loop {
        let before = follower.version.clone();
        let began = Instant::now();
        let end = follower.watch().await;
        let went_on = follower.version.is_some() && follower.version != before;
        if went_on || began.elapsed() >= LASTED {
            wait = FIRST_WAIT;
        }
        let retry_ms = wait.as_millis();
        let failed = matches!(end, End::Broken(_) | End::Lost(_));
        if failed && follower.is_undefined().await {
            if follower.report_absence().await.is_err() {
                return;
            }
            wait = FIRST_WAIT;
            tokio::time::sleep(UNDEFINED_WAIT).await;
            continue;
        }
        match end {
            End::Unheard => return,
            // One that brings something before it closes needs no pause, and nobody is hurried by one that does not.
            End::Closed if went_on => continue,
            End::Closed => {}
            End::Broken(reason) => {
                tracing::warn!(kind = kind.name(), %reason, retry_ms, "watch broken, going on from the last version");
            }
            End::Lost(reason) => {
                tracing::warn!(kind = kind.name(), %reason, retry_ms, "watch lost, reading anew");
                follower.version = None;
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

struct Follower {
    api: Api<DynamicObject>,
    kind: Kind,
    messages: mpsc::Sender<Told>,
    pulse: Arc<Pulse>,
    /// When the request was begun whose answer is read. `None` if that was held up here, so that nobody knows its age.
    began: Option<BootTime>,
    /// The last one seen; `None` before the whole state was read.
    version: Option<String>,
    definitions: Api<CustomResourceDefinition>,
    /// The kind was read once.
    was_whole: bool,
    /// The cluster does not have the kind, and this was said.
    absent: bool,
}

impl Follower {
    /// Whether the cluster lacks the kind, by its definition and not by its being served: an API server that starts does not
    /// serve every kind at once, and its objects must not be taken for deleted.
    async fn is_undefined(&mut self) -> bool {
        let Some(name) = optional_definition(self.kind) else {
            return false;
        };
        self.began = Some(BootTime::now());
        match self.definitions.get(&name).await {
            Err(kube::Error::Api(status)) => status.code == 404 && status.reason == "NotFound",
            Err(_) => false,
            // Other versions only: nothing can be read, and nobody else is held up for it. What was read before stays.
            Ok(definition) => {
                let versions = &definition.spec.versions;
                let wanted = resource(self.kind).version;
                let served = versions.iter().any(|it| it.served && it.name == wanted);
                if !served && !self.absent {
                    tracing::warn!(kind = self.kind.name(), %wanted, "the definition does not serve this version; install one that does");
                }
                !served && !self.was_whole
            }
        }
    }

    async fn report_absence(&mut self) -> Result<(), End> {
        self.version = None;
        if std::mem::replace(&mut self.absent, true) {
            return self.send(Message::StillAbsent(self.kind)).await;
        }
        tracing::info!(kind = self.kind.name(), "not defined in this cluster");
        self.send(Message::Absent(self.kind)).await
    }

    async fn watch(&mut self) -> End {
        let (parameters, patience) = match self.version {
            Some(_) => (
                WatchParams::default().timeout(WATCH_SECONDS),
                LONGEST_SILENCE,
            ),
            None => (
                WatchParams::default()
                    .initial_events()
                    .timeout(FIRST_WATCH_SECONDS),
                LONGEST_FIRST_SILENCE,
            ),
        };
        let from = self.version.clone().unwrap_or_default();
        self.began = Some(BootTime::now());
        let stream = match timeout(patience, self.api.watch(&parameters, &from)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(kube::Error::Api(status))) if status.code == GONE => {
                return End::Lost(TOO_OLD.to_owned());
            }
            Ok(Err(error)) => return End::Broken(reason_of(&error)),
            Err(_) => return End::Broken("it was not answered".to_owned()),
        };
        pin_mut!(stream);
        // Objects of a state that is not whole yet.
        let mut initial = Vec::new();
        loop {
            let event = match timeout(patience, stream.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return End::Broken(reason_of(&error)),
                Ok(None) if self.version.is_none() => {
                    return End::Broken("the list ended before it was whole".to_owned());
                }
                Ok(None) => return End::Closed,
                Err(_) => return End::Broken("nothing was heard for too long".to_owned()),
            };
            let was_whole = self.version.is_some();
            if let Err(end) = self.take(event, &mut initial).await {
                return end;
            }
            if !was_whole && self.version.is_some() {
                // Everything is read: go on with a watch that is heard of more often.
                return End::Closed;
            }
        }
    }

    async fn take(
        &mut self,
        event: WatchEvent<DynamicObject>,
        initial: &mut Vec<Seen>,
    ) -> Result<(), End> {
        let kind = self.kind;
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let version = object.resource_version().unwrap_or_default();
                let seen = see(kind, object)?;
                if self.version.is_none() {
                    initial.push(seen);
                    return Ok(());
                }
                let number = self.reached(version)?;
                self.send(Message::Changed(kind, Box::new(seen), number))
                    .await
            }
            WatchEvent::Deleted(object) => {
                let version = object.resource_version().unwrap_or_default();
                let reference = reference(kind, &object);
                if self.version.is_none() {
                    initial.retain(|seen| seen.reference != reference);
                    return Ok(());
                }
                let number = self.reached(version)?;
                self.send(Message::Gone(kind, reference, number)).await
            }
            WatchEvent::Bookmark(bookmark) => {
                let is_whole = bookmark
                    .metadata
                    .annotations
                    .contains_key(INITIAL_EVENTS_END);
                if self.version.is_none() && !is_whole {
                    return Ok(());
                }
                let was_whole = self.version.is_some();
                (self.was_whole, self.absent) = (true, false);
                let number = self.reached(bookmark.metadata.resource_version)?;
                let message = match was_whole {
                    true => Message::Reached(kind, number),
                    false => Message::Whole(kind, std::mem::take(initial), number),
                };
                self.send(message).await
            }
            WatchEvent::Error(status) if status.code == GONE => Err(End::Lost(TOO_OLD.to_owned())),
            WatchEvent::Error(status) => {
                Err(End::Broken(format!("{} ({})", status.message, status.code)))
            }
        }
    }

    /// Remembers a version, and gives it as a number.
    fn reached(&mut self, version: String) -> Result<u64, End> {
        let number = version
            .parse()
            .map_err(|_| End::Lost(format!("resourceVersion {version:?} is no number")))?;
        self.version = Some(version);
        Ok(number)
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        let now = BootTime::now();
        let is_new = |began: &BootTime| self.pulse.is_unbroken_since(*began, now);
        let told = (self.began.filter(is_new).map(|_| now), message);
        let sent = self.messages.send(told).await;
        // Whoever gathers was busy, and what comes next may have waited as long.
        if now.elapsed() > LATE {
            self.began = None;
        }
        sent.map_err(|_| End::Unheard)
    }
}

fn see(kind: Kind, mut object: DynamicObject) -> Result<Seen, End> {
    // By far the largest part of many objects, and of no use here.
    object.metadata.managed_fields = None;
    object.metadata.annotations = None;
    let reference = reference(kind, &object);
    let version = ObjectVersion {
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
    };
    let value = serde_json::to_value(&object).map_err(|error| End::Lost(error.to_string()))?;
    Ok(seen(kind, reference, version, &value))
}

/// Reads an object.
pub(super) fn seen(
    kind: Kind,
    reference: ObjectRef,
    version: ObjectVersion,
    value: &serde_json::Value,
) -> Seen {
    let reading = plain_object(kind, value);
    let stand_in = match &reading {
        Ok(_) => None,
        Err(_) => stand_in(kind, value),
    };
    Seen {
        reference,
        version,
        reading,
        stand_in,
    }
}

fn reference(kind: Kind, object: &DynamicObject) -> ObjectRef {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match object.metadata.namespace.as_deref() {
        Some(namespace) => ObjectRef::namespaced(kind, namespace, name),
        None => ObjectRef::cluster(kind, name),
    }
}
