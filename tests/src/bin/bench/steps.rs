//! `./run.sh bench steps [WORD…]`: how many instructions each step of the loader takes, by the times
//! that it passes to the kernel. Without words, for the loader's own kernel of 64 KiB; with words,
//! for the rows that have all of them (`plain 4MiB`).
//!
//! In virtual time, a tick is an instruction.

use anyhow::{Context as _, Result, anyhow, ensure};
use machine_tests::elf::noise;
use machine_tests::image::Image;
use machine_tests::machine::Disk;

use crate::measure::{has_words, numbers, run};
use crate::name;
use crate::rows::{Programs, Row, image};

/// The steps, by their numbers: see the chapters of the manual.
const STEPS: [&str; 12] = [
    "master boot record",
    "A20 line",
    "CPU",
    "long mode",
    "console",
    "memory",
    "disk",
    "files",
    "what to boot",
    "kernel",
    "page tables",
    "handoff",
];

/// What the rows are without words.
const USUAL: [&str; 2] = ["own", "64KiB"];

/// The instructions of each step.
pub type Steps = [u64; STEPS.len()];

/// Prints the rows that have all of these words, each in a column.
pub fn show(disk: Disk, words: &[String]) -> Result<()> {
    let usual = USUAL.map(String::from);
    let words = if words.is_empty() { &usual } else { words };
    let rows = Row::all().filter(|row| row.listed && row.protocol.tells_time());
    let rows = rows.filter(|row| has_words(&row.to_string(), words));
    let rows: Vec<Row> = rows.collect();
    ensure!(
        !rows.is_empty(),
        "no kernel that learns the times of the steps has all of these words: {words:?}"
    );
    let programs = Programs::new()?;
    let columns = rows.iter().map(|row| {
        let payload = noise(row.size);
        let image = image(row, &programs.kernel(row, &payload)?)?;
        let steps = of(row, &payload, &image, disk)?;
        let (protocol, cpu) = (row.protocol.name(), row.cpu.short_name());
        let column = format!("{protocol} {cpu} {}", name(row.size));
        Ok((column, Some(steps)))
    });
    print("in virtual time", &columns.collect::<Result<Vec<_>>>()?);
    Ok(())
}

/// The steps of the row's boot from this image: those of the shortest of several runs.
pub fn of(row: &Row, payload: &[u8], image: &Image, disk: Disk) -> Result<Steps> {
    let mut arguments = Vec::new();
    let setup = row.setup(disk, &mut arguments);
    let mut best: Option<(u64, Steps)> = None;
    for _ in 0..setup.runs {
        let said = run(setup.machine(&image.path()))?;
        let end = row.ticks(&said, payload)?;
        if best.is_none_or(|(least, _)| end < least) {
            best = Some((end, parse(&said, end)?));
        }
    }
    Ok(best.context("nothing was measured")?.1)
}

/// Takes them out of what the kernel says: behind three other numbers, the time at which each step
/// began.
pub fn parse(said: &str, end: u64) -> Result<Steps> {
    let times = numbers(said);
    let began = times.get(3..).unwrap_or_default();
    let ends = began.iter().skip(1).chain([&end]);
    let steps: Vec<u64> = ends.zip(began).map(|(end, begin)| end - begin).collect();
    let steps = Steps::try_from(steps);
    steps.map_err(|_| anyhow!("unexpected output: {said:?}"))
}

/// Prints a table. `title`: what all columns have in common.
pub fn print(title: &str, columns: &[(String, Option<Steps>)]) {
    const WIDTH: usize = 19;

    println!("Instructions of each step {title}\n");
    let line = |name: &str, cells: Vec<String>| {
        let cells: String = cells
            .iter()
            .map(|cell| format!(" {cell:>WIDTH$}"))
            .collect();
        println!("{name:22}{cells}");
    };
    line("", columns.iter().map(|(name, _)| name.clone()).collect());
    let cells = |number: &dyn Fn(&Steps) -> u64| {
        let cell = |steps: &Option<Steps>| steps.as_ref().map(number);
        let cells = columns.iter().map(|(_, steps)| cell(steps));
        cells
            .map(|cell| cell.map_or_else(|| "-".into(), |number| number.to_string()))
            .collect()
    };
    for (index, step) in STEPS.iter().enumerate() {
        let number = index + 1;
        line(&format!("{number:>2} {step}"), cells(&|steps| steps[index]));
    }
    line("   all", cells(&|steps| steps.iter().sum()));
    println!();
}
