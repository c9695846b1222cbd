//! A parsed document that remembers lines: types are read from its JSON form, errors find their way back by path.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A file may hold a whole cluster; what it may do to memory is bounded by its own size, and aliases by the parser.
const NODE_LIMIT: usize = 50_000_000;

/// A value and the line where it begins.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) line: u64,
    node: Node,
}

#[derive(Debug)]
enum Node {
    Scalar(Value),
    Items(Vec<Tree>),
    Fields(Vec<Field>),
}

#[derive(Debug)]
struct Field {
    key: String,
    line: u64,
    value: Tree,
}

/// Why a file is no YAML.
#[derive(Debug)]
pub(super) struct Unparsable {
    pub(super) line: Option<u64>,
    pub(super) message: String,
}

/// The documents of a file.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Tree>, Unparsable> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let line = 1 + good.split(|byte| *byte == b'\n').count().saturating_sub(1) as u64;
        Unparsable {
            line: Some(line),
            message: "the file is not UTF-8 text; save it as UTF-8".to_owned(),
        }
    })?;
    let mut budget = serde_saphyr::budget::Budget::default();
    budget.max_events = NODE_LIMIT;
    budget.max_nodes = NODE_LIMIT;
    budget.max_documents = NODE_LIMIT;
    budget.max_total_scalar_bytes = usize::MAX;
    // `y` and `on` are words: labels have such values, and nothing in a manifest is a boolean by that name.
    let options =
        serde_saphyr::options! { budget: Some(budget), strict_booleans: true, with_snippet: false };
    serde_saphyr::from_multiple_with_options::<Option<Tree>>(text, options)
        .map(|documents| documents.into_iter().flatten().collect())
        .map_err(|error| {
            let line = error
                .location()
                .map(|location| location.line())
                .filter(|line| *line > 0);
            let message = format!(
                "this is no valid YAML: {}",
                first_line(&error.without_snippet().to_string())
            );
            Unparsable { line, message }
        })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl Tree {
    pub(super) fn is_null(&self) -> bool {
        matches!(self.node, Node::Scalar(Value::Null))
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Tree> {
        self.fields()
            .iter()
            .find(|field| field.key == key)
            .map(|field| &field.value)
    }

    /// The text of a key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.node {
            Node::Scalar(Value::String(text)) => Some(text),
            Node::Scalar(_) | Node::Items(_) | Node::Fields(_) => None,
        }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Option<&[Tree]> {
        match &self.node {
            Node::Items(items) => Some(items),
            Node::Scalar(_) | Node::Fields(_) => None,
        }
    }

    fn fields(&self) -> &[Field] {
        match &self.node {
            Node::Fields(fields) => fields,
            Node::Scalar(_) | Node::Items(_) => &[],
        }
    }

    /// The same without lines.
    pub(super) fn to_json(&self) -> Value {
        match &self.node {
            Node::Scalar(value) => value.clone(),
            Node::Items(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Node::Fields(fields) => Value::Object(
                fields
                    .iter()
                    .map(|field| (field.key.clone(), field.value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    /// The line of the deepest part of a path (`spec.ingress[0].from`) that is there.
    pub(super) fn line_of(&self, path: &str) -> u64 {
        let path = path.trim_start_matches('.');
        if let Some((index, rest)) = path.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let item = self
                .items()
                .and_then(|items| items.get(index.parse::<usize>().ok()?));
            return item.map_or(self.line, |item| item.line_of(rest));
        }
        // Keys may hold dots themselves, as label keys do: the longest key that fits is meant.
        let ends = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        let fits = |field: &&Field| path.strip_prefix(field.key.as_str()).is_some_and(ends);
        match self
            .fields()
            .iter()
            .filter(fits)
            .max_by_key(|field| field.key.len())
        {
            Some(field) if field.key.len() == path.len() => field.line,
            Some(field) => field.value.line_of(&path[field.key.len()..]),
            None => self.line,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let node = Spanned::<Node>::deserialize(deserializer)?;
        Ok(Self {
            line: node.referenced.line(),
            node: node.value,
        })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Node::Scalar(Value::Number(number)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(Value::String(value.to_owned())))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(Value::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Tree>()? {
            items.push(item);
        }
        Ok(Node::Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let line = key.referenced.line();
            fields.push(Field {
                key: key.value,
                line,
                value: access.next_value()?,
            });
        }
        Ok(Node::Fields(fields))
    }
}
