//! Where manifests come from: files, folders and standard input. The answer is about what they say, not about where it stands.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot set up its input has failed"
)]

mod command;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::Value;

use command::{TWO_PODS, bulkhead, json};

/// A third pod, as it may stand in a document of its own and in a List.
const CART: &str = "{apiVersion: v1, kind: Pod, metadata: {name: cart, namespace: web}, spec: {containers: [{name: c, image: i}]}, \
                    status: {phase: Running, podIP: 10.0.0.3}}\n";

/// The policy of the two pods as JSON.
const POLICY: &str = r#"{
  "apiVersion": "networking.k8s.io/v1",
  "kind": "NetworkPolicy",
  "metadata": {"name": "only-frontend", "namespace": "db"},
  "spec": {
    "podSelector": {},
    "ingress": [{
      "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}}],
      "ports": [{"port": 5432}]
    }]
  }
}
"#;

/// Everything in one text.
fn world() -> String {
    format!("{TWO_PODS}---\n{CART}")
}

/// The two pods without their policy.
fn two_pods() -> &'static str {
    TWO_PODS.rsplit_once("---\n").unwrap().0
}

/// The same world as a folder: documents in a file, JSON in another one, a List in a folder below. Beside it lies what is no
/// manifest, or not for anybody to read.
fn spread(folder: &Path) {
    let put = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    fs::create_dir_all(folder.join("more")).unwrap();
    put("pods.yaml", two_pods());
    put("policy.json", POLICY);
    put(
        "more/list.yml",
        &format!("apiVersion: v1\nkind: List\nitems:\n- {CART}"),
    );
    put("README.md", "kind: [");
    put(".pods.yaml", "kind: [");
}

/// The verdicts on two ports, from the places that `-f` names.
fn verdicts(files: &[&Path], input: &str) -> Value {
    let mut arguments = vec!["reach", "--port", "tcp/5432", "--port", "tcp/22"];
    arguments.extend(["-o", "json"]);
    for file in files {
        arguments.extend(["-f", file.to_str().unwrap()]);
    }
    json(&bulkhead(&arguments, input))
}

/// What the command says where it gives no answer.
fn refusal(files: &[&Path], input: &str) -> String {
    let mut arguments = vec!["reach", "--port", "tcp/22"];
    for file in files {
        arguments.extend(["-f", file.to_str().unwrap()]);
    }
    let output = bulkhead(&arguments, input);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_same_world_has_the_same_verdicts_wherever_its_manifests_stand() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("spread");
    spread(&folder);
    // Who names a file means it, whatever it is called.
    let file = place.path().join("world.txt");
    fs::write(&file, world()).unwrap();
    let [pods, policy, more] = ["pods.yaml", "policy.json", "more"].map(|it| folder.join(it));

    let expected = verdicts(&[Path::new("-")], &world());
    // Three pods among themselves on two ports; both of `web` are kept from one port of the database.
    let all = expected["verdicts"].as_array().unwrap();
    let denied: Vec<&Value> = all.iter().filter(|it| it["allowed"] == false).collect();
    assert_eq!((all.len(), denied.len()), (18, 2));
    assert!(
        denied
            .iter()
            .all(|it| it["destination"] == "db/postgres" && it["port"] == 22)
    );

    for files in [
        vec![file.as_path()],
        vec![folder.as_path()],
        vec![more.as_path(), policy.as_path(), pods.as_path()],
        // What is named twice is read once.
        vec![folder.as_path(), pods.as_path()],
    ] {
        assert_eq!(verdicts(&files, ""), expected, "{files:?}");
    }
    // Beside files, standard input is one more place.
    let beside = [policy.as_path(), Path::new("-"), more.as_path()];
    assert_eq!(verdicts(&beside, two_pods()), expected);
}

#[test]
fn a_broken_file_of_a_folder_is_named_with_its_line_and_nothing_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    spread(folder.path());
    let broken = folder.path().join("more").join("broken.yaml");
    let typo = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: typo, namespace: web}\nspec:\n  podSelector: {}\n  \
                ingres: []\n";
    for (text, expected) in [
        (typo, ":6: NetworkPolicy web/typo: spec.ingres: "),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a\nspec: {}\n",
            ":4: this is no valid YAML: ",
        ),
    ] {
        fs::write(&broken, text).unwrap();
        let said = refusal(&[folder.path()], "");
        let named = format!("error: {}", broken.display());
        assert!(said.starts_with(&format!("{named}{expected}")), "{said}");
        // None of the others is blamed.
        let mut errors = said.lines().filter(|line| line.starts_with("error: "));
        assert!(errors.all(|line| line.starts_with(&named)), "{said}");
    }
    fs::remove_file(&broken).unwrap();
    verdicts(&[folder.path()], "");
}

#[test]
fn the_same_object_in_a_folder_and_on_standard_input_is_named_with_both_places() {
    let folder = tempfile::tempdir().unwrap();
    spread(folder.path());
    let said = refusal(&[folder.path(), Path::new("-")], CART);
    let list = folder.path().join("more").join("list.yml");
    let expected = format!(
        "standard input:1: Pod web/cart: it also stands in {}:4, and that one counts; remove one of them",
        list.display()
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn what_cannot_be_read_is_not_said_to_be_in_force_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    spread(folder.path());
    // Nobody, not even root, can read what leads to itself.
    let circle = folder.path().join("circle.yaml");
    symlink("circle.yaml", &circle).unwrap();
    let said = refusal(&[folder.path()], "");
    let expected = format!("error: {}: it cannot be read (", circle.display());
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("); make it readable\nbulkhead: "), "{said}");
    fs::remove_file(&circle).unwrap();

    let socket = folder.path().join("socket.yaml");
    let _listener = UnixListener::bind(&socket).unwrap();
    let said = refusal(&[folder.path()], "");
    let expected = format!(
        "error: {}: it is a socket and no file; remove it, or put a file in its place\nbulkhead: ",
        socket.display()
    );
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn a_path_that_is_not_there_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    spread(folder.path());
    let missing = folder.path().join("missing.yaml");
    let said = refusal(&[folder.path(), missing.as_path()], "");
    let expected = format!(
        "bulkhead: {}: No such file or directory (os error 2); name a file or folder that can be read\n",
        missing.display()
    );
    assert_eq!(said, expected);
}
