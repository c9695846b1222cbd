//! The objects of a set of manifest files, by name and by file. Pure: contents in, events out.
//!
//! Invariant: what is in force is a function of the present files and, for each file that cannot be read now, itself or a folder
//! around it, of its last good version; where there is none, something that denies stands in for a restriction. Of two files that hold the same
//! object the first one by name counts, those that could not be read now after all others, and both are named.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::path::Path;
use std::sync::Arc;

use bulkhead_crds::manifest::{self, Located, Manifest, Problem, Severity, Unreadable};
use bulkhead_policy::model::{Event, Object, ObjectRef};

use crate::review;

/// What was found in the place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Its bytes.
    Bytes(Vec<u8>),
    /// It is there but cannot be read; says why and what to do.
    Unreadable(String),
}

/// Every file that is there, by name.
pub type Scan = BTreeMap<Arc<str>, Content>;

/// Good objects by file, to be kept over a restart.
pub type LastGood = BTreeMap<Arc<str>, Vec<Object>>;

/// See the module.
#[derive(Debug, Default)]
pub struct Index {
    files: BTreeMap<Arc<str>, File>,
    in_force: BTreeMap<ObjectRef, Object>,
    problems: Vec<Problem>,
}

#[derive(Debug, Default)]
struct File {
    /// As last read; `None` if it could not be, or was remembered from before a restart.
    content: Option<Content>,
    objects: BTreeMap<ObjectRef, Located>,
    /// Those of the objects that were never good.
    stand_ins: BTreeSet<ObjectRef>,
    problems: Vec<Problem>,
    /// It could not be read now.
    is_stale: bool,
}

impl Index {
    /// An index that remembers good versions from before. They count only for files that cannot be read now.
    pub fn with_last_good(last_good: LastGood) -> Self {
        let file = |objects: Vec<Object>| {
            let located = |object: Object| (object.reference(), Located { object, line: 1 });
            File {
                objects: objects.into_iter().map(located).collect(),
                ..File::default()
            }
        };
        let files = last_good
            .into_iter()
            .map(|(name, objects)| (name, file(objects)))
            .collect();
        Self {
            files,
            ..Self::default()
        }
    }

    /// Takes in all files as they are now and says what that changes.
    pub fn handle(&mut self, scan: Scan) -> Vec<Event> {
        self.files
            .retain(|name, _| scan.contains_key(name) || is_hidden(name, &scan));
        for file in self.files.values_mut() {
            file.is_stale = true;
        }
        for (name, content) in scan {
            let is_stale = matches!(content, Content::Unreadable(_));
            let holds_files = is_stale && self.holds_files(&name);
            let file = self.files.entry(name.clone()).or_default();
            file.is_stale = is_stale;
            if file.content.as_ref() != Some(&content) {
                file.read(&name, content, holds_files);
            }
        }
        let (objects, clashes) = self.merge();
        self.problems = self
            .files
            .values()
            .flat_map(|file| file.problems.iter().cloned())
            .collect();
        self.problems.extend(clashes);
        self.problems.extend(self.review(&objects));
        let events = difference(&self.in_force, &objects);
        self.in_force = objects;
        events
    }

    /// What is wrong with the files as they were taken in last.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is to be said of names by whoever judges the files as they are, without name servers.
    pub fn unasked_names(&self) -> Vec<Problem> {
        let findings = review::unasked_names(self.in_force.values()).into_iter();
        findings.map(|finding| self.placed(finding)).collect()
    }

    /// The objects in force, in the order of names.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.in_force.values()
    }

    /// What a restarted index has to remember.
    pub fn last_good(&self) -> LastGood {
        let objects = |file: &File| {
            let good = file.objects.iter();
            good.filter(|(reference, _)| !file.stand_ins.contains(reference))
                .map(|(_, located)| located.object.clone())
                .collect()
        };
        self.files
            .iter()
            .map(|(name, file)| (name.clone(), objects(file)))
            .collect()
    }

    /// Whether it is a folder of which files are remembered.
    fn holds_files(&self, name: &str) -> bool {
        let folder = format!("{name}/");
        let mut after = self.files.range::<str, _>((Excluded(&*folder), Unbounded));
        after
            .next()
            .is_some_and(|(name, _)| name.starts_with(&*folder))
    }

    fn merge(&self) -> (BTreeMap<ObjectRef, Object>, Vec<Problem>) {
        let mut objects: BTreeMap<ObjectRef, Object> = BTreeMap::new();
        let mut origins: BTreeMap<&ObjectRef, (&Arc<str>, u64)> = BTreeMap::new();
        let mut clashes = Vec::new();
        let read_now = self.files.iter().filter(|(_, file)| !file.is_stale);
        let remembered = self.files.iter().filter(|(_, file)| file.is_stale);
        for (name, file) in read_now.chain(remembered) {
            for (reference, located) in &file.objects {
                if let Some((first, line)) = origins.get(reference) {
                    clashes.push(Problem {
                        severity: Severity::Error,
                        file: name.clone(),
                        line: Some(located.line),
                        object: Some(reference.to_string()),
                        field: None,
                        message: format!("it also stands in {first}:{line}, and that one counts; remove one of them"),
                    });
                } else {
                    origins.insert(reference, (name, located.line));
                    objects.insert(reference.clone(), located.object.clone());
                }
            }
        }
        (objects, clashes)
    }

    fn review(&self, objects: &BTreeMap<ObjectRef, Object>) -> Vec<Problem> {
        let findings = review::objects(objects.values()).into_iter();
        findings.map(|finding| self.placed(finding)).collect()
    }

    /// A warning with file and line.
    fn placed(&self, finding: review::Finding) -> Problem {
        let holders = self
            .files
            .iter()
            .filter_map(|(name, file)| Some((name, file.objects.get(&finding.object)?)));
        let (file, line) = holders
            .map(|(name, located)| (name.clone(), Some(located.line)))
            .next()
            .unwrap_or_else(|| ("".into(), None));
        Problem {
            severity: Severity::Warning,
            file,
            line,
            object: Some(finding.object.to_string()),
            field: finding.field,
            message: finding.message,
        }
    }
}

/// Whether a folder around it cannot be read, so that nobody knows whether it is still there.
fn is_hidden(name: &str, scan: &Scan) -> bool {
    let mut folders = Path::new(name).ancestors().skip(1);
    folders.any(|folder| {
        let found = folder.to_str().and_then(|folder| scan.get(folder));
        matches!(found, Some(Content::Unreadable(_)))
    })
}

impl File {
    /// `holds_files` says of what cannot be read that it is a folder with files.
    fn read(&mut self, name: &Arc<str>, content: Content, holds_files: bool) {
        match &content {
            Content::Bytes(bytes) => self.replace(name, manifest::read(name, bytes)),
            Content::Unreadable(why) => {
                let message = if holds_files {
                    format!("{why}; what its files said last stays in force")
                } else if self.has_good_version() {
                    format!("{why}; its last good version stays in force")
                } else {
                    why.clone()
                };
                // What stands in for something goes on, and so does what it means.
                let standing: BTreeSet<String> =
                    self.stand_ins.iter().map(ToString::to_string).collect();
                self.problems.retain(|problem| {
                    problem
                        .object
                        .as_ref()
                        .is_some_and(|it| standing.contains(it))
                });
                self.problems.push(Problem {
                    severity: Severity::Error,
                    file: name.clone(),
                    line: None,
                    object: None,
                    field: None,
                    message,
                });
            }
        }
        self.content = Some(content);
    }

    /// Whether it was ever read, in this run or before. Whoever asks about files once has nothing that stays in force.
    fn has_good_version(&self) -> bool {
        let mut all = self.objects.keys();
        all.any(|reference| !self.stand_ins.contains(reference))
    }

    /// New versions replace old ones; whatever the new contents may have meant but cannot be read stays as it was. What was
    /// never good has something standing in for it, which follows each new version.
    fn replace(&mut self, name: &Arc<str>, manifest: Manifest) {
        let unreadable = |reference: &ObjectRef| {
            let mut all = manifest.unreadable.iter();
            all.any(|unreadable| unreadable.reference == *reference)
        };
        let mut objects = std::mem::take(&mut self.objects);
        let mut stand_ins = std::mem::take(&mut self.stand_ins);
        objects.retain(|reference, _| match stand_ins.contains(reference) {
            true => manifest.unnamed && !unreadable(reference),
            false => manifest.unnamed || unreadable(reference),
        });
        for located in manifest.objects {
            let reference = located.object.reference();
            stand_ins.remove(&reference);
            objects.insert(reference, located);
        }
        self.problems = manifest.problems;
        stand_ins.retain(|reference| manifest.unnamed && objects.contains_key(reference));
        for Unreadable {
            reference,
            line,
            stand_in,
        } in manifest.unreadable
        {
            let Some(stand_in) = stand_in.filter(|_| !objects.contains_key(&reference)) else {
                continue;
            };
            self.problems.push(Problem {
                severity: Severity::Error,
                file: name.clone(),
                line: Some(line),
                object: Some(reference.to_string()),
                field: None,
                message: stand_in.meaning,
            });
            let object = stand_in.object;
            objects.insert(reference.clone(), Located { object, line });
            stand_ins.insert(reference);
        }
        (self.objects, self.stand_ins) = (objects, stand_ins);
    }
}

/// What leads from one set of objects to another.
fn difference(old: &BTreeMap<ObjectRef, Object>, new: &BTreeMap<ObjectRef, Object>) -> Vec<Event> {
    let gone = old.keys().filter(|reference| !new.contains_key(reference));
    let changed = new
        .iter()
        .filter(|(reference, object)| old.get(reference) != Some(object));
    gone.cloned()
        .map(Event::Delete)
        .chain(changed.map(|(_, object)| Event::Apply(object.clone())))
        .collect()
}
