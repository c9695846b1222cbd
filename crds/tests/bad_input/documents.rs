//! Files that are no manifests, and manifests beside such.

use bulkhead_crds::manifest::read;

use crate::expect::check;

#[test]
fn broken_yaml_names_the_line() {
    check(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a\nspec: {}\n",
        "policies.yaml:4: this is no valid YAML: ",
    );
    check("a: 1\n\tb: 2\n", "policies.yaml:1: this is no valid YAML: ");
    check("kind: [", "policies.yaml:1: this is no valid YAML: ");
}

#[test]
fn a_file_that_is_no_text() {
    let manifest = read("policies.yaml", b"kind: Pod\nname: \xff\xfe\n");
    assert_eq!(
        manifest.problems[0].to_string(),
        "policies.yaml:2: the file is not UTF-8 text; save it as UTF-8"
    );
    assert!(manifest.unnamed);
}

#[test]
fn a_key_twice() {
    check(
        "apiVersion: v1\nkind: Pod\nkind: Node\n",
        "policies.yaml:3: this is no valid YAML: ",
    );
}

#[test]
fn no_kind_or_no_version() {
    check(
        "metadata: {name: a}\n",
        "policies.yaml:1: this document has no kind; a manifest needs",
    );
    check(
        "\n\nkind: Pod\n",
        "policies.yaml:3: this document has no apiVersion; a manifest needs",
    );
    check("- 1\n- 2\n", "policies.yaml:1: this document has no kind");
}

#[test]
fn names() {
    check(
        "{apiVersion: v1, kind: Pod, metadata: {}, spec: {containers: []}}",
        "policies.yaml:1: Pod: metadata.name: the object",
    );
    check(
        "{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: b}}",
        "policies.yaml:1: Namespace a: metadata.namespace: a Namespace has no namespace; remove `namespace: b`",
    );
}

#[test]
fn an_object_twice_in_a_file_names_the_first() {
    let text = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {x: y}}}\n";
    let manifest = read("policies.yaml", text.as_bytes());
    assert_eq!(manifest.objects.len(), 1);
    assert_eq!(
        manifest.problems[0].to_string(),
        "policies.yaml:3: Namespace a: it stands in this file already, at line 1, and that one counts; remove one of them"
    );
}

#[test]
fn good_objects_beside_bad_ones_are_read() {
    let text = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n---\nkind: Oops\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: b}}\n";
    let manifest = read("policies.yaml", text.as_bytes());
    let lines: Vec<u64> = manifest
        .objects
        .iter()
        .map(|located| located.line)
        .collect();
    assert_eq!(lines, [1, 5]);
    assert_eq!(manifest.problems.len(), 1);
}

#[test]
fn lists_and_json_are_manifests_too() {
    let list = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"List\",\n\t\"items\": [\n\t\t{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"a\"}},\n\t\t{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {}}\n\t]\n}\n";
    let manifest = read("list.json", list.as_bytes());
    assert_eq!(manifest.objects.len(), 1, "{:?}", manifest.problems);
    assert_eq!(manifest.objects[0].line, 5);
    assert_eq!(
        manifest.problems[0].to_string(),
        "list.json:6: Namespace: metadata.name: the object has no name; add one"
    );
    let typed = "{apiVersion: v1, kind: NamespaceList, items: [{metadata: {name: a}}]}";
    assert_eq!(read("list.yaml", typed.as_bytes()).problems, []);
    assert_eq!(read("list.yaml", typed.as_bytes()).objects.len(), 1);
}
