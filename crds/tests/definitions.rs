//! What stands in `deploy/crds` is what the types say, and keeps the promises that the schema has to keep.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use bulkhead_crds::kinds::definitions;
use serde_json::Value;

#[test]
fn the_files_are_what_the_types_say() {
    let output = Command::new(env!("CARGO_BIN_EXE_crdgen"))
        .arg("--check")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_kind_is_in_the_category_and_has_a_short_name_and_columns() {
    for definition in definitions() {
        let names = &definition.spec.names;
        assert_eq!(
            names.categories.as_deref(),
            Some(&["bulkhead".to_owned()][..]),
            "{}",
            names.kind
        );
        assert_eq!(
            names.short_names.as_ref().map(Vec::len),
            Some(1),
            "{}",
            names.kind
        );
        assert!(
            definition.spec.versions[0]
                .additional_printer_columns
                .is_some(),
            "{}",
            names.kind
        );
        assert!(
            names.kind == "Workload" || definition.spec.versions[0].subresources.is_some(),
            "{} has a status",
            names.kind
        );
    }
}

/// Calls `see` for every schema below one, with its path.
fn walk(schema: &Value, path: &str, see: &mut impl FnMut(&Value, &str)) {
    see(schema, path);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), see);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), see);
    }
}

fn schemas() -> Vec<(String, Value)> {
    let schema = |definition: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        let schema = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.clone().unwrap();
        (definition.spec.names.kind, serde_json::to_value(schema).unwrap())
    };
    definitions().into_iter().map(schema).collect()
}

#[test]
fn nothing_is_nullable_and_everything_is_bounded_and_described() {
    for (kind, schema) in schemas() {
        walk(&schema, &kind, &mut |schema, path| {
            assert_ne!(schema["nullable"], true, "{path}");
            if path != kind {
                assert!(
                    schema["description"].is_string() || path.ends_with("[]"),
                    "{path} has no description"
                );
            }
            if schema["type"] == "array" {
                assert!(schema["maxItems"].is_number(), "{path} is unbounded");
            }
        });
    }
}

#[test]
fn every_union_has_its_rule() {
    let unions = ["workloads", "range"];
    let mut found = 0;
    for (kind, schema) in schemas() {
        walk(&schema, &kind, &mut |schema, path| {
            let is_union = unions
                .iter()
                .any(|alternative| schema["properties"][alternative]["type"] == "object");
            if is_union {
                found += 1;
                let rules = schema["x-kubernetes-validations"].to_string();
                assert!(rules.contains("exists_one"), "{path}: {rules}");
            }
        });
    }
    // Peers and ports of both directions in three kinds, subjects in two.
    assert_eq!(found, 3 * 4 + 2);
}
