//! A real folder, really watched.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bulkhead_source::folder::{FolderConfig, FolderError, watch};
use bulkhead_source::{Freshness, Update};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

/// How long anything may take before the test gives up; nothing waits so long when all is well.
const DEADLINE: Duration = Duration::from_secs(20);

async fn next(updates: &mut Receiver<Update>) -> Update {
    timeout(DEADLINE, updates.recv())
        .await
        .expect("an update in time")
        .expect("a living source")
}

/// Waits until some update satisfies a condition; editors and the system may need several for one change.
async fn until(updates: &mut Receiver<Update>, is_it: impl Fn(&Update) -> bool) -> Update {
    loop {
        let update = next(updates).await;
        if is_it(&update) {
            return update;
        }
    }
}

fn put(folder: &Path, name: &str, labels: &str) {
    let text = format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {labels}}}}}\n"
    );
    fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
}

fn version(update: &Update) -> u64 {
    update.versions["folder"]
}

#[tokio::test]
async fn changes_arrive_with_growing_numbers_and_well_before_the_poll() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a", "{}");
    let config = FolderConfig {
        poll: DEADLINE * 10,
        ..FolderConfig::new(folder.path(), None)
    };
    let mut updates = watch(config).unwrap();
    let first = next(&mut updates).await;
    assert_eq!(first.events.len(), 1);
    put(folder.path(), "b", "{}");
    let second = next(&mut updates).await;
    assert_eq!(second.events.len(), 1);
    assert!(version(&second) > version(&first));
    fs::create_dir(folder.path().join("more")).unwrap();
    put(&folder.path().join("more"), "c", "{}");
    let third = next(&mut updates).await;
    assert_eq!(third.events.len(), 1);
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    assert_eq!(next(&mut updates).await.events.len(), 1);
}

/// Waits until the folder was looked at less, or more, than so long ago.
async fn wait_age(freshness: &Freshness, is_it: impl Fn(Duration) -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let looking = async {
        while !freshness.instant().is_some_and(|at| is_it(at.elapsed())) {
            looks.tick().await;
        }
    };
    timeout(DEADLINE, looking).await.expect("in time");
}

#[tokio::test]
async fn a_folder_is_known_while_nothing_changes_and_not_when_it_cannot_be_read() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("manifests");
    fs::create_dir(&folder).unwrap();
    let config = FolderConfig {
        poll: Duration::from_millis(20),
        ..FolderConfig::new(&folder, None)
    };
    let freshness = config.freshness.clone();
    assert_eq!(freshness.instant(), None);
    let mut updates = watch(config).unwrap();
    next(&mut updates).await;
    let first = freshness.instant();
    wait_age(&freshness, |age| {
        freshness.instant() != first && age < Duration::from_millis(200)
    })
    .await;
    fs::rename(&folder, place.path().join("elsewhere")).unwrap();
    wait_age(&freshness, |age| age > Duration::from_millis(600)).await;
    fs::rename(place.path().join("elsewhere"), &folder).unwrap();
    wait_age(&freshness, |age| age < Duration::from_millis(200)).await;
}

#[tokio::test]
async fn a_folder_is_not_known_while_a_part_of_it_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a", "{}");
    let config = FolderConfig {
        poll: Duration::from_millis(20),
        ..FolderConfig::new(folder.path(), None)
    };
    let freshness = config.freshness.clone();
    let mut updates = watch(config).unwrap();
    next(&mut updates).await;
    wait_age(&freshness, |age| age < Duration::from_millis(200)).await;
    // Nobody, not even root, can read what leads to itself. Its objects stay, but who knows what they would say.
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    symlink("b.yaml", folder.path().join("a.yaml")).unwrap();
    symlink("a.yaml", folder.path().join("b.yaml")).unwrap();
    until(&mut updates, |update| !update.problems.is_empty()).await;
    wait_age(&freshness, |age| age > Duration::from_millis(600)).await;
    fs::remove_file(folder.path().join("b.yaml")).unwrap();
    fs::remove_file(folder.path().join("a.yaml")).unwrap();
    // What is no file is refused for what it is, and that is known.
    fs::create_dir(folder.path().join("a.yaml")).unwrap();
    let pipe = Command::new("mkfifo")
        .arg(folder.path().join("pipe.yaml"))
        .status();
    assert!(pipe.unwrap().success());
    until(&mut updates, |update| !update.problems.is_empty()).await;
    wait_age(&freshness, |age| age < Duration::from_millis(200)).await;
}

#[tokio::test]
async fn an_empty_folder_is_an_intent_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut updates = watch(FolderConfig::new(folder.path(), None)).unwrap();
    assert_eq!(next(&mut updates).await.events, []);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let Err(error) = watch(FolderConfig::new(&missing, None)) else {
        panic!("watched nothing")
    };
    assert!(matches!(error, FolderError::Folder { .. }));
    assert!(
        error
            .to_string()
            .starts_with(&missing.display().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn numbers_and_last_good_versions_survive_a_restart() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = || FolderConfig::new(folder.path(), Some(state.path().join("source")));
    put(folder.path(), "a", "{}");
    let mut updates = watch(config()).unwrap();
    let before = next(&mut updates).await;
    // A later update shows that what follows the first one, remembering it, is done.
    put(folder.path(), "b", "{}");
    let before_too = next(&mut updates).await;
    put(folder.path(), "c", "{}");
    next(&mut updates).await;
    drop(updates);
    fs::write(folder.path().join("a.yaml"), "kind: [").unwrap();
    let after = next(&mut watch(config()).unwrap()).await;
    assert_eq!(after.incarnation, before.incarnation);
    assert!(version(&after) > version(&before_too));
    assert_eq!(after.events.len(), 3, "{:?}", after.events);
    assert_eq!(after.problems.len(), 1);
}

#[tokio::test]
async fn damaged_state_is_not_guessed_about() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(state.path().join("frontier.json"), "{").unwrap();
    let Err(error) = watch(FolderConfig::new(
        folder.path(),
        Some(state.path().to_owned()),
    )) else {
        panic!("went on with damaged state")
    };
    let said = error.to_string();
    assert!(
        said.contains("frontier.json") && said.contains("remove it to begin a new incarnation"),
        "{said}"
    );
}

#[tokio::test]
async fn a_full_disk_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = FolderConfig::new(folder.path(), Some("/dev/full/state".into()));
    let Err(error) = watch(config) else {
        panic!("wrote where nothing can be written")
    };
    assert!(
        error.to_string().contains("writable place with free space"),
        "{error}"
    );
}

#[tokio::test]
async fn changes_wait_while_the_disk_refuses_their_number_and_none_is_lost() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(folder.path(), "a", "{}");
    let config = FolderConfig {
        poll: Duration::from_millis(50),
        ..FolderConfig::new(folder.path(), Some(state.path().to_owned()))
    };
    let mut updates = watch(config).unwrap();
    let first = next(&mut updates).await;
    // The last good versions are written after the update.
    let last_good = state.path().join("last-good.json");
    timeout(DEADLINE, async {
        while !last_good.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    // Where the number is to be written first there is something that cannot be replaced.
    let in_the_way = state.path().join("frontier.new");
    fs::create_dir(&in_the_way).unwrap();
    put(folder.path(), "b", "{}");
    timeout(Duration::from_millis(500), updates.recv())
        .await
        .expect_err("nothing moves without a number that survives");
    put(folder.path(), "c", "{}");
    fs::remove_dir(&in_the_way).unwrap();
    let (mut events, mut last) = (0, version(&first));
    while events < 2 {
        let update = next(&mut updates).await;
        assert!(version(&update) > last, "{update:?}");
        (events, last) = (events + update.events.len(), version(&update));
    }
    drop(updates);
    let kept = fs::read_to_string(state.path().join("frontier.json")).unwrap();
    assert!(kept.contains(&format!("\"version\":{last}")), "{kept}");
}

#[tokio::test]
async fn a_folder_that_vanishes_leaves_everything_in_force() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("manifests");
    fs::create_dir(&folder).unwrap();
    put(&folder, "a", "{}");
    let config = FolderConfig {
        poll: Duration::from_millis(50),
        ..FolderConfig::new(&folder, None)
    };
    let mut updates = watch(config).unwrap();
    next(&mut updates).await;
    fs::rename(&folder, outer.path().join("aside")).unwrap();
    fs::create_dir(outer.path().join("next")).unwrap();
    put(&outer.path().join("next"), "a", "{}");
    put(&outer.path().join("next"), "z", "{}");
    fs::rename(outer.path().join("next"), &folder).unwrap();
    // Whatever was looked at in between, nothing of `a` was ever deleted.
    let update = until(&mut updates, |update| !update.events.is_empty()).await;
    assert_eq!(update.events.len(), 1, "{:?}", update.events);
}

#[tokio::test]
async fn what_is_no_file_or_too_large_is_named_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    put(folder.path(), "a", "{}");
    put(folder.path(), "z", "{}");
    let pipe = Command::new("mkfifo").arg(path("pipe.yaml")).status();
    assert!(pipe.unwrap().success());
    let _socket = UnixListener::bind(path("socket.yaml")).unwrap();
    symlink("/dev/zero", path("zero.yaml")).unwrap();
    let large = fs::File::create(path("large.json")).unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let update = next(&mut watch(FolderConfig::new(folder.path(), None)).unwrap()).await;
    assert_eq!(update.events.len(), 2, "{:?}", update.events);
    let said: Vec<String> = update.problems.iter().map(ToString::to_string).collect();
    for (name, what) in [
        ("large.json", "it is larger than 64 MiB"),
        ("pipe.yaml", "it is a named pipe and no file"),
        ("socket.yaml", "it is a socket and no file"),
        ("zero.yaml", "it is a device and no file"),
    ] {
        let expected = format!("{}: {what}", path(name).display());
        assert!(said.iter().any(|it| it.starts_with(&expected)), "{said:#?}");
    }
}

#[tokio::test]
async fn only_the_controller_reads_what_it_keeps() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put(folder.path(), "a", "{}");
    // As an older version left it.
    for name in ["last-good.json", "last-good.new"] {
        fs::write(state.path().join(name), "{}").unwrap();
    }
    let config = FolderConfig::new(folder.path(), Some(state.path().to_owned()));
    let mut updates = watch(config).unwrap();
    next(&mut updates).await;
    // The next update shows that what follows the first one, remembering it, is done.
    put(folder.path(), "b", "{}");
    next(&mut updates).await;
    for name in ["last-good.json", "frontier.json"] {
        let mode = fs::metadata(state.path().join(name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }
}
