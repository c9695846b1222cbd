//! Label selectors, ours and upstream's.

use std::collections::BTreeMap;

use bulkhead_policy::model::{Interned, LabelSelector, Operator, Requirement, SortedSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as UpstreamSelector;

use super::syntax;
use super::violation::{Checked, Violation};
use crate::kinds;

/// One of our own selectors.
pub(super) fn selector(selector: &kinds::LabelSelector, field: &str) -> Checked<LabelSelector> {
    let mut requirements = equalities(&selector.match_labels, field)?;
    for (index, expression) in selector.match_expressions.iter().enumerate() {
        let operator = match expression.operator {
            kinds::LabelSelectorOperator::In => "In",
            kinds::LabelSelectorOperator::NotIn => "NotIn",
            kinds::LabelSelectorOperator::Exists => "Exists",
            kinds::LabelSelectorOperator::DoesNotExist => "DoesNotExist",
        };
        let field = format!("{field}.matchExpressions[{index}]");
        requirements.push(requirement(
            &expression.key,
            operator,
            &expression.values,
            &field,
        )?);
    }
    Ok(LabelSelector::new(requirements))
}

/// A selector of an upstream kind. `None` stands for a field that is missing and optional there.
pub(super) fn upstream(selector: &UpstreamSelector, field: &str) -> Checked<LabelSelector> {
    let mut requirements = match &selector.match_labels {
        Some(labels) => equalities(labels, field)?,
        None => Vec::new(),
    };
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let field = format!("{field}.matchExpressions[{index}]");
        let values = expression.values.as_deref().unwrap_or_default();
        requirements.push(requirement(
            &expression.key,
            &expression.operator,
            values,
            &field,
        )?);
    }
    Ok(LabelSelector::new(requirements))
}

fn equalities(labels: &BTreeMap<String, String>, field: &str) -> Checked<Vec<Requirement>> {
    let field = format!("{field}.matchLabels");
    let requirement = |(key, value): (&String, &String)| {
        syntax::label_key(key, &field)?;
        syntax::label_value(value, &field)?;
        Ok(Requirement {
            key: key.as_str().into(),
            operator: Operator::In(SortedSet::from([value.as_str().into()])),
        })
    };
    labels.iter().map(requirement).collect()
}

fn requirement(key: &str, operator: &str, values: &[String], field: &str) -> Checked<Requirement> {
    syntax::label_key(key, &format!("{field}.key"))?;
    for (index, value) in values.iter().enumerate() {
        syntax::label_value(value, &format!("{field}.values[{index}]"))?;
    }
    let set: SortedSet<Interned> = values.iter().map(|value| value.as_str().into()).collect();
    let operator = match (operator, set.is_empty()) {
        ("In", false) => Operator::In(set),
        ("NotIn", false) => Operator::NotIn(set),
        ("Exists", true) => Operator::Exists,
        ("DoesNotExist", true) => Operator::DoesNotExist,
        ("In" | "NotIn", true) => {
            let message = format!(
                "{operator} needs at least one value; add one, or use Exists or DoesNotExist"
            );
            return Err(Violation::new(format!("{field}.values"), message));
        }
        ("Exists" | "DoesNotExist", false) => {
            let message = format!("{operator} takes no values; remove them, or use In or NotIn");
            return Err(Violation::new(format!("{field}.values"), message));
        }
        _ => {
            let message =
                format!("unknown operator {operator:?}; use In, NotIn, Exists or DoesNotExist");
            return Err(Violation::new(format!("{field}.operator"), message));
        }
    };
    Ok(Requirement {
        key: key.into(),
        operator,
    })
}
