//! PORTS: the runs of ports whose class is not what it should be.

use bulkhead_datapath::abi::{Lane, PORTS_PER_TABLE, PortClass, PortTable};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_encode::{PortLayout, table_of};

use super::MapWrite;

/// What has to be written into one lane.
pub(crate) fn port_writes(
    tables: &MemoryTables,
    lane: Lane,
    classes: &[bulkhead_encode::PortClass],
    layout: &PortLayout,
) -> Vec<MapWrite> {
    let empty = vec![PortClass::NONE; PORTS_PER_TABLE];
    let mut writes = Vec::new();
    for (position, class) in classes.iter().enumerate() {
        let table = table_of(class.protocol);
        let present = tables
            .ports
            .get(&table)
            .map_or(&empty, |lanes| &lanes[lane.index()]);
        let number = layout.number(position);
        for (from, to) in &class.ranges {
            runs(present, *from, *to, number, |from, to| {
                writes.push(MapWrite::Ports {
                    table,
                    lane,
                    from,
                    to,
                    class: number,
                });
            });
        }
    }
    writes
}

/// Calls `differs` for each run of ports between `from` and `to` that have another class.
fn runs(
    present: &[PortClass],
    from: u16,
    to: u16,
    class: PortClass,
    mut differs: impl FnMut(u16, u16),
) {
    let mut start = None;
    for port in from..=to {
        match (present[usize::from(port)] != class, start) {
            (true, None) => start = Some(port),
            (false, Some(first)) => {
                differs(first, port - 1);
                start = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    if let Some(first) = start {
        differs(first, to);
    }
}

/// The blocks whose numbers some port has in either lane.
pub(crate) fn blocks_in_use(tables: &MemoryTables) -> impl Iterator<Item = u32> + '_ {
    [Lane::Even, Lane::Odd]
        .into_iter()
        .flat_map(|lane| blocks_led_to(tables, lane))
}

/// The blocks whose numbers some port has in one lane.
pub(crate) fn blocks_led_to(tables: &MemoryTables, lane: Lane) -> impl Iterator<Item = u32> + '_ {
    let tables = PortTable::ALL
        .iter()
        .filter_map(|table| tables.ports.get(table));
    tables.flat_map(move |lanes| {
        let mut last = PortClass::NONE;
        lanes[lane.index()].iter().filter_map(move |class| {
            let news = *class != last;
            last = *class;
            (news && !class.is_none()).then_some(u32::from(class.0) >> 6)
        })
    })
}
