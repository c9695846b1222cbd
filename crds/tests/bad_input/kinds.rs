//! Kinds that there are not, or that are another product's.

use bulkhead_crds::manifest::{Manifest, read};

use crate::expect::check;

#[test]
fn an_unknown_kind_of_ours_lists_those_there_are() {
    check(
        "apiVersion: bulkhead.dev/v1alpha1\nkind: SegmentPolicy\nmetadata: {name: a}\n",
        "policies.yaml:2: SegmentPolicy a: there is no kind SegmentPolicy in bulkhead.dev/v1alpha1; there are Cluster",
    );
    check(
        "apiVersion: bulkhead.dev/v1\nkind: Segment\nmetadata: {name: a}\n",
        "policies.yaml:2: Segment a: this version of Bulkhead does not know Segment of bulkhead.dev/v1; write apiVersion",
    );
    check(
        "apiVersion: bulkhaed.dev/v1alpha1\nkind: Segment\nmetadata: {name: a}\n",
        "policies.yaml:2: Segment a: Segment is a kind of bulkhead.dev/v1alpha1, not of bulkhaed.dev/v1alpha1; correct",
    );
    check(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolice\nmetadata: {name: a}\n",
        "policies.yaml:2: NetworkPolice a: there is no kind NetworkPolice in networking.k8s.io/v1",
    );
}

#[test]
fn a_policy_of_another_product_is_a_warning_and_other_objects_are_nobodys_business() {
    check(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\n",
        "policies.yaml:2: CiliumNetworkPolicy a: Bulkhead does not read CiliumNetworkPolicy of cilium.io/v2; if it is",
    );
    let silent = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}\n---\n{apiVersion: v1, kind: Secret}\n";
    assert_eq!(
        read("policies.yaml", silent.as_bytes()),
        Manifest::default()
    );
}
