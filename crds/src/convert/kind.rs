//! Which kinds are read, and reading one of them from a JSON value.

use bulkhead_policy::model::Kind;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::violation::{Rejection, Violation};
use super::{Converted, unknown_field};
use crate::{kinds, upstream};

/// What is to be done with an object of some kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputKind {
    /// It is read.
    Read(Kind),
    /// Nothing depends on it.
    Ignored,
    /// It is meant for us, but nobody here understands it; the text says what to do.
    Unknown(String),
    /// It is somebody else's; if it was meant as a policy, it does nothing. The text says so.
    Foreign(String),
}

/// What [`object`] made of a value.
#[derive(Debug)]
pub struct Input {
    /// The object.
    pub converted: Result<Converted, Rejection>,
    /// Paths of fields that its kind does not have.
    pub unknown_fields: Vec<String>,
}

/// Groups of Kubernetes itself and of usual companions whose objects stand beside policies in folders.
const INNOCENT_GROUPS: [&str; 16] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "cert-manager.io",
    "coordination.k8s.io",
    "events.k8s.io",
    "kustomize.config.k8s.io",
    "monitoring.coreos.com",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// What an `apiVersion` and a `kind` mean to us.
pub fn input_kind(api_version: &str, kind: &str) -> InputKind {
    let known = match (api_version, kind) {
        ("v1", "Namespace") => Kind::Namespace,
        ("v1", "Pod") => Kind::Pod,
        ("v1", "Node") => Kind::Node,
        ("v1", "Service") => Kind::Service,
        ("v1", "ServiceAccount") => return InputKind::Ignored,
        ("discovery.k8s.io/v1", "EndpointSlice") => Kind::EndpointSlice,
        ("networking.k8s.io/v1", "NetworkPolicy") => Kind::NetworkPolicy,
        ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy") => Kind::ClusterNetworkPolicy,
        ("bulkhead.dev/v1alpha1", "Segment") => Kind::Segment,
        ("bulkhead.dev/v1alpha1", "SegmentationPolicy") => Kind::SegmentationPolicy,
        ("bulkhead.dev/v1alpha1", "ClusterSegmentationPolicy") => Kind::ClusterSegmentationPolicy,
        ("bulkhead.dev/v1alpha1", "Quarantine") => Kind::Quarantine,
        ("bulkhead.dev/v1alpha1", "Workload") => Kind::Workload,
        ("bulkhead.dev/v1alpha1", "NodeEnforcement") => return InputKind::Ignored,
        _ => return unknown_kind(api_version, kind),
    };
    InputKind::Read(known)
}

fn unknown_kind(api_version: &str, kind: &str) -> InputKind {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let ours = kinds::definitions()
        .into_iter()
        .find(|definition| definition.spec.names.kind == kind);
    match (group, ours) {
        (kinds::GROUP, Some(_)) => InputKind::Unknown(format!(
            "this version of Bulkhead does not know {kind} of {api_version}; write apiVersion: {}/{}",
            kinds::GROUP,
            kinds::VERSION
        )),
        (kinds::GROUP, None) => {
            let known: Vec<String> = kinds::definitions()
                .into_iter()
                .map(|definition| definition.spec.names.kind)
                .collect();
            InputKind::Unknown(format!(
                "there is no kind {kind} in {api_version}; there are {}",
                known.join(", ")
            ))
        }
        (_, Some(_)) => InputKind::Unknown(format!(
            "{kind} is a kind of {}/{}, not of {api_version}; correct apiVersion",
            kinds::GROUP,
            kinds::VERSION
        )),
        ("networking.k8s.io", None) if matches!(kind, "Ingress" | "IngressClass") => {
            InputKind::Ignored
        }
        (upstream::GROUP, None) if kind == "ClusterNetworkPolicy" => InputKind::Unknown(format!(
            "this version of Bulkhead does not know {kind} of {api_version}; write apiVersion: {}/{}",
            upstream::GROUP,
            upstream::VERSION
        )),
        (group, None) if INNOCENT_GROUPS.contains(&group) && !kind.contains("NetworkPolicy") => {
            InputKind::Ignored
        }
        ("networking.k8s.io", None) => InputKind::Unknown(format!(
            "there is no kind {kind} in {api_version} that Bulkhead reads; there is NetworkPolicy of networking.k8s.io/v1"
        )),
        (_, None) => InputKind::Foreign(format!(
            "Bulkhead does not read {kind} of {api_version}; if it is a policy, nothing enforces it here: write it \
             as NetworkPolicy (networking.k8s.io/v1) or SegmentationPolicy ({}/{})",
            kinds::GROUP,
            kinds::VERSION
        )),
    }
}

/// Reads an object of a kind and says which of its fields nobody knows.
pub fn object(kind: Kind, value: &Value) -> Input {
    let mut unknown_fields = Vec::new();
    let converted = convert(kind, value, &mut unknown_fields);
    // Our own types leave these two to whoever chose the type by them.
    unknown_fields.retain(|field| field != "apiVersion" && field != "kind");
    Input {
        converted,
        unknown_fields,
    }
}

/// Reads an object that an API server has accepted: fields that nobody here knows belong to newer versions, and what they
/// stand in fails closed.
///
/// # Errors
/// As the function of its kind.
pub fn plain_object(kind: Kind, value: &Value) -> Result<Converted, Rejection> {
    object(kind, value).closed()
}

impl Input {
    /// As far as it is understood, with everything closed that an unknown field may concern.
    ///
    /// # Errors
    /// If it could not be read at all, or nobody knows who is a member of it.
    pub fn closed(self) -> Result<Converted, Rejection> {
        let Self {
            converted,
            unknown_fields,
        } = self;
        unknown_field::close(converted?, &unknown_fields)
    }
}

fn convert(kind: Kind, value: &Value, unknown: &mut Vec<String>) -> Result<Converted, Rejection> {
    match kind {
        Kind::Namespace => super::namespace(&typed::<Namespace>(kind, value, unknown)?),
        Kind::Pod => super::pod(&typed::<Pod>(kind, value, unknown)?),
        Kind::Node => super::node(&typed::<Node>(kind, value, unknown)?),
        Kind::Service => super::service(&typed::<Service>(kind, value, unknown)?),
        Kind::EndpointSlice => {
            super::endpoint_slice(&typed::<EndpointSlice>(kind, value, unknown)?)
        }
        Kind::NetworkPolicy => {
            super::network_policy(&typed::<NetworkPolicy>(kind, value, unknown)?)
        }
        Kind::Segment => super::segment(&typed::<kinds::Segment>(kind, value, unknown)?),
        Kind::SegmentationPolicy => super::segmentation_policy(&typed(kind, value, unknown)?),
        Kind::ClusterSegmentationPolicy => {
            super::cluster_segmentation_policy(&typed(kind, value, unknown)?)
        }
        Kind::Quarantine => super::quarantine(&typed(kind, value, unknown)?),
        Kind::Workload => super::workload(&typed::<kinds::Workload>(kind, value, unknown)?),
        Kind::ClusterNetworkPolicy => super::cluster_network_policy(&typed(kind, value, unknown)?),
    }
}

fn typed<T: DeserializeOwned>(
    kind: Kind,
    value: &Value,
    unknown: &mut Vec<String>,
) -> Result<T, Rejection> {
    let reject = |violation: Violation| violation.into_rejection(described(kind, value));
    header(kind, value).map_err(reject)?;
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(value, &mut track);
    let typed = serde_ignored::deserialize(deserializer, |path| unknown.push(field_path(&path)));
    typed.map_err(|error: serde_json::Error| {
        let (field, message) = located(&track.path().to_string(), &error.to_string());
        reject(Violation::new(field, message))
    })
}

/// Whether the value may be an object of the kind at all. Items of a list need not repeat what they are.
fn header(kind: Kind, value: &Value) -> Result<(), Violation> {
    let Some(fields) = value.as_object() else {
        let message = "this is no object; write apiVersion, kind, metadata and spec";
        return Err(Violation::new("metadata", message));
    };
    if let Some(written) = fields.get("kind")
        && written.as_str() != Some(kind.name())
    {
        let message = format!("{written} is read as {0}; write kind: {0}", kind.name());
        return Err(Violation::new("kind", message));
    }
    if let Some(written) = fields.get("apiVersion") {
        let read = written
            .as_str()
            .map(|version| input_kind(version, kind.name()));
        if read != Some(InputKind::Read(kind)) {
            let message = format!(
                "{} is not read in version {written}; correct apiVersion",
                kind.name()
            );
            return Err(Violation::new("apiVersion", message));
        }
    }
    Ok(())
}

/// Where an error of the types is, and what to do about it. A field that is missing has no place of its own.
fn located(path: &str, error: &str) -> (String, String) {
    let path = if path == "." { "" } else { path };
    let missing = error
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split_once('`'));
    match missing {
        Some((field, _)) if path.is_empty() => (field.to_owned(), format!("{error}; add it")),
        Some((field, _)) => (format!("{path}.{field}"), format!("{error}; add it")),
        // No type of ours fails for an object as a whole but by a field that is missing.
        None if path.is_empty() => ("spec".to_owned(), format!("{error}; correct it")),
        None => (path.to_owned(), format!("{error}; correct it")),
    }
}

/// Kind and name, as far as an object that could not be read has them.
fn described(kind: Kind, value: &Value) -> String {
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match (text("/metadata/namespace"), text("/metadata/name")) {
        (_, "") => kind.name().to_owned(),
        ("", name) => format!("{} {name}", kind.name()),
        (namespace, name) => format!("{} {namespace}/{name}", kind.name()),
    }
}

fn field_path(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", field_path(parent)),
        Path::Map { parent, key } => match field_path(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => field_path(parent),
    }
}
