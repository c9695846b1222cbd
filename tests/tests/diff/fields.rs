//! Every field of every kind, in the paths of its schema, and what may be done to one of them.

use std::collections::BTreeSet;

use bulkhead_crds::kinds;
use serde_json::{Value, json};

/// Kinds of others that are read. Their schemas are not ours, so that their fields are those that stories have.
pub(crate) const UPSTREAM: &[&str] = &["NetworkPolicy", "ClusterNetworkPolicy"];

/// A place in an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Field(String),
    Item(usize),
}

/// A place, and the path of its field in the schema: `spec.ingress[].from[].segment`.
pub(crate) struct Place {
    pub(crate) steps: Vec<Step>,
    pub(crate) path: String,
}

/// What is done to a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Harm {
    /// It is not there.
    Deleted,
    /// It is there and says nothing: `{}`, `[]`, `""`, `null`.
    Emptied,
    /// It is something that nobody can read.
    Unreadable,
}

impl Harm {
    pub(crate) const ALL: [Self; 3] = [Self::Deleted, Self::Emptied, Self::Unreadable];
}

/// The paths of all fields of our kinds, with the kind: `Segment spec.networks[].cidr`.
pub(crate) fn of_schemas() -> BTreeSet<(String, String)> {
    let mut paths = BTreeSet::new();
    for definition in kinds::definitions() {
        let definition = serde_json::to_value(definition).unwrap();
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut own = Vec::new();
        walk(
            &schema["properties"]["spec"],
            "spec".to_owned(),
            false,
            &mut own,
        );
        // The status is nobody's intent, and a kind without a specification has nothing to lose.
        let has_fields = own.len() > 1;
        paths.extend(
            own.into_iter()
                .filter(|_| has_fields)
                .map(|path| (kind.to_owned(), path)),
        );
    }
    paths
}

fn walk(schema: &Value, path: String, is_open: bool, paths: &mut Vec<String>) {
    // What a map holds is named by whoever writes it; the map is the field.
    if !is_open {
        paths.push(path.clone());
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        walk(schema, format!("{path}.{name}"), false, paths);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], format!("{path}[]"), false, paths);
    }
    if schema["additionalProperties"].is_object() {
        walk(
            &schema["additionalProperties"],
            format!("{path}.*"),
            false,
            paths,
        );
    }
}

/// Fields of which the keys are chosen by whoever writes the object.
fn is_map(name: &str) -> bool {
    name == "matchLabels"
}

/// Every place in an object's specification.
pub(crate) fn places(object: &Value) -> Vec<Place> {
    let mut places = Vec::new();
    visit(
        &object["spec"],
        vec![Step::Field("spec".to_owned())],
        "spec".to_owned(),
        &mut places,
    );
    places
}

fn visit(value: &Value, steps: Vec<Step>, path: String, places: &mut Vec<Place>) {
    let extended = |step: Step| {
        let mut steps = steps.clone();
        steps.push(step);
        steps
    };
    match value {
        Value::Object(fields) => {
            let in_map = is_map(path.rsplit('.').next().unwrap_or_default());
            for (name, value) in fields {
                let path = format!("{path}.{}", if in_map { "*" } else { name });
                visit(value, extended(Step::Field(name.clone())), path, places);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                visit(
                    value,
                    extended(Step::Item(index)),
                    format!("{path}[]"),
                    places,
                );
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    places.push(Place { steps, path });
}

/// What stands at a place.
pub(crate) fn at<'v>(object: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(object, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Item(index) => value.get(index),
    })
}

fn at_mut<'v>(object: &'v mut Value, steps: &[Step]) -> Option<&'v mut Value> {
    steps.iter().try_fold(object, |value, step| match step {
        Step::Field(name) => value.get_mut(name),
        Step::Item(index) => value.get_mut(index),
    })
}

/// The object after each way of doing it that harm.
pub(crate) fn harmed(object: &Value, place: &Place, harm: Harm) -> Vec<Value> {
    let Some(old) = at(object, &place.steps) else {
        return Vec::new();
    };
    if harm == Harm::Deleted {
        return vec![without(object, &place.steps)];
    }
    let values = match harm {
        Harm::Emptied => vec![empty(old)],
        Harm::Deleted | Harm::Unreadable => unreadable(old),
    };
    values
        .into_iter()
        .map(|value| {
            let mut harmed = object.clone();
            *at_mut(&mut harmed, &place.steps).expect("it was there") = value;
            harmed
        })
        .collect()
}

fn without(object: &Value, steps: &[Step]) -> Value {
    let mut harmed = object.clone();
    let (last, parents) = steps.split_last().expect("a place is below the object");
    let parent = at_mut(&mut harmed, parents).expect("it was there");
    match last {
        Step::Field(name) => drop(parent.as_object_mut().unwrap().remove(name)),
        Step::Item(index) => drop(parent.as_array_mut().unwrap().remove(*index)),
    }
    harmed
}

fn empty(value: &Value) -> Value {
    match value {
        Value::Object(_) => json!({}),
        Value::Array(_) => json!([]),
        Value::String(_) => json!(""),
        Value::Null | Value::Bool(_) | Value::Number(_) => Value::Null,
    }
}

/// Of another type, and, where it is text or a number, one that means nothing.
fn unreadable(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(_) => vec![json!("?"), json!({"newerThanUs": {}})],
        Value::Array(_) => vec![json!("?"), json!(["?"]), json!([{"newerThanUs": {}}])],
        Value::String(_) => vec![json!({}), json!("?!"), json!(7)],
        Value::Number(_) => vec![json!("?"), json!(-1), json!(70_000), json!(1.5)],
        Value::Bool(_) | Value::Null => vec![json!("?")],
    }
}
