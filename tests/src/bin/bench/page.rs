//! The tables of `docs/peers.md`.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::stages;

/// The headings that the tables are below.
pub const LOADED: &str = "## To the kernel's first instruction";
pub const STARTED: &str = "## To the first process";

/// How a loader loads a kernel.
pub struct Loaded {
    pub name: String,
    /// The bits of the kernel's entry that it takes.
    pub entry: u64,
    /// Of INT 13h.
    pub calls: usize,
    /// In ms: virtual time, and wall time on two kinds of disk.
    pub times: Vec<f64>,
}

impl Loaded {
    /// The ratios to another one's times.
    pub fn ratios(&self, other: &Self) -> Vec<f64> {
        let times = self.times.iter().zip(&other.times);
        times.map(|(ms, other)| ms / other).collect()
    }

    pub fn row(&self, first: &Self) -> String {
        let entry = match self.entry {
            16 => "setup code".to_owned(),
            bits => format!("{bits}-bit"),
        };
        let times = self.times.iter().zip(self.ratios(first));
        let times: String = times
            .map(|(&ms, ratio)| format!(" {} | {} |", digits(ms), digits(ratio)))
            .collect();
        format!(
            "| {} | {entry} | {} |{times}\n",
            name(&self.name),
            self.calls
        )
    }
}

/// How long it takes from power-on to a kernel's first process.
pub struct Started {
    pub name: String,
    pub ms: f64,
    /// More than the first loader takes.
    pub more: f64,
}

impl Started {
    pub fn row(&self, is_first: bool) -> String {
        let more = match is_first {
            true => String::new(),
            false => format!("{:.1} ", self.more).replace('-', "−"),
        };
        format!("| {} | {:.1} | {more}|\n", name(&self.name), self.ms)
    }
}

/// Writes both tables into the page. A table without rows stays as it is.
pub fn write(loaded: &[Loaded], started: &[Started]) -> Result<()> {
    let path = stages::workspace().join("docs/peers.md");
    let mut page = fs::read_to_string(&path).context("no docs/peers.md")?;
    if let Some(first) = loaded.first() {
        let rows: String = loaded.iter().map(|loader| loader.row(first)).collect();
        page = with_rows(&page, LOADED, &rows)?;
    }
    if !started.is_empty() {
        let rows = started.iter().enumerate();
        let rows: String = rows.map(|(index, loader)| loader.row(index == 0)).collect();
        page = with_rows(&page, STARTED, &rows)?;
    }
    fs::write(&path, page)?;
    println!("written to docs/peers.md");
    Ok(())
}

/// The page with other rows in the first table below this heading.
pub fn with_rows(page: &str, heading: &str, rows: &str) -> Result<String> {
    const RULER: &str = "| --- |";

    let missing = || format!("docs/peers.md has no table below {heading:?}");
    let (before, behind) = page.split_once(heading).with_context(missing)?;
    let (above, table) = behind.split_once(RULER).with_context(missing)?;
    ensure!(!above.contains("\n## "), missing());
    let (ruler, table) = table.split_once('\n').with_context(missing)?;
    let mut old = 0;
    for line in table.split_inclusive('\n') {
        if !line.starts_with('|') {
            break;
        }
        old += line.len();
    }
    Ok([
        before,
        heading,
        above,
        RULER,
        ruler,
        "\n",
        rows,
        &table[old..],
    ]
    .concat())
}

/// A loader's name, without what a distribution adds to the version.
fn name(name: &str) -> &str {
    name.split('-').next().unwrap_or(name).trim()
}

/// A number with three digits that count.
pub fn digits(number: f64) -> String {
    let decimals = match number {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$}")
}
