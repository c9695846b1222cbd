//! A controller on loopback, with keys of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_controller::board::Board;
use bulkhead_controller::clock;
use bulkhead_controller::keys::{KeyFolder, Wanted, make};
use bulkhead_controller::publish::Pace;
use bulkhead_controller::run::{Inputs, Listeners, serve, start_compiler};
use bulkhead_controller::server::Shared;
use bulkhead_controller::tls::Tls;
use bulkhead_policy::engine::EngineConfig;
use bulkhead_policy::model::{Event, Kind, Object, Phase, SortedSet, Workload};
use bulkhead_source::names::{Asker, line};
use bulkhead_source::{Freshness, Update};
use bulkhead_wire::Hello;
use tokio::sync::{mpsc, watch};

use crate::agent::{Agent, hello};

/// How long anything may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// With everything that a controller has, but a source of intent.
pub(crate) struct Controller {
    pub(crate) shared: Arc<Shared>,
    updates: mpsc::Sender<Update>,
    /// The end of whoever asks name servers; until somebody takes it, no name is answered.
    pub(crate) asker: Option<Asker>,
    pub(crate) address: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) keys: Folder,
    end: watch::Sender<bool>,
    version: u64,
}

/// A folder of keys; it ends with the test.
pub(crate) struct Folder(KeyFolder);

impl Folder {
    pub(crate) fn new(name: &str, nodes: &[&str]) -> Self {
        let path =
            std::env::temp_dir().join(format!("bulkhead-stream-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let folder = Self(KeyFolder(path));
        folder.add(nodes);
        folder
    }

    pub(crate) fn add(&self, nodes: &[&str]) {
        let wanted = Wanted {
            nodes: nodes.iter().map(ToString::to_string).collect(),
            names: Vec::new(),
            addresses: Vec::new(),
            from: time::OffsetDateTime::now_utc() - time::Duration::minutes(1),
            lifetime: time::Duration::days(1),
            renew_before: time::OffsetDateTime::UNIX_EPOCH,
        };
        make(&self.0, &wanted).unwrap();
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.0.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0.0);
    }
}

impl Controller {
    pub(crate) async fn start(name: &str, nodes: &[&str]) -> Self {
        Self::patient(name, nodes, Duration::ZERO).await
    }

    /// One that waits so long for names before it tells nodes anything.
    pub(crate) async fn patient(name: &str, nodes: &[&str], name_patience: Duration) -> Self {
        let keys = Folder::new(name, nodes);
        let shared = Arc::new(Shared::new(Pace::default()));
        let (updates, receiver) = mpsc::channel(4);
        let (lookups, asker) = line();
        let inputs = Inputs {
            updates: receiver,
            freshness: Freshness::default(),
            lookups,
            name_patience,
        };
        let questions = start_compiler(shared.clone(), EngineConfig::default(), inputs).unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let listeners = Listeners::bind(any, any).await.unwrap();
        let address = listeners.agents.local_addr().unwrap();
        let http = listeners.http.local_addr().unwrap();
        let tls = Tls::load(keys.path(), clock::now()).unwrap();
        let (end, ended) = watch::channel(false);
        tokio::spawn(serve(shared.clone(), questions, listeners, tls, ended));
        Self {
            shared,
            updates,
            asker: Some(asker),
            address,
            http,
            keys,
            end,
            version: 0,
        }
    }

    pub(crate) async fn apply(&mut self, objects: impl IntoIterator<Item = Object>) {
        self.version += 1;
        let update = Update {
            events: objects.into_iter().map(Event::Apply).collect(),
            versions: [("folder".to_owned(), self.version)].into(),
            ..Update::default()
        };
        self.updates.send(update).await.unwrap();
    }

    pub(crate) fn board(&self) -> &Board {
        &self.shared.board
    }

    pub(crate) async fn connect(&self, certified: &str, claimed: &str) -> Result<Agent, String> {
        self.greet(certified, hello(claimed)).await
    }

    pub(crate) async fn greet(&self, certified: &str, hello: Hello) -> Result<Agent, String> {
        let keys = self.keys.path();
        Agent::connect(self.address, keys, keys, certified, hello).await
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.end.send_replace(true);
    }
}

pub(crate) fn workload(name: &str, node: &str, address: [u8; 4]) -> Object {
    let workload = Workload {
        uid: format!("uid-{name}").into(),
        owners: SortedSet::new(),
        namespace: "shop".into(),
        name: name.into(),
        labels: [("app".into(), name.into())].into(),
        service_account: "default".into(),
        node: Some(node.into()),
        addresses: [address.into()].into(),
        named_ports: SortedSet::new(),
        phase: Phase::Running,
        host_network: false,
        interface: None,
    };
    Object::Workload(Kind::Workload, Box::new(workload))
}
