//! Whom a quarantine, a policy or a segment may name.

use crate::expect::{check, policy};

#[test]
fn a_quarantine_of_everybody_is_refused() {
    let quarantine = |subject: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: Quarantine\nmetadata: {{name: q}}\nspec:\n  reason: r\n  subjects: {subject}\n"
        )
    };
    let place = "policies.yaml:6: Quarantine q: spec.subjects";
    check(
        &quarantine("[{workloads: {namespaces: {}}}]"),
        &format!("{place}[0].workloads: this selector is empty and would cut off"),
    );
    check(
        &quarantine("[{workloads: {namespaces: {}, pods: {}}}]"),
        &format!("{place}[0].workloads: this selector is empty"),
    );
    check(&quarantine("[]"), &format!("{place}: the list is empty"));
    check(
        &quarantine("[{}]"),
        &format!(
            "{place}[0]: nothing known is set; set exactly one of workloads, segment, uid, owner"
        ),
    );
    check(
        &quarantine("[{uid: a, segment: b}]"),
        &format!("{place}[0]: several are set"),
    );
}

#[test]
fn g11_a_name_or_label_that_can_be_none_is_refused_and_protects_no_fewer() {
    let subject =
        |subject: &str| policy(&format!("  subjects: [{subject}]\n  isolates: [Ingress]"));
    let at = "policies.yaml:5: SegmentationPolicy web/p: spec.subjects[0]";
    check(
        &subject("{pods: {matchLabels: {app: '?!'}}}"),
        &format!("{at}.pods.matchLabels: \"?!\" can be no label's value"),
    );
    check(
        &subject("{pods: {matchExpressions: [{key: '?!', operator: Exists}]}}"),
        &format!("{at}.pods.matchExpressions[0].key: \"?!\" can be no label"),
    );
    check(
        &subject("{serviceAccounts: [Admin]}"),
        &format!("{at}.serviceAccounts[0]: \"Admin\" can be no object's name"),
    );
    let quarantine = |subject: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: Quarantine\nmetadata: {{name: q}}\nspec: {{reason: r, subjects: [{subject}]}}\n"
        )
    };
    let at = "policies.yaml:4: Quarantine q: spec.subjects[0]";
    check(
        &quarantine("{segment: Data Bases}"),
        &format!("{at}.segment: \"Data Bases\" can be no object's name"),
    );
    check(
        &quarantine("{owner: {namespace: web, kind: Stateful Set, name: cart}}"),
        &format!("{at}.owner.kind: \"Stateful Set\" can be no kind"),
    );
    check(
        &quarantine("{owner: {namespace: web, kind: CronJob, name: cart}}"),
        &format!("{at}.owner.kind: a CronJob is not told by its pods; name its Jobs"),
    );
    check(
        &quarantine("{owner: {namespace: web, kind: Pod, name: cart}}"),
        &format!("{at}.owner.kind: no pod makes pods; name it by its uid"),
    );
    check(
        &quarantine("{owner: {namespace: web, kind: Deployment, name: ''}}"),
        &format!("{at}.owner.name: the name is empty"),
    );
    check(
        &quarantine("{owner: {namespace: web, kind: Deployment, name: 'a b'}}"),
        &format!("{at}.owner.name: \"a b\" can be no object's name"),
    );
    check(
        &quarantine("{uid: '?!'}"),
        &format!("{at}.uid: \"?!\" can be no uid"),
    );
}

#[test]
fn a_segment_needs_somebody() {
    let segment = |spec: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: Segment\nmetadata: {{name: s}}\nspec: {spec}\n"
        )
    };
    check(
        &segment("{}"),
        "policies.yaml:4: Segment s: spec: a segment needs members, networks or domains",
    );
    check(
        &segment(
            "{networks: [{cidr: 10.0.0.0/8}], isolation: {ingress: Deny, egress: Allow, within: Allow}}",
        ),
        "policies.yaml:4: Segment s: spec.isolation: isolation protects members",
    );
    check(
        &segment("{members: [{namespaces: {}}], isolation: {ingress: Deny}}"),
        "policies.yaml:4: Segment s: spec.isolation.egress: missing field `egress`; add it",
    );
    check(
        &segment("{members: [{namespaces: {}}], domain: [example.org]}"),
        "policies.yaml:4: Segment s: spec.domain: Segment has no such field",
    );
}

#[test]
fn a_domain_is_one_host() {
    let segment = |domains: &str| {
        format!(
            "apiVersion: bulkhead.dev/v1alpha1\nkind: Segment\nmetadata: {{name: s}}\nspec: {{domains: {domains}}}\n"
        )
    };
    for (domains, problem) in [
        ("[]", "spec.domains: the list is empty"),
        (
            "[a.b, '*.example.org']",
            "spec.domains[1]: \"*.example.org\" is a wildcard, and wildcards are not supported",
        ),
        (
            "[203.0.113.7]",
            "spec.domains[0]: \"203.0.113.7\" is an address; write it as a range in spec.networks",
        ),
        (
            "[API.example.org.]",
            "spec.domains[0]: \"API.example.org.\" is not written as names are here; write api.example.org",
        ),
        (
            "[localhost]",
            "spec.domains[0]: \"localhost\" is no domain name; write one like api.example.org",
        ),
    ] {
        check(
            &segment(domains),
            &format!("policies.yaml:4: Segment s: {problem}"),
        );
    }
    let many: Vec<String> = (0..65)
        .map(|number| format!("h{number}.example.org"))
        .collect();
    check(
        &segment(&format!("[{}]", many.join(", "))),
        "policies.yaml:4: Segment s: spec.domains: 65 entries, at most 64 are possible",
    );
    check(
        &segment("[a.b], isolation: {ingress: Deny, egress: Allow, within: Allow}"),
        "policies.yaml:4: Segment s: spec.isolation: isolation protects members: name them, networks and domains cannot",
    );
}
