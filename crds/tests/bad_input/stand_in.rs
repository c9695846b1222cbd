//! What stands in for a restriction that cannot be read.

use bulkhead_crds::manifest::read;

#[test]
fn what_stands_in_for_an_unreadable_restriction_says_what_it_means() {
    let meaning = |manifest: &str| {
        let manifest = read("policies.yaml", manifest.as_bytes());
        let [unreadable] = &manifest.unreadable[..] else {
            panic!("{manifest:?}")
        };
        unreadable.stand_in.as_ref().map(|it| it.meaning.clone())
    };
    let said = |kind: &str, spec: &str| {
        let version = match kind {
            "NetworkPolicy" => "networking.k8s.io/v1",
            _ => "bulkhead.dev/v1alpha1",
        };
        meaning(&format!(
            "{{apiVersion: {version}, kind: {kind}, metadata: {{name: a}}, spec: {spec}}}"
        ))
        .unwrap()
    };
    for (kind, spec, expected) in [
        (
            "NetworkPolicy",
            "5",
            "its subjects are isolated in both directions and it allows nothing",
        ),
        (
            "SegmentationPolicy",
            "{subjects: 5, egress: [{action: Deny}]}",
            "it denies its subjects everything from them",
        ),
        (
            "SegmentationPolicy",
            "{subjects: 5, mode: Audit, egress: [{action: Deny}]}",
            "it stays in Audit and opens nothing",
        ),
        (
            "SegmentationPolicy",
            "{subjects: 5, egress: [{action: Allow}]}",
            "it allows nothing",
        ),
        (
            "Quarantine",
            "{subjects: [{workloads: {namespaces: {}}}]}",
            "nothing of it is in force: nobody can tell whom it protects",
        ),
        (
            "Segment",
            "{members: {}}",
            "a rule that names it allows nobody for it and denies everybody",
        ),
    ] {
        let meaning = said(kind, spec);
        assert!(meaning.contains(expected), "{kind} {spec}: {meaning}");
    }
    // Nothing stands in for what denies by being absent.
    assert_eq!(
        meaning("{apiVersion: v1, kind: Namespace, metadata: {name: a, lables: {}}}"),
        None
    );
}
