//! Manifests as people write them: YAML documents, JSON, Lists, into objects of the model, each with file and line.
//!
//! Invariant: an object comes out only if an API server with our definitions would have taken it. Everything else is a
//! [`Problem`] with file, line, field and remedy, and never touches the objects beside it.

mod problem;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_policy::model::{Kind, Object, ObjectRef};

use crate::convert::{
    Converted, Input, InputKind, Rejection, StandIn, input_kind, object, reference, stand_in,
};

pub use problem::{Problem, Severity};
use tree::Tree;

/// An object and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The object.
    pub object: Object,
    /// The line of its first key, from 1.
    pub line: u64,
}

/// An object that has a name but cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name.
    pub reference: ObjectRef,
    /// The line of its first key, from 1.
    pub line: u64,
    /// What is in force for it where no good version is known; `None` for kinds whose absence denies.
    pub stand_in: Option<StandIn>,
}

/// What one file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Good objects, in the order of the file.
    pub objects: Vec<Located>,
    /// Objects that have a name but cannot be read; whoever has a good version goes on with it.
    pub unreadable: Vec<Unreadable>,
    /// Whether something could not even be named: then any object that was in the file before may be meant.
    pub unnamed: bool,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// Reads a file.
pub fn read(file: &str, bytes: &[u8]) -> Manifest {
    let mut reader = Reader {
        file: file.into(),
        manifest: Manifest::default(),
        seen: BTreeMap::new(),
    };
    match tree::parse(bytes) {
        Ok(documents) => documents
            .iter()
            .for_each(|document| reader.document(document)),
        Err(error) => reader.unnamed(error.line, None, error.message),
    }
    reader.manifest
}

struct Reader {
    file: Arc<str>,
    manifest: Manifest,
    seen: BTreeMap<ObjectRef, u64>,
}

impl Reader {
    fn document(&mut self, document: &Tree) {
        if document.is_null() {
            return;
        }
        let kind = document.text("kind").unwrap_or_default();
        match kind
            .strip_suffix("List")
            .map(|kind| (kind, document.get("items")))
        {
            Some((kind, Some(items))) => match items.items() {
                Some(items) => items
                    .iter()
                    .for_each(|item| self.item(item, kind, document)),
                None => self.unnamed(
                    Some(items.line),
                    None,
                    "items of a List must be a list".to_owned(),
                ),
            },
            Some((_, None)) | None => self.object(
                document,
                kind,
                document.text("apiVersion").unwrap_or_default(),
            ),
        }
    }

    /// Items of a typed list, `PodList`, do not repeat their kind.
    fn item(&mut self, item: &Tree, kind: &str, list: &Tree) {
        let of_list = list.text("apiVersion").unwrap_or_default();
        let kind = item.text("kind").unwrap_or(kind);
        self.object(item, kind, item.text("apiVersion").unwrap_or(of_list));
    }

    fn object(&mut self, tree: &Tree, kind: &str, api_version: &str) {
        if kind.is_empty() || api_version.is_empty() {
            let field = if kind.is_empty() {
                "kind"
            } else {
                "apiVersion"
            };
            let message = format!(
                "this document has no {field}; a manifest needs apiVersion, kind and metadata.name"
            );
            return self.unnamed(Some(tree.line), None, message);
        }
        match input_kind(api_version, kind) {
            InputKind::Ignored => {}
            InputKind::Unknown(message) => {
                self.manifest.unnamed = true;
                self.unread(Severity::Error, kind, tree, message);
            }
            InputKind::Foreign(message) => self.unread(Severity::Warning, kind, tree, message),
            InputKind::Read(kind) => self.read(kind, tree),
        }
    }

    fn read(&mut self, kind: Kind, tree: &Tree) {
        let value = tree.to_json();
        let input = object(kind, &value);
        let violations = input
            .converted
            .as_ref()
            .map_or(&[][..], |converted| &converted.faults[..]);
        for fault in violations {
            let (line, object) = (tree.line_of(&fault.field), Some(describe(kind, tree)));
            self.problem(
                Some(line),
                object,
                Some(fault.field.clone()),
                fault.message.clone(),
            );
        }
        for field in &input.unknown_fields {
            let message = format!(
                "{} has no such field; correct its name or its place, see `kubectl explain {}`",
                kind.name(),
                kind.name().to_lowercase()
            );
            self.problem(
                Some(tree.line_of(field)),
                Some(describe(kind, tree)),
                Some(field.clone()),
                message,
            );
        }
        let stand_in = match &input {
            Input {
                converted: Ok(Converted { object, faults }),
                unknown_fields,
            } if faults.is_empty() && unknown_fields.is_empty() => {
                return self.accept(object.clone(), tree.line);
            }
            Input {
                converted: Ok(_), ..
            } => match input.closed() {
                Ok(converted) => StandIn::partial(converted),
                Err(_) => stand_in(kind, &value),
            },
            Input {
                converted: Err(rejection),
                ..
            } => {
                self.reject(rejection, tree);
                stand_in(kind, &value)
            }
        };
        match reference(kind, &value) {
            Some(reference) => self.manifest.unreadable.push(Unreadable {
                reference,
                line: tree.line,
                stand_in,
            }),
            None => self.manifest.unnamed = true,
        }
    }

    fn reject(&mut self, rejection: &Rejection, tree: &Tree) {
        let Rejection {
            object,
            field,
            message,
        } = rejection;
        self.problem(
            Some(tree.line_of(field)),
            Some(object.clone()),
            Some(field.clone()).filter(|field| !field.is_empty()),
            message.clone(),
        );
    }

    fn accept(&mut self, object: Object, line: u64) {
        let reference = object.reference();
        if let Some(first) = self.seen.get(&reference) {
            let message = format!(
                "it stands in this file already, at line {first}, and that one counts; remove one of them"
            );
            return self.problem(Some(line), Some(reference.to_string()), None, message);
        }
        self.seen.insert(reference, line);
        self.manifest.objects.push(Located { object, line });
    }

    fn unread(&mut self, severity: Severity, kind: &str, tree: &Tree, message: String) {
        let line = Some(tree.get("kind").map_or(tree.line, |kind| kind.line));
        let name = tree
            .get("metadata")
            .and_then(|metadata| metadata.text("name"));
        let object = Some(
            format!("{kind} {}", name.unwrap_or_default())
                .trim_end()
                .to_owned(),
        );
        let file = self.file.clone();
        self.manifest.problems.push(Problem {
            severity,
            file,
            line,
            object,
            field: None,
            message,
        });
    }

    fn unnamed(&mut self, line: Option<u64>, object: Option<String>, message: String) {
        self.manifest.unnamed = true;
        self.problem(line, object, None, message);
    }

    fn problem(
        &mut self,
        line: Option<u64>,
        object: Option<String>,
        field: Option<String>,
        message: String,
    ) {
        let file = self.file.clone();
        let problem = Problem {
            severity: Severity::Error,
            file,
            line,
            object,
            field,
            message,
        };
        self.manifest.problems.push(problem);
    }
}

fn describe(kind: Kind, tree: &Tree) -> String {
    reference(kind, &tree.to_json())
        .map_or_else(|| kind.name().to_owned(), |reference| reference.to_string())
}
