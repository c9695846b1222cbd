//! The maps with their types.

use super::sys::Raw;
use super::{Interfaces, KernelError, Mapped};
use aya::maps::{MapData, MapError, lpm_trie};
use bulkhead_datapath::abi::{
    Address, AllowanceValue, Capacity, CounterValue, DecisionKey, DecisionValue, FlowKey,
    FlowValue, FragmentKey, FragmentValue, MapName, NetworkKey, NetworkSlot, NetworkValue,
    NodeValue, PeerSlot, PeerValue, Plain, PortValue, TalkKey, TalkValue, WorkloadValue,
};
use std::path::Path;

/// An array that the agent changes in place.
pub type Array<T> = Mapped<T>;

/// A hash map.
#[derive(Debug)]
pub struct Hash<K: Plain, V: Plain> {
    name: MapName,
    inner: aya::maps::HashMap<MapData, Raw<K>, Raw<V>>,
}

/// What the kernel says when an entry is already there, or when there is room for no more.
const EXISTS: i32 = 17;
const TOO_BIG: i32 = 7;
const NO_SPACE: i32 = 28;
const BPF_NOEXIST: u64 = 1;

impl<K: Plain, V: Plain> Hash<K, V> {
    /// Looks a key up.
    pub fn get(&self, key: &K) -> Result<Option<V>, KernelError> {
        match self.inner.get(&Raw(*key), 0) {
            Ok(Raw(value)) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Puts an entry in, never over another (I5); says whether it is new.
    pub fn insert(&mut self, key: &K, value: &V) -> Result<bool, KernelError> {
        match self.inner.insert(Raw(*key), Raw(*value), BPF_NOEXIST) {
            Ok(()) => Ok(true),
            Err(source) if errno(&source) == Some(EXISTS) => Ok(false),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Takes an entry out; says whether it was there.
    pub fn remove(&mut self, key: &K) -> Result<bool, KernelError> {
        match self.inner.remove(&Raw(*key)) {
            Ok(()) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(source) if errno(&source) == Some(2) => Ok(false),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Takes every entry out.
    pub fn clear(&mut self) -> Result<(), KernelError> {
        for (key, _) in self.entries()? {
            self.remove(&key)?;
        }
        Ok(())
    }

    /// All entries. Those that come or go meanwhile may be missing.
    pub fn entries(&self) -> Result<Vec<(K, V)>, KernelError> {
        let mut entries = Vec::new();
        for key in self.inner.keys() {
            let Raw(key) = key.map_err(|source| self.failed(source))?;
            if let Some(value) = self.get(&key)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    fn failed(&self, source: MapError) -> KernelError {
        failed(self.name, source)
    }
}

/// The longest-prefix trie.
#[derive(Debug)]
pub struct Networks {
    inner: aya::maps::LpmTrie<MapData, [u8; 16], Raw<NetworkSlot>>,
}

impl Networks {
    /// The slot of the longest prefix that contains an address.
    pub fn find(&self, address: &Address) -> Result<Option<NetworkSlot>, KernelError> {
        match self
            .inner
            .get(&lpm_trie::Key::new(128, address.octets()), 0)
        {
            Ok(Raw(slot)) => Ok(Some(slot)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(failed(MapName::Networks, source)),
        }
    }

    /// The slot of the longest prefix that covers `key`; its own if it is there.
    pub fn get(&self, key: &NetworkKey) -> Result<Option<NetworkSlot>, KernelError> {
        match self
            .inner
            .get(&lpm_trie::Key::new(key.prefix_length, key.octets), 0)
        {
            Ok(Raw(slot)) => Ok(Some(slot)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(failed(MapName::Networks, source)),
        }
    }

    /// Puts a prefix in, never over another; says whether it is new.
    pub fn insert(&mut self, key: &NetworkKey, slot: NetworkSlot) -> Result<bool, KernelError> {
        match self.inner.insert(
            &lpm_trie::Key::new(key.prefix_length, key.octets),
            Raw(slot),
            BPF_NOEXIST,
        ) {
            Ok(()) => Ok(true),
            Err(source) if errno(&source) == Some(EXISTS) => Ok(false),
            Err(source) => Err(failed(MapName::Networks, source)),
        }
    }

    /// Takes a prefix out; says whether it was there.
    pub fn remove(&mut self, key: &NetworkKey) -> Result<bool, KernelError> {
        match self
            .inner
            .remove(&lpm_trie::Key::new(key.prefix_length, key.octets))
        {
            Ok(()) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(source) if errno(&source) == Some(2) => Ok(false),
            Err(source) => Err(failed(MapName::Networks, source)),
        }
    }

    /// All prefixes with their slots.
    pub fn entries(&self) -> Result<Vec<(NetworkKey, NetworkSlot)>, KernelError> {
        let mut entries = Vec::new();
        for entry in self.inner.iter() {
            let (key, Raw(slot)) = entry.map_err(|source| failed(MapName::Networks, source))?;
            entries.push((
                NetworkKey {
                    prefix_length: key.prefix_len(),
                    octets: key.data(),
                },
                slot,
            ));
        }
        Ok(entries)
    }
}

/// An array with a value for each processor.
pub struct PerCpuArray<T: Plain> {
    name: MapName,
    inner: aya::maps::PerCpuArray<MapData, Raw<T>>,
}

impl<T: Plain> PerCpuArray<T> {
    /// The values of all processors.
    pub fn get(&self, index: u32) -> Result<Vec<T>, KernelError> {
        let values = self
            .inner
            .get(&index, 0)
            .map_err(|source| failed(self.name, source))?;
        Ok(values.iter().map(|Raw(value)| *value).collect())
    }
}

/// A hash with a value for each processor.
pub struct PerCpuHash<K: Plain, V: Plain> {
    name: MapName,
    inner: aya::maps::PerCpuHashMap<MapData, Raw<K>, Raw<V>>,
}

impl<K: Plain, V: Plain> PerCpuHash<K, V> {
    /// All entries. Those that come or go meanwhile may be missing.
    pub fn entries(&self) -> Result<Vec<(K, Vec<V>)>, KernelError> {
        let mut entries = Vec::new();
        for key in self.inner.keys() {
            let key = key.map_err(|source| failed(self.name, source))?;
            if let Some(values) = self.get(&key.0)? {
                entries.push((key.0, values));
            }
        }
        Ok(entries)
    }

    /// The values of all processors.
    pub fn get(&self, key: &K) -> Result<Option<Vec<V>>, KernelError> {
        match self.inner.get(&Raw(*key), 0) {
            Ok(values) => Ok(Some(values.iter().map(|Raw(value)| *value).collect())),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) => Err(failed(self.name, source)),
        }
    }

    /// Takes every entry out.
    pub fn drain(&mut self) -> Result<Vec<(K, Vec<V>)>, KernelError> {
        let mut drained = Vec::new();
        for (key, _) in self.entries()? {
            drained.extend(self.take(&key)?.map(|values| (key, values)));
        }
        Ok(drained)
    }

    /// Takes an entry out and returns what it was at the last moment: only what a program adds in the instant between is lost.
    pub fn take(&mut self, key: &K) -> Result<Option<Vec<V>>, KernelError> {
        let values = self.get(key)?;
        match self.inner.remove(&Raw(*key)) {
            Ok(()) => Ok(values),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(source) if errno(&source) == Some(2) => Ok(None),
            Err(source) => Err(failed(self.name, source)),
        }
    }
}

/// All maps but the ring of events, which has its reader in [`super::Events`].
pub struct Maps {
    /// NODE.
    pub node: Array<NodeValue>,
    /// INTERFACES, and DIRECT.
    pub interfaces: Interfaces,
    /// WORKLOADS.
    pub workloads: Array<WorkloadValue>,
    /// ALLOWANCES.
    pub allowances: Array<AllowanceValue>,
    /// PEERS.
    pub peers: Hash<Address, PeerSlot>,
    /// CLASSES.
    pub classes: Array<PeerValue>,
    /// NETWORKS.
    pub networks: Networks,
    /// NETWORK_CLASSES.
    pub network_classes: Array<NetworkValue>,
    /// PORTS.
    pub ports: Array<PortValue>,
    /// DECISIONS.
    pub decisions: Hash<DecisionKey, DecisionValue>,
    /// EXPIRIES.
    pub expiries: Array<u64>,
    /// NODE_ADDRESSES.
    pub node_addresses: Hash<Address, u32>,
    /// FLOWS.
    pub flows: Hash<FlowKey, FlowValue>,
    /// FRAGMENTS.
    pub fragments: Hash<FragmentKey, FragmentValue>,
    /// TALKS.
    pub talks: PerCpuHash<TalkKey, TalkValue>,
    /// COUNTERS.
    pub counters: PerCpuArray<CounterValue>,
    /// LOSSES.
    pub losses: PerCpuArray<u64>,
    /// How much each map holds.
    pub capacity: Capacity,
}

impl Maps {
    /// Opens the maps that are pinned in a folder, as large as they are. Nothing is created.
    pub fn pinned(folder: &Path) -> Result<Self, KernelError> {
        let open = |name: MapName| {
            MapData::from_pin(folder.join(name.name())).map_err(|source| failed(name, source))
        };
        let size = |name: MapName| {
            let info = open(name)?.info().map_err(|source| failed(name, source))?;
            Ok::<_, KernelError>(info.max_entries())
        };
        let capacity = Capacity {
            workloads: size(MapName::Workloads)?,
            peers: size(MapName::Classes)?,
            networks: size(MapName::NetworkClasses)?,
            decisions: size(MapName::Decisions)?,
            expiries: size(MapName::Expiries)?,
            node_addresses: size(MapName::NodeAddresses)?,
            flows: size(MapName::Flows)?,
            fragments: size(MapName::Fragments)?,
            talks: size(MapName::Talks)?,
            event_bytes: size(MapName::Events)?,
        };
        Self::assemble(open, capacity)
    }

    /// Gives every map its type. `take` hands out each map once.
    pub(crate) fn assemble(
        mut take: impl FnMut(MapName) -> Result<MapData, KernelError>,
        capacity: Capacity,
    ) -> Result<Self, KernelError> {
        macro_rules! array {
            ($name:expr) => {{
                let data = take($name)?;
                Mapped::map(std::os::fd::AsFd::as_fd(data.fd()), capacity.of($name))?
            }};
        }
        macro_rules! hash {
            ($name:expr) => {
                Hash {
                    name: $name,
                    inner: typed($name, aya::maps::Map::HashMap(take($name)?))?,
                }
            };
        }
        Ok(Self {
            node: array!(MapName::Node),
            interfaces: Interfaces {
                hash: hash!(MapName::Interfaces),
                direct: array!(MapName::Direct),
            },
            workloads: array!(MapName::Workloads),
            allowances: array!(MapName::Allowances),
            peers: hash!(MapName::Peers),
            classes: array!(MapName::Classes),
            networks: Networks {
                inner: typed(
                    MapName::Networks,
                    aya::maps::Map::LpmTrie(take(MapName::Networks)?),
                )?,
            },
            network_classes: array!(MapName::NetworkClasses),
            ports: array!(MapName::Ports),
            decisions: hash!(MapName::Decisions),
            expiries: array!(MapName::Expiries),
            node_addresses: hash!(MapName::NodeAddresses),
            flows: hash!(MapName::Flows),
            fragments: hash!(MapName::Fragments),
            talks: PerCpuHash {
                name: MapName::Talks,
                inner: typed(
                    MapName::Talks,
                    aya::maps::Map::PerCpuHashMap(take(MapName::Talks)?),
                )?,
            },
            counters: PerCpuArray {
                name: MapName::Counters,
                inner: typed(
                    MapName::Counters,
                    aya::maps::Map::PerCpuArray(take(MapName::Counters)?),
                )?,
            },
            losses: PerCpuArray {
                name: MapName::Losses,
                inner: typed(
                    MapName::Losses,
                    aya::maps::Map::PerCpuArray(take(MapName::Losses)?),
                )?,
            },
            capacity,
        })
    }
}

fn typed<T: TryFrom<aya::maps::Map, Error = MapError>>(
    name: MapName,
    map: aya::maps::Map,
) -> Result<T, KernelError> {
    T::try_from(map).map_err(|source| failed(name, source))
}

pub(crate) fn failed(map: MapName, reason: MapError) -> KernelError {
    match errno(&reason) {
        Some(TOO_BIG | NO_SPACE) => KernelError::Full { map },
        _ => KernelError::Map {
            map,
            reason: Box::new(reason),
        },
    }
}

fn errno(error: &MapError) -> Option<i32> {
    if let MapError::SyscallError(call) = error {
        call.io_error.raw_os_error()
    } else {
        None
    }
}
