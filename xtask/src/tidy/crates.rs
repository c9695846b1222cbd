//! The crates of the workspace as cargo sees them: what their manifests declare, and what is linked
//! in the end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Build,
    Development,
}

/// A line in a manifest.
#[derive(Debug, Clone)]
pub(super) struct Dependency {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) kind: Kind,
    pub(super) optional: bool,
    /// The `cfg(…)` it is limited to.
    pub(super) target: Option<String>,
}

/// The crates of the workspace and what they stand on.
#[derive(Debug, Default)]
pub(super) struct Crates {
    pub(super) ours: BTreeSet<String>,
    pub(super) declared: Vec<Dependency>,
    /// Everything that is linked, ours and others', as resolved (no development dependencies).
    pub(super) linked: BTreeMap<String, BTreeSet<String>>,
    /// Feature → what it turns on, of the command line's crate.
    pub(super) cli_features: BTreeMap<String, Vec<String>>,
}

impl Crates {
    /// From the output of `cargo metadata`.
    pub(super) fn from_metadata(text: &str) -> Result<Self> {
        let metadata: Value = serde_json::from_str(text).context("cargo metadata is no JSON")?;
        let mut crates = Self::default();
        let mut names = BTreeMap::new();
        let members: BTreeSet<&str> = list(&metadata, "workspace_members")
            .filter_map(Value::as_str)
            .collect();
        for package in list(&metadata, "packages") {
            let id = word(package, "id");
            let name = word(package, "name");
            names.insert(id, name);
            if !members.contains(id) {
                continue;
            }
            crates.ours.insert(name.to_owned());
            crates.declared.extend(declared(package, name));
            if name == "bulkhead-cli" {
                crates.cli_features = features(package);
            }
        }
        for node in list(&metadata["resolve"], "nodes") {
            let from = names.get(word(node, "id")).copied().unwrap_or_default();
            let below = crates.linked.entry(from.to_owned()).or_default();
            for dependency in list(node, "deps") {
                let linked = list(dependency, "dep_kinds").any(|kind| kind["kind"].is_null());
                if let (true, Some(name)) = (linked, names.get(word(dependency, "pkg"))) {
                    below.insert((*name).to_owned());
                }
            }
        }
        anyhow::ensure!(
            !crates.ours.is_empty(),
            "cargo metadata names no crate of the workspace"
        );
        Ok(crates)
    }

    pub(super) fn count(&self) -> usize {
        self.ours.len()
    }

    /// Everything `from` links, with one path to each.
    pub(super) fn reached(&self, from: &str) -> BTreeMap<&str, Vec<&str>> {
        let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut open: Vec<Vec<&str>> = vec![Vec::new()];
        while let Some(path) = open.pop() {
            let at = path.last().copied().unwrap_or(from);
            for below in self.linked.get(at).into_iter().flatten() {
                if !paths.contains_key(below.as_str()) {
                    let mut longer = path.clone();
                    longer.push(below);
                    paths.insert(below, longer.clone());
                    open.push(longer);
                }
            }
        }
        paths
    }
}

fn declared(package: &Value, from: &str) -> Vec<Dependency> {
    list(package, "dependencies")
        .map(|dependency| Dependency {
            from: from.to_owned(),
            to: word(dependency, "name").to_owned(),
            kind: match dependency["kind"].as_str() {
                Some("dev") => Kind::Development,
                Some("build") => Kind::Build,
                _ => Kind::Normal,
            },
            optional: dependency["optional"].as_bool().unwrap_or(false),
            target: dependency["target"].as_str().map(str::to_owned),
        })
        .collect()
}

fn features(package: &Value) -> BTreeMap<String, Vec<String>> {
    package["features"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, turned_on)| {
            let items = turned_on.as_array().into_iter().flatten();
            let items = items.filter_map(Value::as_str).map(str::to_owned);
            (name.clone(), items.collect())
        })
        .collect()
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn word<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_with_kinds_and_links() {
        let text = r#"{
            "workspace_members": ["id-graph"],
            "packages": [
                {"id": "id-graph", "name": "bulkhead-graph", "features": {}, "dependencies": [
                    {"name": "tokio", "kind": "dev", "optional": false, "target": null},
                    {"name": "blake3", "kind": null, "optional": false, "target": null}]},
                {"id": "id-blake", "name": "blake3", "features": {}, "dependencies": []},
                {"id": "id-tokio", "name": "tokio", "features": {}, "dependencies": []}],
            "resolve": {"nodes": [{"id": "id-graph", "deps": [
                {"pkg": "id-blake", "dep_kinds": [{"kind": null}]},
                {"pkg": "id-tokio", "dep_kinds": [{"kind": "dev"}]}]}]}}"#;
        let crates = Crates::from_metadata(text).expect("it is metadata");
        assert_eq!(crates.count(), 1);
        assert_eq!(crates.declared[0].kind, Kind::Development);
        let reached: Vec<_> = crates.reached("bulkhead-graph").into_keys().collect();
        assert_eq!(reached, ["blake3"]);
    }
}
