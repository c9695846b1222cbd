//! The oracle.

use anyhow::Result;
use bulkhead_policy::eval::{Flow, Half, Verdict, World, eval};
use bulkhead_policy::model::{Event, Lease, Moment, Object};
use ipnet::IpNet;

use super::{Answer, Judge, Side};

/// The objects and the instant.
pub(crate) struct Oracle {
    world: World,
    at: Moment,
}

impl Oracle {
    /// A world of these objects.
    pub(crate) fn new(objects: &[Object], ranges: &[IpNet], at: Moment) -> Self {
        let mut world = World::new(ranges.iter().copied());
        objects
            .iter()
            .for_each(|object| world.apply(Event::Apply(object.clone())));
        Self { world, at }
    }

    /// Both verdicts with their provenance.
    pub(crate) fn verdict(&self, flow: &Flow) -> Verdict {
        eval(&self.world, flow, self.at)
    }

    /// After how long without the controller what is allowed ends, if it does.
    pub(crate) fn ends_unheard_after(&self, flow: &Flow) -> Option<Lease> {
        let allowed = |unheard_ms| {
            let at = Moment {
                unheard_ms,
                ..self.at
            };
            eval(&self.world, flow, at).allowed()
        };
        if !allowed(self.at.unheard_ms) {
            return None;
        }
        let mut leases: Vec<Lease> = self
            .world
            .policies()
            .filter_map(|policy| policy.max_staleness)
            .collect();
        leases.sort_unstable();
        leases.into_iter().find(|lease| !allowed(lease.0))
    }
}

impl Judge for Oracle {
    fn judge(&mut self, flow: &Flow) -> Result<Answer> {
        let verdict = self.verdict(flow);
        let side = |half: &Half| Side {
            allowed: half.allowed,
            rule: half.rule.to_string(),
        };
        Ok(Answer {
            allowed: verdict.allowed(),
            intended: verdict.intended(),
            egress: side(&verdict.enforced.egress),
            ingress: side(&verdict.enforced.ingress),
        })
    }
}
