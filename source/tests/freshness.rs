//! Until when the API is known: an API server, as far as watches go, of which single kinds fall silent.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod request;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bulkhead_source::kubernetes::watch;
use bulkhead_source::{BootTime, Freshness};
use kube::{Client, Config};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::watch as state;
use tokio::time::{interval, timeout};

/// How long anything may take before the test gives up.
const DEADLINE: Duration = Duration::from_secs(60);

/// Less is young and more is old; a busy machine may hold up a bookmark for long.
const SOME_TIME: Duration = Duration::from_secs(2);

/// So long a stop is noticed.
const HELD: Duration = Duration::from_secs(8);

/// How many kinds are followed.
const KINDS: u64 = 12;

/// Says every few milliseconds that a kind is as it was.
#[derive(Clone)]
struct Server {
    /// Kinds with this in their path are not spoken of.
    silent: state::Receiver<Option<&'static str>>,
    /// Ends the watches that there are at a change.
    hang_up: state::Receiver<()>,
    watches: Arc<AtomicU64>,
    bookmarks: Arc<AtomicU64>,
}

/// Who tells the server what to do, and sees what it has done.
struct Api {
    address: SocketAddr,
    silent: state::Sender<Option<&'static str>>,
    hang_up: state::Sender<()>,
    watches: Arc<AtomicU64>,
    bookmarks: Arc<AtomicU64>,
}

impl Api {
    /// On a thread of its own, which goes on when that of the test is held.
    fn start(silent: Option<&'static str>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (fall_silent, silent) = state::channel(silent);
        let (hang_up, hung_up) = state::channel(());
        let server = Server {
            silent,
            hang_up: hung_up,
            watches: Arc::default(),
            bookmarks: Arc::default(),
        };
        let api = Self {
            address,
            silent: fall_silent,
            hang_up,
            watches: server.watches.clone(),
            bookmarks: server.bookmarks.clone(),
        };
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime
                .block_on(async { server.serve(TcpListener::from_std(listener).unwrap()).await });
        });
        api
    }

    async fn follow(&self) -> Freshness {
        let config = Config::new(format!("http://{}", self.address).parse().unwrap());
        let freshness = Freshness::default();
        let client = Client::try_from(config).unwrap();
        let mut updates = watch(client, freshness.clone()).await.unwrap();
        tokio::spawn(async move { while updates.recv().await.is_some() {} });
        freshness
    }
}

impl Server {
    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever asked may be gone.
            tokio::spawn(self.clone().answer(stream));
        }
    }

    async fn answer(self, mut stream: TcpStream) -> std::io::Result<()> {
        let path = request::path(&mut stream).await;
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n",
            )
            .await?;
        if !path.contains("watch=true") {
            let metadata =
                json!({"name": "kube-system", "creationTimestamp": "2026-01-01T00:00:00Z"});
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
            return stream.write_all(namespace.to_string().as_bytes()).await;
        }
        let mut hang_up = self.hang_up.clone();
        hang_up.mark_unchanged();
        self.watches.fetch_add(1, Ordering::SeqCst);
        let asked = path.split_once("timeoutSeconds=").unwrap().1;
        let seconds = asked.split('&').next().unwrap().parse().unwrap();
        let began = Instant::now();
        let mut times = interval(Duration::from_millis(20));
        while matches!(hang_up.has_changed(), Ok(false)) {
            times.tick().await;
            if began.elapsed() >= Duration::from_secs(seconds) {
                break;
            }
            let silent = *self.silent.borrow();
            if silent.is_some_and(|silent| path.contains(silent)) {
                continue;
            }
            let version = self.bookmarks.fetch_add(1, Ordering::SeqCst) + 1;
            let metadata = json!({
                "resourceVersion": version.to_string(),
                "annotations": {"k8s.io/initial-events-end": "true"},
            });
            let object = json!({"apiVersion": "v1", "kind": "Any", "metadata": metadata});
            let bookmark = json!({"type": "BOOKMARK", "object": object});
            stream.write_all(format!("{bookmark}\n").as_bytes()).await?;
        }
        Ok(())
    }
}

/// Waits for it, with a deadline.
async fn until(what: &str, is_it: impl Fn() -> bool) {
    let mut looks = interval(Duration::from_millis(5));
    let looking = async {
        while !is_it() {
            looks.tick().await;
        }
    };
    timeout(DEADLINE, looking).await.expect(what);
}

fn is_young(freshness: &Freshness) -> bool {
    let known_at = freshness.instant();
    known_at.is_some_and(|known_at| known_at.elapsed() < SOME_TIME)
}

#[tokio::test]
async fn the_api_is_known_until_the_kind_that_was_heard_of_the_longest_ago() {
    let api = Api::start(Some("/pods"));
    let freshness = api.follow().await;
    until("all but one are spoken of", || {
        api.bookmarks.load(Ordering::SeqCst) > 500
    })
    .await;
    assert_eq!(freshness.instant(), None, "one was never heard of");
    api.silent.send_replace(None);
    until("every kind is heard of", || is_young(&freshness)).await;

    // One that is silent, and then all of them.
    for whom in ["/pods", ""] {
        api.silent.send_replace(Some(whom));
        until("it grows old", || !is_young(&freshness)).await;
        api.silent.send_replace(None);
        until("it is heard of again", || is_young(&freshness)).await;
    }
}

/// All tasks of this runtime have one thread. To hold it is to them what a stop of the process is.
#[tokio::test]
async fn what_was_said_while_nobody_could_read_it_is_not_new() {
    let api = Api::start(None);
    let freshness = api.follow().await;
    until("every kind is heard of", || is_young(&freshness)).await;

    let (_held, release) = std::sync::mpsc::channel::<()>();
    let held_at = BootTime::now();
    release.recv_timeout(HELD).unwrap_err();
    let watches = api.watches.load(Ordering::SeqCst);
    api.silent.send_replace(Some(""));
    api.hang_up.send_replace(());
    // Whoever asks anew has read all that was said.
    until("every kind is asked for anew", || {
        api.watches.load(Ordering::SeqCst) >= watches + KINDS
    })
    .await;
    assert!(freshness.instant() <= Some(held_at));
    api.silent.send_replace(None);
    until("every kind is heard of again", || is_young(&freshness)).await;
}
