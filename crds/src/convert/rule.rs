//! Rules of our policies.

use bulkhead_policy::model::{Action, Fault, Interned, Rule};

use super::violation::Checked;
use super::{peer, port};
use crate::kinds::{
    ClusterAction, ClusterEgressRule, ClusterIngressRule, EgressException, IngressException,
    NamespacedAction, NamespacedEgressRule, NamespacedIngressRule,
};

/// A rule that can be read for a given field, collecting what is not understood.
pub(super) trait ReadRule {
    /// What the rule needs to know of its policy.
    type Scope;
    fn read(&self, scope: &Self::Scope, field: &str, faults: &mut Vec<Fault>) -> Checked<Rule>;
}

/// Every rule of a list.
pub(super) fn rules<R: ReadRule>(
    rules: &[R],
    scope: &R::Scope,
    field: &str,
    faults: &mut Vec<Fault>,
) -> Checked<Vec<Rule>> {
    let read = |(index, rule): (usize, &R)| rule.read(scope, &format!("{field}[{index}]"), faults);
    rules.iter().enumerate().map(read).collect()
}

fn namespaced_action(action: NamespacedAction) -> Action {
    match action {
        NamespacedAction::Allow => Action::Allow,
        NamespacedAction::Deny => Action::Deny,
    }
}

fn cluster_action(action: ClusterAction) -> Action {
    match action {
        ClusterAction::Allow => Action::Allow,
        ClusterAction::Deny => Action::Deny,
        ClusterAction::Pass => Action::Pass,
    }
}

impl ReadRule for NamespacedIngressRule {
    type Scope = Interned;
    fn read(&self, namespace: &Interned, field: &str, faults: &mut Vec<Fault>) -> Checked<Rule> {
        Ok(Rule {
            name: self.name.as_str().into(),
            action: namespaced_action(self.action),
            peers: peer::namespaced(&self.from, namespace, &format!("{field}.from"), faults)?,
            ports: port::ports(&self.ports, &format!("{field}.ports"), faults)?,
        })
    }
}

impl ReadRule for NamespacedEgressRule {
    type Scope = Interned;
    fn read(&self, namespace: &Interned, field: &str, faults: &mut Vec<Fault>) -> Checked<Rule> {
        Ok(Rule {
            name: self.name.as_str().into(),
            action: namespaced_action(self.action),
            peers: peer::namespaced(&self.to, namespace, &format!("{field}.to"), faults)?,
            ports: port::ports(&self.ports, &format!("{field}.ports"), faults)?,
        })
    }
}

impl ReadRule for ClusterIngressRule {
    type Scope = ();
    fn read(&self, (): &(), field: &str, faults: &mut Vec<Fault>) -> Checked<Rule> {
        Ok(Rule {
            name: self.name.as_str().into(),
            action: cluster_action(self.action),
            peers: peer::cluster(&self.from, &format!("{field}.from"), faults)?,
            ports: port::ports(&self.ports, &format!("{field}.ports"), faults)?,
        })
    }
}

impl ReadRule for ClusterEgressRule {
    type Scope = ();
    fn read(&self, (): &(), field: &str, faults: &mut Vec<Fault>) -> Checked<Rule> {
        Ok(Rule {
            name: self.name.as_str().into(),
            action: cluster_action(self.action),
            peers: peer::cluster(&self.to, &format!("{field}.to"), faults)?,
            ports: port::ports(&self.ports, &format!("{field}.ports"), faults)?,
        })
    }
}

impl ReadRule for IngressException {
    type Scope = ();
    fn read(&self, (): &(), field: &str, faults: &mut Vec<Fault>) -> Checked<Rule> {
        super::limits::named(&self.name, &format!("{field}.name"))?;
        Ok(Rule {
            name: self.name.as_str().into(),
            action: Action::Allow,
            peers: peer::cluster(&self.from, &format!("{field}.from"), faults)?,
            ports: port::ports(&self.ports, &format!("{field}.ports"), faults)?,
        })
    }
}

impl ReadRule for EgressException {
    type Scope = ();
    fn read(&self, (): &(), field: &str, faults: &mut Vec<Fault>) -> Checked<Rule> {
        super::limits::named(&self.name, &format!("{field}.name"))?;
        Ok(Rule {
            name: self.name.as_str().into(),
            action: Action::Allow,
            peers: peer::cluster(&self.to, &format!("{field}.to"), faults)?,
            ports: port::ports(&self.ports, &format!("{field}.ports"), faults)?,
        })
    }
}
