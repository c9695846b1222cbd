//! Which crate may know which. Four layers, one direction: types ← pure logic ← index and encoding
//! ← shells.
//!
//! A row names what a crate may depend on directly; what lies below those it may name as well, for
//! an arrow that skips a layer points the same way. Development and build dependencies obey the same
//! table: a test that needs two rooms which do not know each other belongs to crate `tests`.

use super::{
    Finding,
    crates::{Crates, Dependency, Kind},
};

/// What a crate of ours may depend on, of ours.
enum Below {
    These(&'static [&'static str]),
    /// The harness joins rooms; nothing depends on it.
    Everything,
}

use Below::{Everything, These};

const ARROWS: &[(&str, Below)] = &[
    ("bulkhead-graph", These(&[])),
    ("bulkhead-policy", These(&["bulkhead-graph"])),
    ("bulkhead-datapath", These(&[])),
    (
        "bulkhead-encode",
        These(&["bulkhead-graph", "bulkhead-datapath"]),
    ),
    ("bulkhead-crds", These(&["bulkhead-policy"])),
    (
        "bulkhead-source",
        These(&["bulkhead-crds", "bulkhead-policy"]),
    ),
    ("bulkhead-wire", These(&["bulkhead-graph"])),
    ("bulkhead-keys", These(&["bulkhead-wire"])),
    ("bulkhead-settings", These(&[])),
    ("bulkhead-agent-ebpf", These(&["bulkhead-datapath"])),
    (
        "bulkhead-agent",
        These(&[
            "bulkhead-datapath",
            "bulkhead-encode",
            "bulkhead-wire",
            "bulkhead-keys",
            "bulkhead-settings",
        ]),
    ),
    (
        "bulkhead-controller",
        These(&[
            "bulkhead-source",
            "bulkhead-policy",
            "bulkhead-wire",
            "bulkhead-keys",
            "bulkhead-encode",
            "bulkhead-settings",
        ]),
    ),
    (
        "bulkhead-cli",
        These(&[
            "bulkhead-source",
            "bulkhead-policy",
            "bulkhead-wire",
            "bulkhead-encode",
            "bulkhead-settings",
            "bulkhead-agent",
        ]),
    ),
    // Whatever reads bytes that others wrote, and what it hands them on to.
    (
        "bulkhead-fuzz",
        These(&[
            "bulkhead-datapath",
            "bulkhead-encode",
            "bulkhead-crds",
            "bulkhead-wire",
            "bulkhead-agent",
        ]),
    ),
    ("bulkhead-tests", Everything),
    ("xtask", These(&[])),
];

/// What must not be reached, over however many steps (names, or their beginnings with `*`).
const NEVER: &[(&str, &[&str])] = &[
    ("bulkhead-graph", &["kube*", "k8s-openapi", "tokio", "aya*"]),
    (
        "bulkhead-policy",
        &["bulkhead-crds", "kube*", "k8s-openapi", "tokio", "aya*"],
    ),
    (
        "bulkhead-encode",
        &["kube*", "k8s-openapi", "tokio", "aya*"],
    ),
    (
        "bulkhead-agent",
        &["bulkhead-policy", "bulkhead-crds", "kube*", "k8s-openapi"],
    ),
];

/// Crates of others that these may name directly, and no further ones.
const ONLY: &[(&str, &[&str])] = &[
    ("bulkhead-datapath", &[]),
    ("bulkhead-agent-ebpf", &["aya-ebpf", "aya-log-ebpf"]),
];

pub(super) fn check(crates: &Crates) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in &crates.ours {
        if row(name).is_none() {
            findings.push(Finding::new(
                name,
                "has no row in the table of arrows (xtask/src/tidy/arrows.rs): decide what it may know",
            ));
        }
    }
    for dependency in &crates.declared {
        findings.extend(check_declared(crates, dependency));
    }
    for (from, forbidden) in NEVER {
        for (name, path) in crates.reached(from) {
            if forbidden.iter().any(|pattern| matches_name(pattern, name)) {
                findings.push(Finding::new(
                    *from,
                    format!(
                        "must never reach {name}, and does: {from} → {}",
                        path.join(" → ")
                    ),
                ));
            }
        }
    }
    findings.extend(check_kernel_feature(crates));
    findings
}

fn check_declared(crates: &Crates, dependency: &Dependency) -> Option<Finding> {
    let Dependency { from, to, kind, .. } = dependency;
    if crates.ours.contains(to) {
        if may_know(from, to) {
            return None;
        }
        return Some(Finding::new(
            from,
            format!(
                "has {kind:?} dependency {to}, and there is no such arrow: see ARCHITECTURE.md"
            ),
        ));
    }
    let (_, allowed) = ONLY.iter().find(|(name, _)| name == from)?;
    if *kind == Kind::Development || allowed.contains(&to.as_str()) {
        return None;
    }
    Some(Finding::new(
        from,
        format!("has {kind:?} dependency {to}; of others it may name only {allowed:?}"),
    ))
}

/// The command line builds on any desktop: what loads kernel programs is asked for.
fn check_kernel_feature(crates: &Crates) -> Option<Finding> {
    let arrow = crates
        .declared
        .iter()
        .find(|arrow| arrow.from == "bulkhead-cli" && arrow.to == "bulkhead-agent")?;
    let linux_only = arrow
        .target
        .as_ref()
        .is_some_and(|target| target.contains("linux"));
    let by_feature = arrow.optional
        && crates
            .cli_features
            .get("kernel")
            .is_some_and(|turned_on| turned_on.iter().any(|item| item == "dep:bulkhead-agent"));
    (!linux_only || !by_feature).then(|| {
        Finding::new(
            "bulkhead-cli",
            "may know bulkhead-agent only on Linux and by feature `kernel`: make it optional, \
             for target cfg(target_os = \"linux\"), turned on by kernel = [\"dep:bulkhead-agent\"]",
        )
    })
}

fn row(name: &str) -> Option<&'static Below> {
    ARROWS
        .iter()
        .find(|(from, _)| *from == name)
        .map(|(_, below)| below)
}

fn may_know(from: &str, to: &str) -> bool {
    match row(from) {
        None => false,
        Some(Everything) => true,
        Some(These(names)) => names.iter().any(|name| *name == to || may_know(name, to)),
    }
}

fn matches_name(pattern: &str, name: &str) -> bool {
    pattern
        .strip_suffix('*')
        .map_or(name == pattern, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All crates of the table, with these lines in their manifests.
    fn crates(arrows: &[(&str, &str, Kind)]) -> Crates {
        let mut crates = Crates {
            ours: ARROWS.iter().map(|(name, _)| (*name).to_owned()).collect(),
            ..Crates::default()
        };
        for (from, to, kind) in arrows {
            crates.declared.push(Dependency {
                from: (*from).to_owned(),
                to: (*to).to_owned(),
                kind: *kind,
                optional: false,
                target: None,
            });
            crates
                .linked
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        crates
    }

    fn places(crates: &Crates) -> Vec<String> {
        check(crates)
            .into_iter()
            .map(|finding| finding.place)
            .collect()
    }

    const NONE: [String; 0] = [];

    #[test]
    fn arrows_of_the_table_and_those_that_skip_a_layer_are_fine() {
        let crates = crates(&[
            ("bulkhead-policy", "bulkhead-graph", Kind::Normal),
            ("bulkhead-source", "bulkhead-graph", Kind::Normal),
            ("bulkhead-tests", "bulkhead-controller", Kind::Normal),
        ]);
        assert_eq!(places(&crates), NONE);
    }

    #[test]
    fn an_arrow_upwards_is_found_whatever_its_kind() {
        for kind in [Kind::Normal, Kind::Build, Kind::Development] {
            let crates = crates(&[("bulkhead-graph", "bulkhead-encode", kind)]);
            assert_eq!(places(&crates), ["bulkhead-graph"], "{kind:?}");
        }
    }

    #[test]
    fn nothing_may_know_the_controller_but_the_tests() {
        for from in ["bulkhead-cli", "bulkhead-agent", "xtask"] {
            let crates = crates(&[(from, "bulkhead-controller", Kind::Normal)]);
            assert_eq!(places(&crates), [from]);
        }
    }

    #[test]
    fn what_is_reached_over_several_steps_is_found() {
        let mut crates = crates(&[]);
        for (from, to) in [("bulkhead-policy", "petgraph"), ("petgraph", "tokio")] {
            let below = crates.linked.entry(from.to_owned()).or_default();
            below.insert(to.to_owned());
        }
        let findings = check(&crates);
        assert_eq!(findings.len(), 1);
        assert!(
            findings[0]
                .message
                .ends_with("bulkhead-policy → petgraph → tokio")
        );
    }

    #[test]
    fn the_agent_may_not_know_policy() {
        let crates = crates(&[("bulkhead-agent", "bulkhead-policy", Kind::Normal)]);
        // Once by the table, once by the list of what must never be reached.
        assert_eq!(places(&crates), ["bulkhead-agent", "bulkhead-agent"]);
    }

    #[test]
    fn the_datapath_stands_on_nothing_and_the_programs_on_aya_alone() {
        let crates = crates(&[
            ("bulkhead-datapath", "serde", Kind::Normal),
            ("bulkhead-datapath", "proptest", Kind::Development),
            ("bulkhead-agent-ebpf", "aya-ebpf", Kind::Normal),
            ("bulkhead-agent-ebpf", "libc", Kind::Normal),
        ]);
        assert_eq!(
            places(&crates),
            ["bulkhead-datapath", "bulkhead-agent-ebpf"]
        );
    }

    #[test]
    fn the_command_line_knows_the_agent_only_by_feature_and_on_linux() {
        let mut crates = crates(&[("bulkhead-cli", "bulkhead-agent", Kind::Normal)]);
        assert_eq!(places(&crates), ["bulkhead-cli"]);
        crates.declared[0].optional = true;
        crates.declared[0].target = Some("cfg(target_os = \"linux\")".to_owned());
        assert_eq!(places(&crates), ["bulkhead-cli"]);
        crates
            .cli_features
            .insert("kernel".to_owned(), vec!["dep:bulkhead-agent".to_owned()]);
        assert_eq!(places(&crates), NONE);
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let mut crates = crates(&[]);
        crates.ours.insert("bulkhead-new".to_owned());
        assert_eq!(places(&crates), ["bulkhead-new"]);
    }
}
