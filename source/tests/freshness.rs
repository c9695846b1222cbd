//! Until when the API is known: an API server, as far as watches go, of which single kinds fall silent.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bulkhead_source::Freshness;
use bulkhead_source::kubernetes::watch;
use kube::{Client, Config};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch as state;
use tokio::time::{interval, timeout};

/// How long anything may take before the test gives up.
const DEADLINE: Duration = Duration::from_secs(60);

/// Less is young and more is old; a busy machine may hold up a bookmark for long.
const SOME_TIME: Duration = Duration::from_secs(2);

/// Says every few milliseconds that a kind is as it was.
#[derive(Clone)]
struct Server {
    /// Kinds with this in their path are not spoken of.
    silent: state::Receiver<Option<&'static str>>,
    bookmarks: Arc<AtomicU64>,
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
        let mut times = interval(Duration::from_millis(20));
        loop {
            times.tick().await;
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

#[tokio::test]
async fn the_api_is_known_until_the_kind_that_was_heard_of_the_longest_ago() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (fall_silent, silent) = state::channel(Some("/pods"));
    let bookmarks = Arc::new(AtomicU64::new(0));
    let server = Server {
        silent,
        bookmarks: bookmarks.clone(),
    };
    tokio::spawn(server.serve(listener));
    let client = Client::try_from(Config::new(address.parse().unwrap())).unwrap();
    let freshness = Freshness::default();
    let mut updates = watch(client, freshness.clone()).await.unwrap();
    tokio::spawn(async move { while updates.recv().await.is_some() {} });
    let is_young = || {
        let known_at = freshness.instant();
        known_at.is_some_and(|known_at| known_at.elapsed() < SOME_TIME)
    };

    until("all but one are spoken of", || {
        bookmarks.load(Ordering::SeqCst) > 500
    })
    .await;
    assert_eq!(freshness.instant(), None, "one was never heard of");
    fall_silent.send_replace(None);
    until("every kind is heard of", is_young).await;

    // One that is silent, and then all of them.
    for whom in ["/pods", ""] {
        fall_silent.send_replace(Some(whom));
        until("it grows old", || !is_young()).await;
        let before = bookmarks.load(Ordering::SeqCst);
        fall_silent.send_replace(None);
        until("it is heard of again", is_young).await;
        assert!(bookmarks.load(Ordering::SeqCst) > before);
    }
}
