//! What the programs cost before any packet: instructions, stack, and the work of the verifier, which every kernel that is
//! supported has to do within its limit of a million.

use bulkhead_agent::kernel::{Options, object};
use bulkhead_tests::bench::programs::sizes;

/// Well below the kernel's limit, and close enough above the present figure to notice a change that multiplies it.
const VERIFIED_INSTRUCTIONS: u32 = 300_000;

/// Kernels differ a little in how they walk and what they put in for a call.
const TOLERANCE_PERCENT: u32 = 5;

const BEGIN: &str = "<!-- costs -->\n";
const END: &str = "<!-- /costs -->";

/// The figures of one program, by the columns of the table.
type Row = (String, [u32; 5]);

const COLUMNS: [&str; 5] = [
    "instructions",
    "calls",
    "stack, bytes",
    "verified",
    "translated, bytes",
];

fn measured() -> Vec<Row> {
    let kernel = super::kernel(&Options::default());
    println!("loaded in {:?}", kernel.load_time);
    let number = |count: usize| u32::try_from(count).unwrap();
    let sizes = sizes(object()).unwrap();
    let statistics = kernel.statistics().unwrap();
    sizes
        .iter()
        .zip(statistics)
        .map(|(size, program)| {
            assert_eq!(size.hook, program.hook);
            let figures = [
                number(size.instructions),
                number(size.calls),
                number(size.stack),
                program.verified_instructions.unwrap(),
                program.translated_bytes.unwrap(),
            ];
            (size.hook.name().to_owned(), figures)
        })
        .collect()
}

fn table(rows: &[Row]) -> String {
    let mut table = format!("| program | {} |\n|---|", COLUMNS.join(" | "));
    table.push_str(&"---|".repeat(COLUMNS.len()));
    table.push('\n');
    for (name, figures) in rows {
        let figures: Vec<String> = figures.iter().map(u32::to_string).collect();
        table.push_str(&format!("| `{name}` | {} |\n", figures.join(" | ")));
    }
    table
}

/// The rows of a table as it was written.
fn parse(table: &str) -> Vec<Row> {
    table
        .lines()
        .skip(2)
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let name = cells.next().unwrap().trim_matches('`').to_owned();
            let figures: Vec<u32> = cells.map(|cell| cell.parse().unwrap()).collect();
            (name, figures.try_into().unwrap())
        })
        .collect()
}

/// The table of costs in the documents is what was measured. `BULKHEAD_BLESS=1` writes it: a change that raises them is
/// then seen by whoever reads it.
#[test]
fn the_documents_tell_what_the_programs_cost() {
    let rows = measured();
    println!("{}", table(&rows));
    for (name, figures) in &rows {
        assert!(
            figures[3] <= VERIFIED_INSTRUCTIONS,
            "{name}: {} instructions verified",
            figures[3]
        );
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/design/datapath.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    if std::env::var_os("BULKHEAD_BLESS").is_some() {
        let new = format!("{before}{BEGIN}{}{END}{after}", table(&rows));
        std::fs::write(path, new).unwrap();
        return;
    }
    for ((name, figures), (_, expected)) in rows.iter().zip(parse(written)) {
        for ((column, figure), expected) in COLUMNS.iter().zip(figures).zip(expected) {
            let allowed = if matches!(*column, "verified" | "translated, bytes") {
                expected * TOLERANCE_PERCENT / 100
            } else {
                0
            };
            assert!(
                figure.abs_diff(expected) <= allowed,
                "{name}: {figure} {column}, but docs/design/datapath.md says {expected}: if that is meant, write the \
                 table again with BULKHEAD_BLESS=1"
            );
        }
    }
}
