//! Getting programs and maps: loaded anew, or taken up from their pins.
//!
//! Maps are pinned under `<pins>/v<ABI>/maps`, programs under `…/programs/<digest of the object>`, links under
//! `…/links`. Another ABI version means another folder; nothing of an old layout is ever opened. The agent's own note
//! (`<pins>/slate`) belongs to no version.

use super::answers;
use super::clock;
use super::flows::Differences;
use super::grace::Grace;
use super::maps::{Maps, failed};
use super::slate::Slate;
use super::{Diagnostics, Events, KernelError};
use crate::reason::whole;
use aya::EbpfLoader;
use aya::maps::{Map, MapData};
use aya::programs::{Program, SchedClassifier};
use bulkhead_datapath::abi::{ABI_VERSION, CAPACITIES, Capacity, Hook, MapName, NodeValue};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

/// The object that was built with this binary; empty if there was none.
pub fn object() -> &'static [u8] {
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bulkhead"))
}

/// The folder of a version's links.
pub(crate) const LINKS: &str = "links";

/// The name of the agent's note, beside the folders of the versions.
const SLATE: &str = "slate";

/// How programs and maps are to be had.
#[derive(Clone, Debug)]
pub struct Options {
    /// A folder on a bpf file system; without one, everything ends with this process.
    pub pins: Option<PathBuf>,
    /// Sizes of the maps, where they have to be created.
    pub capacity: Capacity,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pins: None,
            capacity: CAPACITIES,
        }
    }
}

/// Whether there was something to take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Maps were created; the tables are empty.
    New,
    /// Maps were pinned; the tables hold what the last agent left. Programs may be new.
    Again,
}

/// Programs, maps and links of a node.
pub struct Kernel {
    /// The tables.
    pub maps: Maps,
    /// What the programs report.
    pub events: Events,
    /// What they say of themselves.
    pub diagnostics: Diagnostics,
    /// What the last agent noted.
    pub slate: Slate,
    /// How to wait for packets under way.
    pub grace: Grace,
    /// What budgets were off by at the last sweep.
    pub(super) differences: Differences,
    /// Whether the maps existed.
    pub opened: Opened,
    /// How long loading and verifying took; zero if the pinned programs were the same.
    pub load_time: Duration,
    programs: Programs,
    pub(crate) pins: Option<Pins>,
}

/// Programs as they came.
#[derive(Debug)]
enum Programs {
    Loaded(Box<aya::Ebpf>),
    Pinned {
        from_workload: Box<SchedClassifier>,
        to_workload: Box<SchedClassifier>,
    },
}

/// Where the pins of this ABI version lie.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    root: PathBuf,
    slate: PathBuf,
}

impl Pins {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            root: folder.join(format!("v{ABI_VERSION}")),
            slate: folder.join(SLATE),
        }
    }

    fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    pub(crate) fn links(&self) -> PathBuf {
        self.root.join(LINKS)
    }

    /// The folders of other ABI versions.
    pub(crate) fn other_versions(&self) -> Vec<PathBuf> {
        let folder = self.root.parent().into_iter();
        let entries = folder.flat_map(fs::read_dir).flatten().flatten();
        entries
            .filter(|entry| is_version(&entry.file_name()) && entry.path() != self.root)
            .map(|entry| entry.path())
            .collect()
    }
}

pub(crate) fn pin_failed(path: &Path) -> impl FnOnce(io::Error) -> KernelError {
    let path = path.to_owned();
    move |reason| KernelError::Pin { path, reason }
}

impl Kernel {
    /// Takes up what is pinned and still fits, and loads the rest.
    pub fn open(options: &Options) -> Result<Self, KernelError> {
        Self::open_object(object(), options)
    }

    /// As [`Kernel::open`], with another object: for tests of upgrades.
    pub fn open_object(object: &[u8], options: &Options) -> Result<Self, KernelError> {
        if object.is_empty() {
            return Err(KernelError::NoObject);
        }
        let Some(folder) = &options.pins else {
            return Self::load(object, options, None, &[]);
        };
        fs::create_dir_all(folder).map_err(pin_failed(folder))?;
        check_file_system(folder)?;
        let pins = Pins::new(folder);
        for path in [pins.maps(), pins.programs(), pins.links()] {
            fs::create_dir_all(&path).map_err(pin_failed(&path))?;
        }
        let programs = pins.programs().join(digest(object));
        if programs.join(Hook::ToWorkload.name()).exists() {
            return Self::take_up(&pins, &programs, options);
        }
        let mut kernel = Self::load(object, options, Some(pins), &[])?;
        fs::create_dir_all(&programs).map_err(pin_failed(&programs))?;
        for hook in Hook::ALL {
            let path = programs.join(hook.name());
            kernel
                .program_mut(hook)?
                .pin(&path)
                .map_err(|error| KernelError::Pin {
                    path,
                    reason: io::Error::other(whole(&error)),
                })?;
        }
        Ok(kernel)
    }

    /// Loads everything anew, and more programs of the object than an agent needs: for benchmarks.
    pub fn open_with(options: &Options, programs: &[&'static str]) -> Result<Self, KernelError> {
        Self::load(object(), options, None, programs)
    }

    fn load(
        object: &[u8],
        options: &Options,
        pins: Option<Pins>,
        more: &[&'static str],
    ) -> Result<Self, KernelError> {
        if object.is_empty() {
            return Err(KernelError::NoObject);
        }
        // Before anything is made that would have to be led somewhere.
        let grace = Grace::find()?;
        let opened = match &pins {
            Some(pins) if pins.maps().join(MapName::Losses.name()).exists() => Opened::Again,
            Some(_) | None => Opened::New,
        };
        let start = Instant::now();
        let mut loader = EbpfLoader::new();
        for map in MapName::ALL {
            loader.map_max_entries(map.name(), options.capacity.of(map));
            if let Some(pins) = &pins {
                loader.map_pin_path(map.name(), pins.maps().join(map.name()));
            }
        }
        let mut ebpf = loader
            .load(object)
            .map_err(|error| KernelError::Load(Box::new(error)))?;
        for name in Hook::ALL
            .iter()
            .map(|hook| hook.name())
            .chain(more.iter().copied())
        {
            classifier_mut(&mut ebpf, name)?
                .load()
                .map_err(|reason| KernelError::Program {
                    program: name,
                    reason: Box::new(reason),
                })?;
        }
        clock::set(&mut ebpf)?;
        let load_time = start.elapsed();
        let mut take = |name: MapName| {
            let map = ebpf
                .take_map(name.name())
                .ok_or(KernelError::Missing(name.name()))?;
            let data = data(map).ok_or(KernelError::Missing(name.name()))?;
            check(name, &data, &options.capacity)?;
            Ok(data)
        };
        let events = Events::new(take(MapName::Events)?)?;
        let maps = Maps::assemble(take, options.capacity)?;
        if opened == Opened::New {
            maps.node.write_limits(&NodeValue::DEFAULT);
        }
        let diagnostics = Diagnostics::of(classifier_mut(&mut ebpf, Hook::FromWorkload.name())?);
        let programs = Programs::Loaded(Box::new(ebpf));
        let slate = Slate::open(pins.as_ref().map(|pins| pins.slate.as_path()))?;
        Ok(Self {
            maps,
            events,
            diagnostics,
            slate,
            grace,
            differences: Differences::default(),
            opened,
            load_time,
            programs,
            pins,
        })
    }

    /// Opens pins whose programs came from the same object: nothing is loaded, nothing is written.
    fn take_up(pins: &Pins, programs: &Path, options: &Options) -> Result<Self, KernelError> {
        let grace = Grace::find()?;
        let take = |name: MapName| {
            let data = MapData::from_pin(pins.maps().join(name.name()))
                .map_err(|reason| failed(name, reason))?;
            check(name, &data, &options.capacity)?;
            Ok(data)
        };
        let program = |hook: Hook| {
            SchedClassifier::from_pin(programs.join(hook.name())).map_err(|reason| {
                KernelError::Program {
                    program: hook.name(),
                    reason: Box::new(reason),
                }
            })
        };
        let events = Events::new(take(MapName::Events)?)?;
        let from_workload = program(Hook::FromWorkload)?;
        Ok(Self {
            events,
            diagnostics: Diagnostics::of(&from_workload),
            slate: Slate::open(Some(&pins.slate))?,
            grace,
            differences: Differences::default(),
            maps: Maps::assemble(take, options.capacity)?,
            opened: Opened::Again,
            load_time: Duration::ZERO,
            programs: Programs::Pinned {
                from_workload: Box::new(from_workload),
                to_workload: Box::new(program(Hook::ToWorkload)?),
            },
            pins: Some(pins.clone()),
        })
    }

    /// Takes everything away that is pinned under `folder`, for every ABI version: links first, so packets pass at once. Says
    /// whether anything was.
    pub fn remove(folder: &Path) -> Result<bool, KernelError> {
        let versions = match fs::read_dir(folder) {
            Ok(versions) => versions,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(pin_failed(folder)(error)),
        };
        let mut found = false;
        for version in versions {
            let version = version.map_err(pin_failed(folder))?;
            // A bpf file system may hold other things than ours.
            if !is_version(&version.file_name()) {
                continue;
            }
            remove_version(&version.path())?;
            found = true;
        }
        let slate = folder.join(SLATE);
        match fs::remove_file(&slate) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(pin_failed(&slate)(error)),
            Ok(()) => Ok(true),
            Err(_) => Ok(found),
        }
    }

    /// Takes away what other ABI versions have pinned.
    pub(crate) fn remove_others(&self) -> Result<(), KernelError> {
        let mut others = self.pins.iter().flat_map(Pins::other_versions);
        others.try_for_each(|root| remove_version(&root))
    }

    /// The program of a hook.
    pub(crate) fn program(&self, hook: Hook) -> Result<&SchedClassifier, KernelError> {
        match (&self.programs, hook) {
            (Programs::Loaded(ebpf), hook) => match ebpf.program(hook.name()) {
                Some(Program::SchedClassifier(program)) => Ok(program),
                Some(_) | None => Err(KernelError::Missing(hook.name())),
            },
            (Programs::Pinned { from_workload, .. }, Hook::FromWorkload) => Ok(from_workload),
            (Programs::Pinned { to_workload, .. }, Hook::ToWorkload) => Ok(to_workload),
        }
    }

    /// Any program that [`Kernel::open_with`] loaded.
    pub(crate) fn program_named(
        &self,
        name: &'static str,
    ) -> Result<&SchedClassifier, KernelError> {
        let Programs::Loaded(ebpf) = &self.programs else {
            return Err(KernelError::Missing(name));
        };
        match ebpf.program(name) {
            Some(Program::SchedClassifier(program)) => Ok(program),
            Some(_) | None => Err(KernelError::Missing(name)),
        }
    }

    /// Makes the programs ask their tables anew, where they were loaded and not found.
    pub(super) fn forget_answers(&mut self) -> Result<(), KernelError> {
        match &mut self.programs {
            Programs::Loaded(ebpf) => answers::forget(ebpf),
            Programs::Pinned { .. } => Err(KernelError::Missing("tables of their own to empty")),
        }
    }

    pub(crate) fn program_mut(&mut self, hook: Hook) -> Result<&mut SchedClassifier, KernelError> {
        match (&mut self.programs, hook) {
            (Programs::Loaded(ebpf), hook) => classifier_mut(ebpf, hook.name()),
            (Programs::Pinned { from_workload, .. }, Hook::FromWorkload) => Ok(from_workload),
            (Programs::Pinned { to_workload, .. }, Hook::ToWorkload) => Ok(to_workload),
        }
    }
}

pub(super) fn classifier_mut<'a>(
    ebpf: &'a mut aya::Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, KernelError> {
    match ebpf.program_mut(name) {
        Some(Program::SchedClassifier(program)) => Ok(program),
        Some(_) | None => Err(KernelError::Missing(name)),
    }
}

fn data(map: Map) -> Option<MapData> {
    if let Map::Array(data)
    | Map::HashMap(data)
    | Map::LpmTrie(data)
    | Map::PerCpuArray(data)
    | Map::PerCpuHashMap(data)
    | Map::RingBuf(data) = map
    {
        Some(data)
    } else {
        None
    }
}

/// A pinned map is taken as it is; whether it is what we think, its sizes tell.
fn check(map: MapName, data: &MapData, capacity: &Capacity) -> Result<(), KernelError> {
    let info = data.info().map_err(|reason| failed(map, reason))?;
    let found = info.max_entries();
    let expected = capacity.of(map);
    if found == expected {
        Ok(())
    } else {
        Err(KernelError::Layout {
            map,
            what: "size",
            found,
            expected,
        })
    }
}

/// Whether a folder is named as [`Pins`] name theirs: `v` and a number.
fn is_version(name: &std::ffi::OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix('v'));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Pins can only be made on a bpf file system; anything else is found out here and not at the first map.
fn check_file_system(folder: &Path) -> Result<(), KernelError> {
    let found = statfs(folder)
        .map_err(io::Error::from)
        .map_err(pin_failed(folder))?;
    if found.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    Err(pin_failed(folder)(io::Error::other(
        "not on a bpf file system",
    )))
}

/// Links first: what is still attached must not be without its tables.
fn remove_version(root: &Path) -> Result<(), KernelError> {
    for part in [LINKS, "programs", "maps"] {
        remove_tree(&root.join(part))?;
    }
    fs::remove_dir(root).map_err(pin_failed(root))
}

fn remove_tree(path: &Path) -> Result<(), KernelError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(pin_failed(path)(error)),
    }
}

/// Names an object by its content.
fn digest(object: &[u8]) -> String {
    blake3::hash(object).to_hex().as_str()[..16].to_owned()
}
