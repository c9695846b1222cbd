//! What is in force in the place of a policy or segment that cannot be read and of which no good version is known.
//!
//! Invariant: it denies whatever some reading of the object might have denied to those whom it can be seen to protect, and
//! allows nothing. What stands in for a namespaced object denies nobody outside its namespace.

use std::sync::Arc;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use bulkhead_policy::model::{
    Action, Direction, Interned, Isolation, Kind, LabelSelector, Membership, Mode, NamespaceScope,
    Network, Object, ObjectRef, Policy, Rule, Segment, SortedSet, Strength, Subject, Tier,
    Timestamp, WorkloadSelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as UpstreamSelector, Time};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::cluster_segmentation_policy::priority;
use super::instant::lifetime;
use super::unknown_field::{closed_isolation, deny_everything};
use super::{
    Converted, cluster_network_policy, cluster_segmentation_policy, domain, labels, network,
    quarantine, workload_selector,
};
use crate::{kinds, upstream};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// The object that stands in, under the same name.
    pub object: Object,
    /// What that means, for whoever has to correct the object.
    pub meaning: String,
}

impl StandIn {
    /// An object of which a part cannot be read. `None` for kinds whose absence denies.
    pub fn partial(converted: Converted) -> Option<Self> {
        let object = converted.object;
        let restricts = matches!(object, Object::Policy(_) | Object::Segment(_));
        let meaning = "no good version of it is known, and until all of it can be read, what cannot be read of it allows nothing and \
                       denies everything; correct it";
        restricts.then(|| Self {
            object,
            meaning: meaning.to_owned(),
        })
    }
}

/// What stands in for an object that cannot be read. `None` for kinds whose absence denies, and for objects without a name.
pub fn stand_in(kind: Kind, value: &Value) -> Option<StandIn> {
    let reference = reference(kind, value)?;
    let spec = value.get("spec").filter(|spec| spec.is_object());
    let spec = Spec::new(kind, spec.unwrap_or(&Value::Null));
    let object = match kind {
        Kind::NetworkPolicy => Object::Policy(Arc::new(spec.network_policy(reference))),
        Kind::SegmentationPolicy => Object::Policy(Arc::new(spec.segmentation_policy(reference))),
        Kind::ClusterSegmentationPolicy => {
            Object::Policy(Arc::new(spec.cluster_segmentation_policy(reference)))
        }
        Kind::ClusterNetworkPolicy => {
            Object::Policy(Arc::new(spec.cluster_network_policy(reference)))
        }
        Kind::Quarantine => Object::Policy(Arc::new(spec.quarantine(reference))),
        Kind::Segment => Object::Segment(Box::new(spec.segment(reference))),
        Kind::Namespace
        | Kind::Pod
        | Kind::Workload
        | Kind::Node
        | Kind::Service
        | Kind::EndpointSlice => return None,
    };
    let meaning = meaning(&object);
    Some(StandIn { object, meaning })
}

/// The name of an object that may be unreadable otherwise.
pub fn reference(kind: Kind, value: &Value) -> Option<ObjectRef> {
    let text = |field: &str| {
        let text = value.get("metadata")?.get(field)?.as_str()?;
        Some(text).filter(|text| !text.is_empty())
    };
    let name = text("name")?;
    Some(match kind {
        Kind::ClusterNetworkPolicy
        | Kind::ClusterSegmentationPolicy
        | Kind::Quarantine
        | Kind::Segment
        | Kind::Namespace
        | Kind::Node => ObjectRef::cluster(kind, name),
        Kind::NetworkPolicy
        | Kind::SegmentationPolicy
        | Kind::Pod
        | Kind::Workload
        | Kind::Service
        | Kind::EndpointSlice => {
            ObjectRef::namespaced(kind, text("namespace").unwrap_or("default"), name)
        }
    })
}

fn meaning(object: &Object) -> String {
    let directions = |policy: &Policy| {
        let speaks =
            |direction| policy.isolates.contains(&direction) || !policy.rules(direction).is_empty();
        match (speaks(Direction::Ingress), speaks(Direction::Egress)) {
            (true, true) => Some("in both directions"),
            (true, false) => Some("towards them"),
            (false, true) => Some("from them"),
            (false, false) => None,
        }
    };
    let known = "no good version of it is known, and until it can be read";
    match object {
        Object::Policy(policy) if policy.subjects.is_empty() => format!(
            "{known} nothing of it is in force: nobody can tell whom it protects; correct it at once"
        ),
        Object::Policy(policy) if policy.mode == Mode::Audit => {
            format!("{known} it stays in Audit and opens nothing; correct it")
        }
        Object::Policy(policy) => match directions(policy) {
            None => format!("{known} it allows nothing; correct it"),
            Some(directions)
                if policy.tier == Tier::Namespace
                    && policy.ingress.is_empty()
                    && policy.egress.is_empty() =>
            {
                format!(
                    "{known} its subjects are isolated {directions} and it allows nothing; correct it"
                )
            }
            Some(directions) => {
                format!("{known} it denies its subjects everything {directions}; correct it")
            }
        },
        Object::Segment(segment) if segment.members.unread => format!(
            "{known} a rule that names it allows nobody for it and denies everybody, and its isolation holds for those members \
             that can be read; correct it at once"
        ),
        Object::Segment(_) => {
            format!("{known} its members are isolated where it says nothing else; correct it")
        }
        Object::Namespace(_)
        | Object::Workload(..)
        | Object::Node(_)
        | Object::Service(_)
        | Object::EndpointSlice(_) => String::new(),
    }
}

/// The `spec` of an object, read piece by piece; `Null` where there is none.
#[derive(Clone, Copy)]
struct Spec<'v> {
    value: &'v Value,
    /// Whether it says something beside what its kind is known to have: that may be whatever seems to be absent.
    says_more: bool,
}

impl<'v> Spec<'v> {
    fn new(kind: Kind, value: &'v Value) -> Self {
        let known = FIELDS.get(&kind);
        let is_known = |field: &str| known.is_some_and(|fields| fields.contains(field));
        let mut fields = value.as_object().into_iter().flatten();
        let says_more = fields.any(|(field, _)| !is_known(field));
        Self { value, says_more }
    }

    fn get(self, field: &str) -> Option<&'v Value> {
        self.value.get(field).filter(|value| !value.is_null())
    }

    fn read<T: DeserializeOwned>(self, field: &str) -> Option<T> {
        typed(self.get(field)?)
    }

    /// Whether what it restricts may be written in words that nobody here knows, or is not there at all.
    fn is_lost(self) -> bool {
        self.says_more || self.says_none_of(&["isolates", "ingress", "egress"])
    }

    /// Whether none of these is said, so that nobody knows what the rest of it restricts.
    fn says_none_of(self, fields: &[&str]) -> bool {
        fields.iter().all(|field| self.get(field).is_none())
    }

    fn network_policy(self, object: ObjectRef) -> Policy {
        let selector = match self.get("podSelector") {
            None => Some(LabelSelector::everything()),
            Some(value) => typed::<UpstreamSelector>(value)
                .and_then(|selector| labels::upstream(&selector, "").ok()),
        };
        let selector = selector.unwrap_or_else(LabelSelector::everything);
        let egress = self
            .get("egress")
            .is_some_and(|list| list.as_array().is_none_or(|list| !list.is_empty()));
        let isolates = match self.get("policyTypes").map(Value::as_array) {
            _ if self.says_more
                || self.says_none_of(&["podSelector", "policyTypes", "ingress", "egress"]) =>
            {
                both()
            }
            None => directions(true, egress),
            Some(Some(list)) if list.is_empty() => directions(true, egress),
            Some(list) => named_directions(list),
        };
        let subjects = vec![in_namespace(&object, selector)];
        Policy {
            isolates,
            ..policy(object, Tier::Namespace, subjects)
        }
    }

    fn segmentation_policy(self, object: ObjectRef) -> Policy {
        let namespace = &object.namespace;
        let read = self
            .read::<Vec<kinds::SubjectWorkloads>>("subjects")
            .filter(|list| !list.is_empty())
            .and_then(|list| {
                let subject = |it| workload_selector::subject(it, namespace, "").ok();
                let selectors: Option<Vec<_>> = list.iter().map(subject).collect();
                Some(selectors?.into_iter().map(Subject::Selected).collect())
            });
        let everybody = || vec![in_namespace(&object, LabelSelector::everything())];
        let subjects = read.unwrap_or_else(everybody);
        let (active_from, expires_at) = self.lifetime();
        let is_lost = self.is_lost() && expires_at.is_none();
        let isolates = match self.get("isolates") {
            _ if is_lost => both(),
            None => SortedSet::new(),
            Some(value) => named_directions(value.as_array()),
        };
        Policy {
            mode: self.mode(),
            active_from,
            // Isolation that expires would open by itself.
            expires_at: expires_at.filter(|_| isolates.is_empty()),
            ingress: self.denials("ingress", "Allow"),
            egress: self.denials("egress", "Allow"),
            isolates,
            ..policy(object.clone(), Tier::Namespace, subjects)
        }
    }

    fn cluster_segmentation_policy(self, object: ObjectRef) -> Policy {
        let subjects = self.each("subjects", |subject| {
            cluster_segmentation_policy::subject(&subject, "").ok()
        });
        let (active_from, expires_at) = self.lifetime();
        Policy {
            mode: self.mode(),
            active_from,
            expires_at,
            ingress: self.denials("ingress", "Allow"),
            egress: self.denials("egress", "Allow"),
            ..policy(object, self.tier(), subjects)
        }
    }

    fn cluster_network_policy(self, object: ObjectRef) -> Policy {
        let subject = self
            .read::<upstream::ClusterNetworkPolicySubject>("subject")
            .and_then(|subject| cluster_network_policy::subject(&subject).ok());
        let subjects = subject.map(Subject::Selected).into_iter().collect();
        Policy {
            ingress: self.upstream_denials("ingress"),
            egress: self.upstream_denials("egress"),
            ..policy(object, self.tier(), subjects)
        }
    }

    /// A subject that cannot be read is left out: nobody is cut off by a guess.
    fn quarantine(self, object: ObjectRef) -> Policy {
        let subjects = self.each("subjects", |subject| quarantine::subject(&subject, "").ok());
        Policy {
            isolates: both(),
            expires_at: self.lifetime().1,
            ..policy(object, Tier::Quarantine, subjects)
        }
    }

    fn segment(self, object: ObjectRef) -> Segment {
        let selectors = self.each(
            "members",
            |Known(member): Known<kinds::ClusterWorkloads>| {
                workload_selector::cluster(&member, "").ok()
            },
        );
        let networks: Vec<Network> = self
            .each("networks", |Known(range): Known<kinds::Network>| {
                network::network(&range, "").ok()
            });
        let whole = |field: &str, read: usize| {
            self.get(field)
                .is_none_or(|list| list.as_array().is_some_and(|list| list.len() == read))
        };
        let domains: Vec<Interned> =
            self.each("domains", |name: String| domain::domain(&name, "").ok());
        let named = selectors.len() + networks.len() + domains.len() > 0;
        let unread = !(named
            && whole("members", selectors.len())
            && whole("networks", networks.len())
            && whole("domains", domains.len()));
        Segment {
            name: object.name,
            members: Membership {
                selectors,
                networks,
                partial: unread || !domains.is_empty(),
                domains,
                unread,
            },
            isolation: match self.get("isolation") {
                None if self.says_more => Some(closed_isolation()),
                written => written.map(isolation),
            },
            mode: self.mode(),
        }
    }

    /// Every item of a list that can be read.
    fn each<T: DeserializeOwned, R>(self, field: &str, read: impl Fn(T) -> Option<R>) -> Vec<R> {
        let items = self.get(field).and_then(Value::as_array);
        let items = items.into_iter().flatten();
        items.filter_map(|item| read(typed(item)?)).collect()
    }

    /// Without a tier or priority that can be read it stands where nothing opens before it.
    fn tier(self) -> Tier {
        let priority = self
            .read("priority")
            .and_then(|number| priority(number).ok())
            .unwrap_or_default();
        match self.get("tier").and_then(Value::as_str) {
            Some("Baseline") => Tier::Baseline(priority),
            Some(_) | None => Tier::Admin(priority),
        }
    }

    /// An object in Audit restricts nobody, whatever it says.
    fn mode(self) -> Mode {
        match self.get("mode").and_then(Value::as_str) {
            Some("Audit") => Mode::Audit,
            Some(_) | None => Mode::Enforce,
        }
    }

    fn lifetime(self) -> (Option<Timestamp>, Option<Timestamp>) {
        let (from, until) = (
            self.read::<Time>("activeFrom"),
            self.read::<Time>("expiresAt"),
        );
        lifetime(from.as_ref(), until.as_ref()).unwrap_or_default()
    }

    /// As [`Self::denials`]; an empty list is a valid one there and says nothing.
    fn upstream_denials(self, field: &str) -> Vec<Rule> {
        let is_empty = self
            .get(field)
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty);
        match is_empty {
            true => Vec::new(),
            false => self.denials(field, "Accept"),
        }
    }

    /// Rules of a direction that only allow are gone; if some may deny, or leave to others, everything is denied. An empty
    /// list is not valid in our kinds, and what it was is not known.
    fn denials(self, field: &str, allow: &str) -> Vec<Rule> {
        let opens = |rule: &Value| rule.get("action").and_then(Value::as_str) == Some(allow);
        let restricts = match self.get(field) {
            None => self.is_lost(),
            Some(list) => list
                .as_array()
                .is_none_or(|rules| rules.is_empty() || !rules.iter().all(opens)),
        };
        restricts.then(deny_everything).into_iter().collect()
    }
}

/// Which fields the `spec` of a kind that may restrict has.
static FIELDS: LazyLock<BTreeMap<Kind, BTreeSet<String>>> = LazyLock::new(|| {
    let ours = [
        Kind::SegmentationPolicy,
        Kind::ClusterSegmentationPolicy,
        Kind::Quarantine,
        Kind::Segment,
    ];
    let fields = |kind: Kind| {
        let definition = kinds::definitions()
            .into_iter()
            .find(|definition| definition.spec.names.kind == kind.name())?;
        let schema = definition.spec.versions.into_iter().next()?.schema?;
        let spec = schema.open_api_v3_schema?.properties?.remove("spec")?;
        Some(spec.properties?.into_keys().collect())
    };
    let upstream = |fields: &[&str]| fields.iter().map(|&field| field.to_owned()).collect();
    let mut all: BTreeMap<Kind, BTreeSet<String>> = ours
        .into_iter()
        .map(|kind| (kind, fields(kind).unwrap_or_default()))
        .collect();
    let fields = ["podSelector", "policyTypes", "ingress", "egress"];
    all.insert(Kind::NetworkPolicy, upstream(&fields));
    let fields = ["tier", "priority", "subject", "ingress", "egress"];
    all.insert(Kind::ClusterNetworkPolicy, upstream(&fields));
    all
});

/// A value without any field that nobody knows.
struct Known<T>(T);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut unknown = false;
        let known = serde_ignored::deserialize(deserializer, |_| unknown = true)?;
        match unknown {
            true => Err(D::Error::custom("a field is not known")),
            false => Ok(Self(known)),
        }
    }
}

fn typed<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

fn policy(object: ObjectRef, tier: Tier, subjects: Vec<Subject>) -> Policy {
    Policy {
        object,
        tier,
        subjects,
        isolates: SortedSet::new(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: Vec::new(),
        egress: Vec::new(),
    }
}

fn in_namespace(object: &ObjectRef, labels: LabelSelector) -> Subject {
    Subject::Selected(WorkloadSelector {
        namespaces: NamespaceScope::Named(object.namespace.clone()),
        labels,
        service_accounts: None,
    })
}

/// What is written there, and both directions if it is nothing or some of it is no direction.
fn named_directions(list: Option<&Vec<Value>>) -> SortedSet<Direction> {
    let direction = |value: &Value| match value.as_str() {
        Some("Ingress") => Some(Direction::Ingress),
        Some("Egress") => Some(Direction::Egress),
        Some(_) | None => None,
    };
    let read: Option<SortedSet<Direction>> =
        list.and_then(|list| list.iter().map(direction).collect());
    read.filter(|directions| !directions.is_empty())
        .unwrap_or_else(both)
}

fn both() -> SortedSet<Direction> {
    directions(true, true)
}

fn directions(ingress: bool, egress: bool) -> SortedSet<Direction> {
    let ingress = ingress.then_some(Direction::Ingress);
    let egress = egress.then_some(Direction::Egress);
    ingress.into_iter().chain(egress).collect()
}

/// Whatever does not clearly allow denies.
fn isolation(value: &Value) -> Isolation {
    let text = |field: &str| value.get(field).and_then(Value::as_str);
    let action = |field: &str| match text(field) {
        Some("Allow") => Action::Allow,
        Some(_) | None => Action::Deny,
    };
    Isolation {
        ingress: action("ingress"),
        egress: action("egress"),
        within: action("within"),
        strength: match text("strength") {
            Some("Default") => Strength::Default,
            None if value.get("strength").is_none() => Strength::Default,
            Some(_) | None => Strength::Boundary,
        },
    }
}
