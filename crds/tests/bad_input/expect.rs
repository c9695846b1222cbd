//! One manifest, and the one problem that is expected of it.

use bulkhead_crds::manifest::{Manifest, read};

/// Reads one file and expects exactly one problem.
#[track_caller]
pub(crate) fn check(manifest: &str, expected: &str) {
    let Manifest {
        problems, objects, ..
    } = read("policies.yaml", manifest.as_bytes());
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with(expected),
        "\n expected {expected}\n but said {}",
        said[0]
    );
    assert!(
        objects.is_empty(),
        "nothing of it may be in force: {objects:?}"
    );
}

/// A policy of ours around one fragment; the fragment begins at line 5.
pub(crate) fn policy(spec: &str) -> String {
    format!(
        "apiVersion: bulkhead.dev/v1alpha1\nkind: SegmentationPolicy\nmetadata: {{name: p, namespace: web}}\nspec:\n{spec}\n"
    )
}

pub(crate) const ALLOW: &str = "  subjects: [{pods: {}}]\n  ingress:\n  - action: Allow\n";
