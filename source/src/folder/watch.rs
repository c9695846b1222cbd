//! The task that watches a folder: notifications wake it, a slow poll covers what they miss.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulkhead_crds::manifest::Problem;
use bulkhead_policy::model::{Event, Timestamp};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::files::{Reading, scan_folder};
use super::state::{State, StateError};
use crate::index::{Index, Scan};
use crate::{BootTime, Freshness, Update};

/// The name of this input in a frontier.
const INPUT: &str = "folder";

/// What to watch and how.
#[derive(Debug, Clone)]
pub struct FolderConfig {
    /// The folder.
    pub path: PathBuf,
    /// Where the number of the last update and the last good versions are kept; `None` keeps them in memory.
    pub state: Option<PathBuf>,
    /// An editor writes a file in several steps: it is read when nothing moved for so long.
    pub quiet: Duration,
    /// The longest wait for that.
    pub patience: Duration,
    /// How often to look even if nothing was notified.
    pub poll: Duration,
    /// Where it is told until when the folder is known.
    pub freshness: Freshness,
}

impl FolderConfig {
    /// With the usual times.
    pub fn new(path: impl Into<PathBuf>, state: Option<PathBuf>) -> Self {
        Self {
            path: path.into(),
            state,
            quiet: Duration::from_millis(20),
            patience: Duration::from_millis(500),
            poll: Duration::from_secs(5),
            freshness: Freshness::default(),
        }
    }
}

/// Why a folder cannot be watched.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It is not there, or may not be read.
    #[error("{}: {reason}; create the folder or name another one", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
    /// The state on disk cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Watches a folder. The first update comes at once; the task ends when the receiver is dropped. Needs a tokio runtime.
///
/// # Errors
/// If the folder cannot be read or the state cannot be used; later failures are reported as problems.
pub fn watch(config: FolderConfig) -> Result<mpsc::Receiver<Update>, FolderError> {
    let (state, last_good) = State::open(config.state.clone(), now())?;
    let began = BootTime::now();
    let mut reading = Reading::default();
    scan_folder(&config.path, &mut reading).map_err(|reason| FolderError::Folder {
        path: config.path.clone(),
        reason,
    })?;
    let (wake, woken) = mpsc::channel(1);
    let watcher = notifier(&config.path, wake);
    let (updates, receiver) = mpsc::channel(1);
    let task = Task {
        config,
        state,
        index: Index::with_last_good(last_good),
        updates,
        woken,
        _watcher: watcher,
    };
    tokio::spawn(task.run(Look::new(reading, began)));
    Ok(receiver)
}

/// Without notifications the poll still finds every change, only later.
fn notifier(path: &Path, wake: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is also an event, and must not wake us for ever.
        let is_reading = event.is_ok_and(|event| {
            matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
        });
        if !is_reading {
            // A full channel means that the task will look anyway.
            let _ = wake.try_send(());
        }
    });
    let watching = watcher.and_then(|mut watcher| {
        watcher.watch(path, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    watching
        .inspect_err(|error| {
            tracing::warn!(folder = %path.display(), %error, "no change notifications, only polling");
        })
        .ok()
}

/// What was found in the folder, and until when it is known by that; `None` if a part could not be read, which may say
/// anything by now.
struct Look {
    scan: Scan,
    known_at: Option<BootTime>,
}

impl Look {
    fn new(reading: Reading, began: BootTime) -> Self {
        let Reading { scan, is_partial } = reading;
        let known_at = (!is_partial).then_some(began);
        Self { scan, known_at }
    }
}

struct Task {
    config: FolderConfig,
    state: State,
    index: Index,
    updates: mpsc::Sender<Update>,
    woken: mpsc::Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl Task {
    async fn run(mut self, first: Look) {
        let mut look = Some(first);
        let mut reported = None;
        loop {
            if let Some(Look { scan, known_at }) = look.take() {
                if !self.take(scan, &mut reported).await {
                    return;
                }
                if let Some(known_at) = known_at {
                    self.config.freshness.reached(known_at);
                }
            }
            tokio::select! {
                () = self.updates.closed() => return,
                () = wait(&mut self.woken, &self.config) => {}
            }
            look = self.look().await;
        }
    }

    /// Whether somebody still listens.
    async fn take(&mut self, scan: Scan, reported: &mut Option<Vec<Problem>>) -> bool {
        let events = self.index.handle(scan);
        let problems = self.index.problems().to_vec();
        let is_news = reported.as_ref() != Some(&problems);
        if is_news {
            problems
                .iter()
                .for_each(|problem| tracing::warn!("{problem}"));
            *reported = Some(problems.clone());
        }
        if !is_news && events.is_empty() {
            return true;
        }
        self.send(events, problems).await
    }

    async fn send(&mut self, events: Vec<Event>, problems: Vec<Problem>) -> bool {
        let version = self.number().await;
        let update = Update {
            events,
            problems,
            incarnation: self.state.incarnation(),
            versions: [(INPUT.to_owned(), version)].into(),
            seen: BTreeMap::new(),
        };
        let delivered = self.updates.send(update).await.is_ok();
        if let Err(error) = self.state.keep(&self.index.last_good()) {
            tracing::error!(%error, "a file that breaks now loses its objects at the next restart");
        }
        delivered
    }

    /// Intent must not move without a number that survives, so a full disk holds it up, and says so.
    async fn number(&mut self) -> u64 {
        loop {
            match self.state.next_version() {
                Ok(version) => return version,
                Err(error) => {
                    tracing::error!(%error, "changes wait until their number can be written");
                    tokio::time::sleep(self.config.poll).await;
                }
            }
        }
    }

    /// `None` leaves everything as it is: a folder that is gone as a whole is a mistake, not an intent.
    async fn look(&self) -> Option<Look> {
        let began = BootTime::now();
        let path = self.config.path.clone();
        let scanned = tokio::task::spawn_blocking(move || {
            let mut reading = Reading::default();
            scan_folder(&path, &mut reading).map(|()| reading)
        });
        match scanned.await {
            Ok(Ok(reading)) => Some(Look::new(reading, began)),
            Ok(Err(error)) => {
                let folder = self.config.path.display();
                tracing::error!(%folder, %error, "the folder cannot be read; everything stays in force as it is");
                None
            }
            Err(error) => {
                tracing::error!(%error, "reading the folder was cut short");
                None
            }
        }
    }
}

/// Until something moved and then nothing moved for a moment, or until it is time to look anyway.
async fn wait(woken: &mut mpsc::Receiver<()>, config: &FolderConfig) {
    if timeout(config.poll, woken.recv()).await.is_err() {
        return;
    }
    let patience = Instant::now() + config.patience;
    loop {
        let quiet = (Instant::now() + config.quiet).min(patience);
        match timeout_at(quiet, woken.recv()).await {
            Ok(Some(())) if Instant::now() < patience => {}
            Ok(_) | Err(_) => return,
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
