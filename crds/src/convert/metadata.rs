//! Names and labels of objects.

use bulkhead_policy::model::{Interned, Kind, ObjectRef, SortedMap};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::syntax;
use super::violation::{Rejection, Violation};

/// The name of a cluster-scoped object.
pub(super) fn cluster(kind: Kind, metadata: &ObjectMeta) -> Result<ObjectRef, Rejection> {
    let name = name(kind, metadata)?;
    if let Some(namespace) = metadata
        .namespace
        .as_deref()
        .filter(|namespace| !namespace.is_empty())
    {
        let message = format!(
            "a {} has no namespace; remove `namespace: {namespace}`",
            kind.name()
        );
        let violation = Violation::new("metadata.namespace", message);
        return Err(violation.into_rejection(format!("{} {name}", kind.name())));
    }
    Ok(ObjectRef::cluster(kind, name))
}

/// The name of a namespaced object; without a namespace it is in `default`, as for `kubectl apply`.
pub(super) fn namespaced(kind: Kind, metadata: &ObjectMeta) -> Result<ObjectRef, Rejection> {
    let name = name(kind, metadata)?;
    let namespace = metadata
        .namespace
        .as_deref()
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or("default");
    Ok(ObjectRef::namespaced(kind, namespace, name))
}

fn name(kind: Kind, metadata: &ObjectMeta) -> Result<&str, Rejection> {
    metadata
        .name
        .as_deref()
        .filter(|name| !name.is_empty())
        .ok_or_else(|| {
            Violation::new("metadata.name", "the object has no name; add one")
                .into_rejection(kind.name())
        })
}

/// Labels, shared.
pub(super) fn labels(metadata: &ObjectMeta) -> SortedMap<Interned, Interned> {
    let labels = metadata.labels.iter().flatten();
    labels
        .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
        .collect()
}

/// Names the incarnation. A manifest that never saw an API server has no uid, or one that none gives; its name stands for it,
/// and a pod and a declared workload of the same name are not the same.
pub(super) fn uid(metadata: &ObjectMeta, reference: &ObjectRef) -> Interned {
    let can_be_named = |uid: &&str| syntax::uid(uid, "").is_ok();
    match metadata.uid.as_deref().filter(can_be_named) {
        Some(uid) => uid.into(),
        None if reference.kind == Kind::Pod => {
            format!("pod/{}/{}", reference.namespace, reference.name).into()
        }
        None => format!("{}/{}", reference.namespace, reference.name).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_and_a_declared_workload_of_one_name_are_two() {
        let nameless = ObjectMeta::default();
        let of = |kind| uid(&nameless, &ObjectRef::namespaced(kind, "shop", "web"));
        assert_ne!(of(Kind::Pod), of(Kind::Workload));
        assert_eq!(&*of(Kind::Workload), "shop/web");
    }
}
