//! The everyday rows of the machine matrix, and tests that the comparison notices what is wrong.
//! `./run.sh machines` tries all rows.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::stages;
use machine_tests::image::small_kernel;
use machine_tests::machine::Machine;
use machine_tests::matrix::{self, Images, KernelFacts, Row, Versions};

#[test]
fn everyday_machines() -> Result<()> {
    let rows: Vec<Row> = matrix::rows()
        .into_iter()
        .filter(|row| row.everyday)
        .collect();
    let results = matrix::run(&rows, &Images::build()?, |_, _| {});
    let failures: Vec<String> = results
        .iter()
        .filter_map(|(row, result)| {
            let error = result.as_ref().err()?;
            Some(format!("{}: {error:#}", row.name))
        })
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    ensure!(
        results.len() == rows.len(),
        "{} of {} ran",
        results.len(),
        rows.len()
    );
    matrix::agree(&results)
}

#[test]
fn names_are_unique() {
    let rows = matrix::rows();
    let names: HashSet<_> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len());
}

/// The page has exactly these rows, whenever it was written.
#[test]
fn the_page_is_of_this_table() -> Result<()> {
    let page = fs::read_to_string(stages::workspace().join("docs/machines.md"))?;
    let page = page.replace("\r\n", "\n");
    let versions = Versions::of_page(&page).context("no versions in docs/machines.md")?;
    ensure!(
        page == matrix::page(&matrix::rows(), &versions),
        "docs/machines.md is not of this table; update it: ./run.sh machines"
    );
    Ok(())
}

/// The comparison needs each line once, in its place, and unchanged.
#[test]
fn every_changed_line_is_noticed() -> Result<()> {
    let row = matrix::rows()
        .into_iter()
        .find(|row| row.name == "q35-ahci")
        .context("no q35")?;
    let images = Images::build()?;
    let kernel = KernelFacts::read(&fs::read(small_kernel()?.path())?)?;
    row.run(&images)?;
    let mut running = Machine::new(&images.path(&row)).start()?;
    running.wait()?;
    let transcript = running.serial();
    row.check(&transcript, &kernel)?;

    let lines: Vec<&str> = transcript.lines().collect();
    let refused = |lines: &[&str], what: &str| {
        let changed = lines.join("\r\n") + "\r\n";
        ensure!(row.check(&changed, &kernel).is_err(), "not noticed: {what}");
        Ok(())
    };
    for (index, &line) in lines.iter().enumerate() {
        let replaced = |own: &[&str], what: &str| {
            let changed = [&lines[..index], own, &lines[index + 1..]].concat();
            refused(&changed, &format!("{line:?} {what}"))
        };
        // No other line says how many regions are reserved.
        if !line.ends_with("  Reserved") {
            replaced(&[], "is missing")?;
        }
        replaced(&[line, line], "twice")?;
        replaced(&[line, "error"], "and another line")?;
        replaced(&[&format!("{line} ")], "and a blank")?;
        if line.starts_with("check ") {
            replaced(&[&line.replace("ok", "FAILED: no")], "failed")?;
        }
        if let Some(&next) = lines.get(index + 1) {
            let mut swapped = lines.clone();
            swapped.swap(index, index + 1);
            refused(&swapped, &format!("{line:?} behind {next:?}"))?;
        }
    }
    Ok(())
}
