//! Which rule a packet has met: the manifests of the watched folder, judged by the oracle, read anew when somebody edits them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use bulkhead_crds::manifest;
use bulkhead_policy::eval::{Flow, World, eval};
use bulkhead_policy::model::{Event, Object, Timestamp};

/// The folder as it was read last.
#[derive(Debug)]
pub(super) struct Rules {
    folder: PathBuf,
    files: BTreeMap<PathBuf, Contents>,
    world: World,
}

/// What a file said when it was last readable.
#[derive(Debug)]
struct Contents {
    stamp: Stamp,
    objects: Vec<Object>,
}

/// Time and length: an edited file has another one.
type Stamp = (SystemTime, u64);

impl Rules {
    pub(super) fn of(folder: PathBuf) -> Self {
        Self {
            folder,
            files: BTreeMap::new(),
            world: World::default(),
        }
    }

    /// What denies a flow, or would if everything in audit were enforced. Nothing if the folder says otherwise by now.
    pub(super) fn denying(&mut self, flow: &Flow, now: Timestamp) -> Result<Option<String>> {
        self.refresh()?;
        let verdict = eval(&self.world, flow, now);
        let outcome = if verdict.allowed() {
            verdict.intended
        } else {
            verdict.enforced
        };
        let halves = [&outcome.egress, &outcome.ingress];
        Ok(halves
            .into_iter()
            .find(|half| !half.allowed)
            .map(|half| half.rule.to_string()))
    }

    fn refresh(&mut self) -> Result<()> {
        let found = stamps(&self.folder)?;
        if found.len() == self.files.len()
            && found
                .iter()
                .all(|(path, stamp)| self.files.get(path).is_some_and(|it| it.stamp == *stamp))
        {
            return Ok(());
        }
        self.files.retain(|path, _| found.contains_key(path));
        for (path, stamp) in found {
            let before = self.files.remove(&path);
            let contents = match before {
                Some(contents) if contents.stamp == stamp => contents,
                before => Contents {
                    stamp,
                    objects: read(&path)
                        .or(before.map(|it| it.objects))
                        .unwrap_or_default(),
                },
            };
            self.files.insert(path, contents);
        }
        self.world = World::default();
        let objects = self.files.values().flat_map(|it| &it.objects);
        objects.for_each(|object| self.world.apply(Event::Apply(object.clone())));
        Ok(())
    }
}

fn stamps(folder: &Path) -> Result<BTreeMap<PathBuf, Stamp>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut stamps = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        // Editors put other files beside the one that is edited.
        let is_manifest = path
            .extension()
            .is_some_and(|it| ["yaml", "yml", "json"].iter().any(|known| it == *known));
        if let (true, Ok(metadata)) = (is_manifest, fs::metadata(&path)) {
            stamps.insert(path, (metadata.modified()?, metadata.len()));
        }
    }
    Ok(stamps)
}

/// Nothing while the file is broken: then its last good version stays in force.
fn read(path: &Path) -> Option<Vec<Object>> {
    let manifest = manifest::read(&path.display().to_string(), &fs::read(path).ok()?);
    manifest.problems.is_empty().then(|| {
        manifest
            .objects
            .into_iter()
            .map(|located| located.object)
            .collect()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]
    use super::*;
    use crate::demo::application::Manifests;
    use bulkhead_policy::model::{Address, Protocol};
    use std::net::Ipv4Addr;

    /// From the build machine to the orders' database.
    fn intruding() -> Flow {
        let address = |host| Address::from(std::net::IpAddr::from(Ipv4Addr::new(10, 71, 2, host)));
        Flow {
            source: address(13),
            destination: address(12),
            protocol: Protocol::Tcp,
            port: 5432,
        }
    }

    #[test]
    fn an_edited_folder_is_read_again_and_a_broken_file_keeps_its_last_good_version() {
        let folder = std::env::temp_dir().join(format!("bulkhead-rules-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let manifests = Manifests::of_source_tree();
        for path in manifests.application().unwrap() {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        let mut rules = Rules::of(folder.clone());
        let mut denying = || rules.denying(&intruding(), Timestamp(0)).unwrap();
        assert_eq!(denying(), None);
        let policy = folder.join("20-data.yaml");
        let source = manifests.policies().unwrap();
        let source = source.iter().find(|it| it.ends_with("20-data.yaml"));
        fs::copy(source.unwrap(), &policy).unwrap();
        let rule = denying().unwrap();
        assert!(rule.contains("data/default-deny"), "{rule}");
        fs::write(&policy, "metadata: [").unwrap();
        assert_eq!(denying().as_deref(), Some(rule.as_str()));
        fs::remove_file(&policy).unwrap();
        assert_eq!(denying(), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
