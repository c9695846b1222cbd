//! Files that are replaced, half of them or as a whole, by copying or behind a link.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use bulkhead_graph::Timestamp;
use tempfile::TempDir;

use super::*;

const NAMES: [&str; 3] = ["ca.crt", "own.crt", "own.key"];

/// What the three files hold.
type Texts = [String; 3];

/// A certificate that vouches for itself, until the beginning of a year.
fn made(until: i32) -> Texts {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters =
        rcgen::CertificateParams::new(vec!["n1.node.bulkhead".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = parameters.self_signed(&key).unwrap().pem();
    [certificate.clone(), certificate, key.serialize_pem()]
}

fn write(folder: &Path, texts: &Texts) {
    for (name, text) in NAMES.iter().zip(texts) {
        fs::write(folder.join(name), text).unwrap();
    }
}

/// In the middle of a year, about.
fn middle_of(year: i64) -> Timestamp {
    Timestamp::from_seconds((year - 1970) * 31_556_952 + 15_000_000)
}

fn now() -> Timestamp {
    middle_of(2021)
}

fn load(folder: &Path) -> Keys<Vec<u8>> {
    let [authority, certificate, key] = NAMES.map(|name| folder.join(name));
    let files = Files {
        authority,
        certificate,
        key,
        remedy: "make another one".to_owned(),
    };
    Keys::load(
        files,
        Box::new(|pem: &Pem| Ok(pem.certificate.clone())),
        now(),
    )
    .unwrap()
}

/// Files in a folder of the test's own, and the keys that were loaded from it.
fn loaded(texts: &Texts) -> (TempDir, Keys<Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), texts);
    let keys = load(folder.path());
    (folder, keys)
}

#[track_caller]
fn uses(keys: &Keys<Vec<u8>>, texts: &Texts) {
    assert_eq!(
        keys.current().made,
        texts[1].as_bytes(),
        "another certificate is in use"
    );
}

#[test]
fn renewed_files_are_taken_up_with_their_end() {
    let (old, new) = (made(2023), made(2024));
    let (folder, keys) = loaded(&old);
    assert_eq!(keys.look(now()).unwrap(), Look::Same);
    let mut seen = keys.subscribe();
    assert!(!seen.has_changed().unwrap());
    write(folder.path(), &new);
    assert_eq!(keys.look(now()).unwrap(), Look::New);
    uses(&keys, &new);
    assert!(seen.has_changed().unwrap(), "connections are told");
    assert_eq!(
        seen.borrow_and_update().certificate.until,
        Timestamp::from_seconds(1_704_067_200)
    );
    assert_eq!(keys.look(now()).unwrap(), Look::Same);
}

#[test]
fn a_volume_that_is_swapped_behind_its_links_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (old, new) = (made(2023), made(2024));
    for (name, texts) in [("..1", &old), ("..2", &new)] {
        fs::create_dir(path(name)).unwrap();
        write(&path(name), texts);
    }
    symlink("..1", path("..data")).unwrap();
    for name in NAMES {
        symlink(Path::new("..data").join(name), path(name)).unwrap();
    }
    let keys = load(folder.path());
    uses(&keys, &old);
    symlink("..2", path("..next")).unwrap();
    fs::rename(path("..next"), path("..data")).unwrap();
    assert_eq!(keys.look(now()).unwrap(), Look::New);
    uses(&keys, &new);
}

#[test]
fn a_certificate_without_its_key_changes_nothing_until_the_key_has_come() {
    let (old, new) = (made(2023), made(2024));
    let (folder, keys) = loaded(&old);
    let path = |number: usize| folder.path().join(NAMES[number]);
    fs::write(path(1), &new[1]).unwrap();
    let error = keys.look(now()).unwrap_err().to_string();
    let expected = format!(
        "{}: it cannot be used with {} and {} (",
        path(1).display(),
        path(2).display(),
        path(0).display()
    );
    assert!(
        error.starts_with(&expected) && error.ends_with("; make another one"),
        "{error}"
    );
    uses(&keys, &old);
    fs::write(path(2), &new[2]).unwrap();
    assert_eq!(keys.look(now()).unwrap(), Look::New);
    uses(&keys, &new);
}

#[test]
fn half_a_file_of_any_kind_changes_nothing() {
    let (old, new) = (made(2023), made(2024));
    let (folder, keys) = loaded(&old);
    for number in 0..NAMES.len() {
        for keep in [0, new[number].len() / 2] {
            let mut texts = new.clone();
            texts[number].truncate(keep);
            write(folder.path(), &texts);
            let error = keys.look(now()).unwrap_err().to_string();
            assert!(error.contains(NAMES[number]), "{error}");
            uses(&keys, &old);
        }
    }
    // A whole certificate and half of another.
    for number in 0..2 {
        let mut texts = new.clone();
        texts[number].push_str(&old[1][..old[1].len() / 2]);
        write(folder.path(), &texts);
        let error = keys.look(now()).unwrap_err().to_string();
        assert!(error.contains(NAMES[number]), "{error}");
        uses(&keys, &old);
    }
    fs::remove_file(folder.path().join(NAMES[2])).unwrap();
    let error = keys.look(now()).unwrap_err().to_string();
    assert!(error.contains("own.key: cannot be read ("), "{error}");
    uses(&keys, &old);
}

/// A reader of PEM quotes what it does not understand, and a key has no business in a log.
#[test]
fn nothing_of_a_key_that_cannot_be_read_is_in_the_message() {
    let (old, new) = (made(2023), made(2024));
    let (folder, keys) = loaded(&old);
    for key in [new[2].replace('\n', " "), new[2].replace('\n', "\\n")] {
        let mut texts = new.clone();
        texts[2] = key;
        write(folder.path(), &texts);
        let error = keys.look(now()).unwrap_err().to_string();
        let reason = "(the key file holds no whole private key in PEM form)";
        assert!(error.contains(reason), "{error}");
        uses(&keys, &old);
    }
}

#[test]
fn a_certificate_out_of_its_time_changes_nothing() {
    let (old, new) = (made(2024), made(2023));
    let (folder, keys) = loaded(&old);
    write(folder.path(), &new);
    let error = keys.look(middle_of(2023)).unwrap_err().to_string();
    assert!(
        error.contains("own.crt: the certificate has expired; make another one"),
        "{error}"
    );
    let error = keys.look(middle_of(2019)).unwrap_err().to_string();
    assert!(
        error.contains("own.crt: the certificate is not valid yet; set the clock"),
        "{error}"
    );
    uses(&keys, &old);
}

#[test]
fn what_nothing_can_be_made_of_changes_nothing() {
    let (old, new) = (made(2023), made(2024));
    let (folder, mut keys) = loaded(&old);
    keys.build = Box::new(|_| Err("it is for somebody else".into()));
    write(folder.path(), &new);
    let error = keys.look(now()).unwrap_err().to_string();
    assert!(error.contains("(it is for somebody else)"), "{error}");
    uses(&keys, &old);
}
