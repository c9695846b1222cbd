//! Label selectors and the workloads they name.

use serde::{Deserialize, Serialize};

use super::{Interned, SortedMap, SortedSet};

/// How a requirement compares; the semantics are Kubernetes' own: `NotIn` also matches where the key is absent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// The key is there with one of the values.
    In(SortedSet<Interned>),
    /// The key is absent or has another value.
    NotIn(SortedSet<Interned>),
    /// The key is there.
    Exists,
    /// The key is absent.
    DoesNotExist,
}

/// One condition on one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// The label key.
    pub key: Interned,
    /// The condition.
    pub operator: Operator,
}

/// All requirements must hold; none means *everything*. A selector that is missing is not this type.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Normalised: sorted, without repetition.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        let mut requirements: Vec<Requirement> = requirements.into_iter().collect();
        requirements.sort();
        requirements.dedup();
        Self { requirements }
    }

    /// Every one of these labels.
    pub fn labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::new(labels.into_iter().map(|(key, value)| Requirement {
            key: key.into(),
            operator: Operator::In(SortedSet::from([value.into()])),
        }))
    }

    /// The requirements, sorted.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether the labels satisfy every requirement.
    pub fn matches(&self, labels: &SortedMap<Interned, Interned>) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.operator {
                Operator::In(values) => value.is_some_and(|value| values.contains(value)),
                Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }
}

/// The namespaces in which a selector looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NamespaceScope {
    /// This one. The scope of everything that is written in a namespace, and it cannot be left by labels.
    Named(Interned),
    /// Those whose labels match; `kubernetes.io/metadata.name` is always among them.
    Matching(LabelSelector),
}

/// Workloads by namespace, labels and service account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadSelector {
    /// Where.
    pub namespaces: NamespaceScope,
    /// Labels of the workload.
    pub labels: LabelSelector,
    /// Any of these service accounts; `None` puts no condition, an empty set matches nobody.
    pub service_accounts: Option<SortedSet<Interned>>,
}

impl WorkloadSelector {
    /// Every workload of the cluster.
    pub fn everything() -> Self {
        Self {
            namespaces: NamespaceScope::Matching(LabelSelector::default()),
            labels: LabelSelector::default(),
            service_accounts: None,
        }
    }

    /// Whether it matches every workload whatever its labels, and so also one whose labels are not known.
    pub fn is_universal(&self) -> bool {
        *self == Self::everything()
    }
}
