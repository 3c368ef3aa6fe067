//! `./run.sh machines [NAME…]`: the machine matrix.
//!
//! Boots one image on all machines of the table, or on those whose names contain one of the words.
//! Writes `docs/machines.md` if all of them were tried and did what they had to.

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use disk_builder::stages;
use machine_tests::matrix::{self, Images, Row, Versions};

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let all = matrix::rows();
    for word in &words {
        ensure!(
            all.iter().any(|row| row.name.contains(word.as_str())),
            "no machine's name contains {word:?}; they are in docs/machines.md"
        );
    }
    let wanted =
        |row: &&Row| words.is_empty() || words.iter().any(|word| row.name.contains(word.as_str()));
    let rows: Vec<Row> = all.iter().filter(wanted).cloned().collect();

    let start = Instant::now();
    let images = Images::build()?;
    let results = matrix::run(&rows, &images, |row, result| match result {
        Ok(_) => println!("pass  {:22} {:9} {}", row.name, row.result(), row.shows),
        Err(error) => println!(
            "FAIL  {:22} {:9} {}\n{error:#}",
            row.name,
            row.result(),
            row.shows
        ),
    });
    let agreement = matrix::agree(&results);
    if let Err(error) = &agreement {
        println!("FAIL  {error:#}");
    }
    let passed = results.iter().filter(|(_, result)| result.is_ok()).count();
    let failed = rows.len() - passed + usize::from(agreement.is_err());
    println!("{:.0} s", start.elapsed().as_secs_f64());
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        return Ok(ExitCode::FAILURE);
    }
    if words.is_empty() {
        let bios = matrix::bios(&results).context("no screen shows the BIOS's name")?;
        let page = matrix::page(&all, &Versions::ask(bios)?);
        fs::write(stages::workspace().join("docs/machines.md"), page)?;
    }
    Ok(ExitCode::SUCCESS)
}
