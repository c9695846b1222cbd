//! The oracle.

use anyhow::Result;
use bulkhead_policy::eval::{Flow, Half, Verdict, World, eval};
use bulkhead_policy::model::{Event, Object, Timestamp};
use ipnet::IpNet;

use super::{Answer, Judge, Side};

/// The objects and the instant.
pub(crate) struct Oracle {
    world: World,
    now: Timestamp,
}

impl Oracle {
    /// A world of these objects.
    pub(crate) fn new(objects: &[Object], ranges: &[IpNet], now: Timestamp) -> Self {
        let mut world = World::new(ranges.iter().copied());
        objects
            .iter()
            .for_each(|object| world.apply(Event::Apply(object.clone())));
        Self { world, now }
    }

    /// Both verdicts with their provenance.
    pub(crate) fn verdict(&self, flow: &Flow) -> Verdict {
        eval(&self.world, flow, self.now)
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
