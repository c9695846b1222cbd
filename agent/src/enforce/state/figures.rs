//! What the kernel counts, for metrics.

use bulkhead_datapath::abi::{CounterIndex, Hook, LossIndex, Reason};

use super::State;
use crate::clock;
use crate::metrics::Kernel as Figures;

impl State {
    /// What the kernel counts.
    pub fn figures(&self) -> Figures {
        let maps = &self.kernel.maps;
        let mut figures = Figures {
            generation: self.planner.generation().0,
            unheard: self.unheard(clock::monotonic_ns()),
            ..Figures::default()
        };
        for hook in Hook::ALL {
            for reason in Reason::ALL {
                let Ok(values) = maps.counters.get(CounterIndex::new(hook, *reason).0) else {
                    continue;
                };
                let packets: u64 = values.iter().map(|value| value.packets).sum();
                if packets > 0 {
                    let bytes = values.iter().map(|value| value.bytes).sum();
                    figures.packets.push((
                        hook.name(),
                        reason.name(),
                        reason.passes(),
                        packets,
                        bytes,
                    ));
                }
            }
        }
        for loss in LossIndex::ALL {
            let lost = maps
                .losses
                .get(loss as u32)
                .map_or(0, |values| values.iter().sum());
            figures.losses.push((loss.name(), lost));
        }
        figures
    }
}
