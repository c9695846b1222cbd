//! The stream between a controller and agents over real TLS on loopback, without kernels: who gets what, and who does not.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_controller::board::Board;
use bulkhead_controller::clock;
use bulkhead_controller::keys::{KeyFolder, Wanted, make};
use bulkhead_controller::publish::Pace;
use bulkhead_controller::run::{Listeners, serve, start_compiler};
use bulkhead_controller::server::Shared;
use bulkhead_controller::tls::Tls;
use bulkhead_graph::NodeGraph;
use bulkhead_policy::engine::EngineConfig;
use bulkhead_policy::model::{Event, Kind, Object, Phase, SortedSet, Workload};
use bulkhead_source::{BootTime, Freshness, Update};
use bulkhead_wire::proto::distribution_client::DistributionClient;
use bulkhead_wire::proto::{AgentMessage, ControllerMessage};
use bulkhead_wire::{
    Ack, Answer, Assembly, FromAgent, FromController, Hello, Limits, Revision, certificate,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

const SOON: Duration = Duration::from_secs(20);

struct Controller {
    shared: Arc<Shared>,
    updates: mpsc::Sender<Update>,
    address: SocketAddr,
    http: SocketAddr,
    keys: Folder,
    end: watch::Sender<bool>,
    version: u64,
}

struct Folder(KeyFolder);

impl Folder {
    fn new(name: &str, nodes: &[&str]) -> Self {
        let path =
            std::env::temp_dir().join(format!("bulkhead-stream-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let folder = Self(KeyFolder(path));
        folder.add(nodes);
        folder
    }

    fn add(&self, nodes: &[&str]) {
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

    fn path(&self) -> &PathBuf {
        &self.0.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0.0);
    }
}

impl Controller {
    async fn start(name: &str, nodes: &[&str]) -> Self {
        let keys = Folder::new(name, nodes);
        let shared = Arc::new(Shared::new(Pace::default()));
        let (updates, receiver) = mpsc::channel(4);
        let questions = start_compiler(
            shared.clone(),
            EngineConfig::default(),
            receiver,
            Freshness::default(),
        )
        .unwrap();
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
            address,
            http,
            keys,
            end,
            version: 0,
        }
    }

    async fn apply(&mut self, objects: impl IntoIterator<Item = Object>) {
        self.version += 1;
        let update = Update {
            events: objects.into_iter().map(Event::Apply).collect(),
            versions: [("folder".to_owned(), self.version)].into(),
            ..Update::default()
        };
        self.updates.send(update).await.unwrap();
    }

    fn board(&self) -> &Board {
        &self.shared.board
    }

    async fn connect(&self, certified: &str, claimed: &str) -> Result<Agent, String> {
        Agent::connect(
            self.address,
            self.keys.path(),
            self.keys.path(),
            certified,
            claimed,
        )
        .await
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.end.send_replace(true);
    }
}

/// The agent's side of the stream, by hand.
struct Agent {
    sender: mpsc::Sender<AgentMessage>,
    incoming: tonic::Streaming<ControllerMessage>,
    held: Arc<NodeGraph>,
}

impl Agent {
    async fn connect(
        address: SocketAddr,
        trusted: &std::path::Path,
        own: &std::path::Path,
        certified: &str,
        claimed: &str,
    ) -> Result<Self, String> {
        let (certificate_file, key) = KeyFolder(own.to_owned()).node(certified);
        let read = |path: PathBuf| std::fs::read(path).unwrap();
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(trusted.join("ca.crt"))))
            .identity(Identity::from_pem(read(certificate_file), read(key)))
            .domain_name(certificate::CONTROLLER);
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .unwrap()
            .tls_config(tls)
            .unwrap();
        let text = |error: &dyn std::error::Error| format!("{error:?}");
        let channel = endpoint.connect().await.map_err(|error| text(&error))?;
        let (sender, messages) = mpsc::channel(4);
        let hello = Hello {
            node: claimed.to_owned(),
            abi: 1,
            version: "test".to_owned(),
            limits: Limits::default(),
            realised: None,
        };
        sender
            .send((&FromAgent::Hello(hello)).into())
            .await
            .unwrap();
        let mut client = DistributionClient::new(channel);
        let incoming = client
            .sync(ReceiverStream::new(messages))
            .await
            .map_err(|error| text(&error))?;
        Ok(Self {
            sender,
            incoming: incoming.into_inner(),
            held: Arc::default(),
        })
    }

    async fn revision(&mut self) -> Result<Revision, String> {
        let mut assembly: Option<Assembly> = None;
        loop {
            let message = timeout(SOON, self.incoming.message())
                .await
                .map_err(|_| "nothing came".to_owned())?;
            let message =
                message.map_err(|status| format!("{}: {}", status.code(), status.message()))?;
            let message = message.ok_or("the stream ended")?;
            match FromController::try_from(message).unwrap() {
                FromController::Header(header) => assembly = Some(Assembly::new(header)),
                FromController::Part { offset, content } => {
                    assembly.as_mut().unwrap().add(offset, &content).unwrap();
                }
                FromController::Confirm { .. } => {}
            }
            if let Some(whole) = assembly.take_if(|open| open.is_complete()) {
                return Ok(whole.finish().unwrap());
            }
        }
    }

    /// Asks whether what it enforces is right, and waits for the answer.
    async fn ask(&mut self, at: u64) -> Option<(bulkhead_graph::Digest, Answer)> {
        self.sender
            .send((&FromAgent::Ask(at)).into())
            .await
            .unwrap();
        let answered = async {
            loop {
                let message = self.incoming.message().await.unwrap().unwrap();
                if let FromController::Confirm {
                    digest,
                    answer: Some(answer),
                    ..
                } = FromController::try_from(message).unwrap()
                {
                    return (digest, answer);
                }
            }
        };
        timeout(SOON, answered).await.ok()
    }

    async fn realise(&mut self) -> Revision {
        let revision = self.revision().await.unwrap();
        let empty = NodeGraph::default();
        let base = if revision.delta.base == empty.digest() {
            &empty
        } else {
            &*self.held
        };
        self.held = Arc::new(revision.delta.apply(base).unwrap());
        let ack = Ack {
            digest: revision.delta.target,
            frontier: revision.frontier.clone(),
            used: Limits::default(),
            applied_us: 1,
            confirmed_us: 1,
            writes: 1,
            denied: Vec::new(),
            unprotected: Vec::new(),
            protected: 0,
        };
        self.sender
            .send((&FromAgent::Ack(ack)).into())
            .await
            .unwrap();
        revision
    }
}

fn workload(name: &str, node: &str, address: [u8; 4]) -> Object {
    let workload = Workload {
        uid: format!("uid-{name}").into(),
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
    Object::Workload(Kind::Workload, workload)
}

#[test]
fn keys_that_are_missing_or_expired_are_named_with_what_to_do() {
    let missing = Tls::load(std::path::Path::new("/nowhere"), clock::now()).unwrap_err();
    let text = format!("{missing:#}");
    assert!(
        text.contains("/nowhere/ca.crt") && text.contains("bulkhead-controller init"),
        "{text}"
    );
    let keys = Folder::new("expired", &[]);
    let later = bulkhead_graph::Timestamp(clock::now().0 + 2 * 24 * 3_600_000);
    let text = format!("{:#}", Tls::load(keys.path(), later).unwrap_err());
    assert!(
        text.contains("controller.crt: the certificate has expired; `bulkhead-controller init"),
        "{text}"
    );
}

/// A GET, with the answer's first line and body.
async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(SOON, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let line = head.lines().next().unwrap_or_default();
    (line.to_owned(), body.to_owned())
}

#[tokio::test]
async fn g16_the_rule_behind_what_an_audit_saw_is_told_by_policy_and_rule() {
    let mut controller = Controller::start("rule", &["n1"]).await;
    let manifests = "
{apiVersion: bulkhead.dev/v1alpha1, kind: Workload, metadata: {name: frontend, namespace: web}, spec: {addresses: [10.0.0.1], node: n1}}
---
{apiVersion: bulkhead.dev/v1alpha1, kind: Workload, metadata: {name: postgres, namespace: db}, spec: {addresses: [10.0.0.2], node: n1}}
---
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: databases}
spec:
  members: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: db}}}]
  isolation: {ingress: Deny, egress: Allow, within: Allow}
  mode: Audit
---
apiVersion: bulkhead.dev/v1alpha1
kind: SegmentationPolicy
metadata: {name: telnet, namespace: web}
spec:
  subjects: [{pods: {}}]
  mode: Audit
  egress: [{name: no-telnet, action: Deny, to: [{everyone: {}}], ports: [{port: {protocol: TCP, number: 23}}]}]
";
    let read = bulkhead_crds::manifest::read("m.yaml", manifests.as_bytes());
    assert!(read.problems.is_empty(), "{:?}", read.problems);
    let objects: Vec<Object> = read.objects.into_iter().map(|it| it.object).collect();
    controller.apply(objects).await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    agent.realise().await;
    let told = async |path: &str| {
        let (line, body) = get(controller.http, path).await;
        assert!(line.contains(" 200 "), "{path}: {line}: {body}");
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(told["enforced"]["allowed"], true, "{path}: {told}");
        assert_eq!(told["intended"]["allowed"], false, "{path}: {told}");
        told["intended"]["rule"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        told("/rule/10.0.0.2/ingress/10.0.0.1/tcp/5432").await,
        "isolated by Segment databases"
    );
    assert_eq!(
        told("/rule/10.0.0.1/egress/203.0.113.7/tcp/23").await,
        "SegmentationPolicy web/telnet egress[0] (no-telnet)"
    );
    let refused = async |path: &str| get(controller.http, path).await.0;
    assert!(
        refused("/rule/10.0.0.9/egress/10.0.0.1/tcp/1")
            .await
            .contains(" 404 ")
    );
    assert!(
        refused("/rule/10.0.0.1/across/10.0.0.2/tcp/1")
            .await
            .contains(" 400 ")
    );
}

#[tokio::test]
async fn new_key_files_are_taken_up_without_a_restart_and_bad_ones_change_nothing() {
    let controller = Controller::start("reload", &["n1"]).await;
    drop(controller.connect("n1", "n1").await.unwrap());
    // Another authority, and everything that it vouches for.
    let others = Folder::new("reload-others", &["n1"]);
    let connect = async |keys: &Folder| {
        Agent::connect(controller.address, keys.path(), keys.path(), "n1", "n1").await
    };
    assert!(connect(&others).await.is_err());
    let copy = |name: &str| {
        let (from, to) = (others.path().join(name), controller.keys.path().join(name));
        std::fs::copy(from, to).unwrap();
    };
    let old = Folder::new("reload-old", &[]);
    std::fs::remove_dir_all(old.path()).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([controller.keys.path(), old.path()])
        .status();
    assert!(copied.unwrap().success());
    // A certificate without its key: the earlier files stay in force.
    copy("controller.crt");
    drop(connect(&old).await.unwrap());
    copy("controller.key");
    copy("ca.crt");
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let taken_up = async {
        while connect(&others).await.is_err() {
            looks.tick().await;
        }
    };
    timeout(SOON, taken_up).await.expect("taken up in time");
    assert!(
        connect(&old).await.is_err(),
        "the old authority counts no more"
    );
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_flag() {
    let any = "127.0.0.1:0".parse().unwrap();
    let first = Listeners::bind(any, any).await.unwrap();
    let taken = first.http.local_addr().unwrap();
    let error = Listeners::bind(any, taken).await.map(drop).unwrap_err();
    assert!(
        format!("{error:#}").contains(&format!("--http {taken}: cannot listen there")),
        "{error:#}"
    );
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let looking = async {
        while !condition() {
            looks.tick().await;
        }
    };
    assert!(
        timeout(SOON, looking).await.is_ok(),
        "{what} did not come true"
    );
}

#[tokio::test]
async fn an_agent_that_asks_hears_how_old_the_inputs_are() {
    let mut controller = Controller::start("asked", &["n1"]).await;
    controller
        .apply([workload("web", "n1", [10, 0, 0, 1])])
        .await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    let revision = agent.realise().await;
    let known_at = BootTime::now();
    controller.board().known(known_at);
    let asked = BootTime::now();
    let (digest, answer) = agent.ask(42).await.expect("an answer");
    assert_eq!((digest, answer.at), (revision.delta.target, 42));
    let age = Duration::from_millis(answer.age_ms);
    assert!(age <= asked.since(known_at) + asked.elapsed(), "{age:?}");
    let view = controller
        .shared
        .status()
        .view(controller.board().frontier(), &[]);
    assert!(view.nodes[0].heard_at_ms.is_some());
}

#[tokio::test]
async fn an_agent_gets_a_snapshot_then_deltas_and_its_acks_become_status() {
    let mut controller = Controller::start("deltas", &["n1", "n2"]).await;
    controller
        .apply([
            workload("web", "n1", [10, 0, 0, 1]),
            workload("db", "n2", [10, 0, 0, 2]),
        ])
        .await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    let first = agent.realise().await;
    assert_eq!(first.delta.base, NodeGraph::default().digest());
    let names: Vec<&str> = agent
        .held
        .workloads
        .values()
        .map(|workload| &*workload.name)
        .collect();
    assert_eq!(names, ["web"], "its own workloads and no others");

    controller
        .apply([workload("api", "n1", [10, 0, 0, 3])])
        .await;
    let second = agent.realise().await;
    assert_eq!(
        second.delta.base, first.delta.target,
        "a delta from what was acknowledged"
    );
    assert!(second.frontier.reaches(&first.frontier));
    assert_eq!(agent.held.workloads.len(), 2);
    until("n1 realises", || {
        let view = controller
            .shared
            .status()
            .view(controller.board().frontier(), &[]);
        let node = view.nodes.iter().find(|node| node.name == "n1");
        node.is_some_and(|node| node.health == "healthy" && node.realised == node.desired)
    })
    .await;
}

#[tokio::test]
async fn nothing_is_sent_before_the_source_was_read() {
    let mut controller = Controller::start("unread", &["n1"]).await;
    let mut agent = controller.connect("n1", "n1").await.unwrap();
    let silence = timeout(Duration::from_millis(200), agent.incoming.message()).await;
    assert!(
        silence.is_err(),
        "an empty graph would cut every workload off: {silence:?}"
    );
    controller.apply([]).await;
    assert_eq!(
        agent.realise().await.delta.target,
        NodeGraph::default().digest()
    );
}

#[tokio::test]
async fn an_agent_cannot_be_another_node() {
    let mut controller = Controller::start("another", &["n1", "n2"]).await;
    controller
        .apply([workload("db", "n2", [10, 0, 0, 2])])
        .await;
    let mut liar = controller.connect("n1", "n2").await.unwrap();
    let error = liar.revision().await.unwrap_err();
    assert!(
        error.contains("the certificate is for node n1, not for n2"),
        "{error}"
    );
}

#[tokio::test]
async fn a_certificate_of_another_authority_opens_nothing() {
    let mut controller = Controller::start("authority", &["n1"]).await;
    controller.apply([]).await;
    let foreign = Folder::new("foreign", &["n1"]);
    let attempt = Agent::connect(
        controller.address,
        controller.keys.path(),
        foreign.path(),
        "n1",
        "n1",
    )
    .await;
    let error = match attempt {
        Err(error) => error,
        Ok(mut agent) => agent.revision().await.unwrap_err(),
    };
    assert!(!error.contains("nothing came"), "{error}");
    let attempt = Agent::connect(
        controller.address,
        foreign.path(),
        controller.keys.path(),
        "n1",
        "n1",
    )
    .await;
    assert!(
        attempt.is_err(),
        "and the agent trusts no other controller either"
    );
}

#[tokio::test]
async fn stuck_connections_delay_nobody() {
    let mut controller = Controller::start("stuck", &["n1"]).await;
    controller
        .apply([workload("web", "n1", [10, 0, 0, 1])])
        .await;
    let mut stuck = Vec::new();
    for _ in 0..20 {
        stuck.push(
            tokio::net::TcpStream::connect(controller.address)
                .await
                .unwrap(),
        );
    }
    let began = std::time::Instant::now();
    controller
        .connect("n1", "n1")
        .await
        .unwrap()
        .realise()
        .await;
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "less than one handshake's deadline"
    );
}

#[tokio::test]
async fn a_newer_connection_of_a_node_ends_the_older_one() {
    let mut controller = Controller::start("newer", &["n1"]).await;
    controller
        .apply([workload("web", "n1", [10, 0, 0, 1])])
        .await;
    let mut old = controller.connect("n1", "n1").await.unwrap();
    old.realise().await;
    let mut new = controller.connect("n1", "n1").await.unwrap();
    new.realise().await;
    controller
        .apply([workload("api", "n1", [10, 0, 0, 3])])
        .await;
    new.realise().await;
    let error = old.revision().await.unwrap_err();
    assert!(error.contains("the node has a newer connection"), "{error}");
}
