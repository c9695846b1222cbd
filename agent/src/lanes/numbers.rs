//! Which number stands for which content. Rule sets and classes get a fresh number each time they come; nothing is
//! ever written under a number with another meaning than it had.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::{Class, ExpiryId, PortClass, RuleSet};
use bulkhead_encode::{ClassKey, Deadline, PortClassKey, PortLayout, RuleSetKey};

/// Blocks of 64 numbers that port classes can have.
pub(crate) const PORT_BLOCKS: u32 = 1 << 10;

/// The agent's own numbers. Content is named the same on every node; numbers mean something here and now only.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    pub(crate) rule_sets: BTreeMap<RuleSetKey, RuleSet>,
    pub(crate) classes: BTreeMap<ClassKey, Class>,
    pub(crate) ports: BTreeMap<PortClassKey, PortClass>,
    pub(crate) expiries: BTreeMap<Deadline, ExpiryId>,
    pub(crate) last_rule_set: u32,
    pub(crate) last_class: u32,
}

impl Numbers {
    /// The rule set that a number in a flow, event or talk stands for.
    pub fn rule_set(&self, number: RuleSet) -> Option<RuleSetKey> {
        self.rule_sets
            .iter()
            .find(|(_, own)| **own == number)
            .map(|(key, _)| *key)
    }

    /// The class that a number stands for.
    pub fn class(&self, number: Class) -> Option<ClassKey> {
        self.classes
            .iter()
            .find(|(_, own)| **own == number)
            .map(|(key, _)| *key)
    }

    /// Drops the number of a rule set, so that it gets a fresh one.
    pub(crate) fn forget_rule_set(&mut self, key: RuleSetKey) {
        self.rule_sets.remove(&key);
    }

    pub(crate) fn rule_set_for(&mut self, key: RuleSetKey) -> RuleSet {
        *self.rule_sets.entry(key).or_insert_with(|| {
            self.last_rule_set += 1;
            RuleSet(self.last_rule_set)
        })
    }

    pub(crate) fn class_for(&mut self, key: ClassKey) -> Class {
        *self.classes.entry(key).or_insert_with(|| {
            self.last_class += 1;
            Class(self.last_class)
        })
    }

    /// Gives numbers to new port classes, in blocks that nothing uses, because decisions about a block never change.
    /// `None` if there are no blocks left.
    pub(crate) fn lay_out_ports(
        &mut self,
        classes: &[bulkhead_encode::PortClass],
        used: &BTreeSet<u32>,
    ) -> Option<PortLayout> {
        let mut free = (0..PORT_BLOCKS).filter(|block| !used.contains(block));
        let mut fresh: BTreeMap<u8, Vec<PortClassKey>> = BTreeMap::new();
        for class in classes
            .iter()
            .filter(|class| !self.ports.contains_key(&class.key))
        {
            fresh.entry(class.group).or_default().push(class.key);
        }
        for keys in fresh.into_values() {
            let mut numbers = 0..0;
            for key in keys {
                let number = match numbers.next() {
                    Some(number) => number,
                    None => {
                        let block = free.next()?;
                        // Number 0 means "no class".
                        numbers = (block << 6).max(1)..(block + 1) << 6;
                        numbers.next()?
                    }
                };
                self.ports
                    .insert(key, PortClass(u16::try_from(number).ok()?));
            }
        }
        let wanted: BTreeSet<PortClassKey> = classes.iter().map(|class| class.key).collect();
        self.ports.retain(|key, _| wanted.contains(key));
        Some(PortLayout::new(
            classes.iter().map(|class| self.ports[&class.key]).collect(),
        ))
    }
}
