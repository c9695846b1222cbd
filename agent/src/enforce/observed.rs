//! What the programs report, on its way to whoever listens.

use std::sync::Arc;

use super::Enforcer;
use crate::clock;
use crate::events::Namer;

/// Events taken at once.
const EVENTS_AT_ONCE: usize = 4096;

impl Enforcer {
    pub(super) fn drain_events(&mut self) {
        loop {
            let records = self.state.drain_events(EVENTS_AT_ONCE);
            let more = records.len() == EVENTS_AT_ONCE;
            if self.outputs.events.receiver_count() > 0 && !records.is_empty() {
                let namer = Namer::new(self.state.graph(), clock::now());
                for record in &records {
                    let event = namer.name(record, self.state.owner(record.slot));
                    // Nobody may be left by now.
                    drop(self.outputs.events.send(Arc::new(event)));
                }
            }
            self.outputs.metrics.events(&records);
            if !more {
                return;
            }
        }
    }
}
