//! What a user sees on the serial line and on the screen, compared line by line with what a recipe
//! says.

use anyhow::{Result, anyhow, bail};
use boot_path::errors::catalogue::Entry;

use super::Case;
use super::good_image::GoodImages;
use super::words::{BLANK, Shows};
use crate::machine::{COLUMNS, OFFER, ROWS};
use crate::matrix::expect::{LOADER, error};
use crate::parallel;
use crate::pattern::{Line, compare};

/// Forms of the lines that the steps from 5 on print on a [`Machine::new`], by step.
const STEPS: [(u32, &[&str]); 8] = [
    (5, &[LOADER, " 5 console  COM1, VGA text"]),
    (6, &[" 6 memory   {n} MiB usable, by E820"]),
    (
        7,
        &[" 7 disk     drive 80h by LBA, 512 bytes a sector, partition 1 at LBA 2048"],
    ),
    (8, &[" 8 files    FAT32"]),
    (9, &[" 9 entry    /boot/kernel.elf, {n} modules"]),
    (10, &["10 kernel   ELF64, {n} segments, {n} KiB at {X}h"]),
    (11, &["11 paging   stack {n} KiB, physical map at {X}h"]),
    (12, &["12 handoff  to {X}h"]),
];

/// What a machine showed.
pub struct Seen {
    /// All output on the serial line.
    pub serial: String,
    /// The screen in text mode at the end.
    pub screen: Vec<String>,
}

/// The rows of the screen up to the last one with text.
pub(super) fn used(mut screen: Vec<String>) -> Vec<String> {
    let used = screen.iter().rposition(|row| !row.is_empty());
    screen.truncate(used.map_or(0, |last| last + 1));
    screen
}

/// The lines that a user must see.
fn expected(case: &Case) -> Vec<Line> {
    let entry = case.entry;
    let (after, before, facts, behind): (_, &[&[&str]], _, &[&[&str]]) = match case.recipe.shows {
        Shows::Stage1(status) => {
            let line = format!("error {} {status}", entry.code);
            return vec![line_of(""), line_of(&line)];
        }
        Shows::RealMode => (0, &[BLANK], "", &[]),
        Shows::After(after, facts) => (after, &[], facts, &[]),
        Shows::Lines {
            after,
            before,
            facts,
            behind,
        } => (after, before, facts, behind),
    };
    let steps = STEPS.iter().filter(|(step, _)| *step <= after);
    let mut texts: Vec<&str> = steps.flat_map(|(_, lines)| *lines).copied().collect();
    texts.extend(before.iter().copied().flatten());
    let error = with_facts(entry, facts);
    texts.push(&error);
    texts.extend(behind.iter().copied().flatten());
    texts.extend([entry.advice, OFFER]);
    texts.into_iter().map(line_of).collect()
}

/// How often a user is asked to press a key.
pub(super) fn offers(case: &Case) -> usize {
    let is_offer = |line: &Line| matches!(line, Line::Exact(text) if text == OFFER);
    expected(case).into_iter().filter(is_offer).count()
}

/// A line; a form if it has placeholders.
fn line_of(text: &str) -> Line {
    if text.contains('{') {
        Line::Form(text.to_owned())
    } else {
        Line::Exact(text.to_owned())
    }
}

/// The line of an error.
fn with_facts(entry: &Entry, facts: &str) -> String {
    let separator = if facts.is_empty() { "" } else { ": " };
    format!("{}{separator}{facts}", error(entry))
}

/// Compares a machine's output with the recipe: each of its lines must be on the serial line and on
/// the screen, and no other line.
///
/// # Errors
/// The difference.
pub fn check(case: &Case, seen: &Seen) -> Result<()> {
    let is_stage1 = matches!(case.recipe.shows, Shows::Stage1(_));
    let text = match seen.serial.strip_suffix("\r\n") {
        Some(text) if !is_stage1 => text,
        None if is_stage1 => &seen.serial,
        _ => bail!("the end of the last line: {:?}", seen.serial),
    };
    let lines: Vec<&str> = text.split("\r\n").collect();
    compare(&expected(case), &lines, false).map_err(|error| anyhow!(error))?;

    // The same lines must be the last ones of the screen. A blank first line only ends the BIOS's
    // line.
    let shown = lines.iter().skip_while(|line| line.is_empty());
    let rows: Vec<&str> = shown.flat_map(|line| screen_rows(line)).collect();
    let on_screen: Vec<&str> = seen.screen.iter().map(String::as_str).collect();
    // The cursor takes one row.
    let room = if is_stage1 { ROWS } else { ROWS - 1 };
    let visible = rows.len().min(room);
    let own = on_screen.len().saturating_sub(visible);
    let wanted: Vec<Line> = rows[rows.len() - visible..]
        .iter()
        .map(|row| Line::Exact((*row).to_owned()))
        .collect();
    compare(&wanted, &on_screen[own..], false)
        .map_err(|difference| anyhow!("on the screen:\n{difference}"))
}

/// A line as rows of the screen, without the blanks at their ends.
fn screen_rows(line: &str) -> Vec<&str> {
    if line.is_empty() {
        return vec![""];
    }
    let mut rows = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (row, behind) = rest.split_at_checked(COLUMNS).unwrap_or((rest, ""));
        rows.push(row.trim_end());
        rest = behind;
    }
    rows
}

/// Carries out an error's recipe, and checks the result.
///
/// # Errors
/// What differs from the recipe.
pub fn check_one(case: &Case, images: &GoodImages) -> Result<()> {
    let seen = images.breaks(case)?.boot(case)?;
    check(case, &seen)
}

/// The same for many errors, as many at once as there are cores. `done` is called for each.
pub fn check_all(
    cases: &[Case],
    images: &GoodImages,
    done: impl Fn(&Case, &Result<()>) + Sync,
) -> Vec<Result<()>> {
    parallel::each(cases, |case| {
        let result = check_one(case, images);
        done(case, &result);
        result
    })
}
