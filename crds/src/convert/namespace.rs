//! `Namespace`.

use bulkhead_policy::model::{Kind, Namespace, Object};
use k8s_openapi::api::core::v1::Namespace as CoreNamespace;

use super::violation::Rejection;
use super::{Converted, metadata};

/// The label by which selectors name one namespace. The API server sets it; a manifest cannot give it another value.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Reads a namespace. One that is being deleted is there until its last workload is gone, its policies need not be.
///
/// # Errors
/// If it has no name.
pub fn namespace(object: &CoreNamespace) -> Result<Converted, Rejection> {
    let reference = metadata::cluster(Kind::Namespace, &object.metadata)?;
    let mut labels = metadata::labels(&object.metadata);
    labels.insert(NAME_LABEL.into(), reference.name.clone());
    let namespace = Namespace {
        name: reference.name,
        labels,
        closing: object.metadata.deletion_timestamp.is_some(),
    };
    Ok(Converted {
        object: Object::Namespace(namespace),
        faults: Vec::new(),
    })
}
