//! `./run.sh shift [all | WORD…]`: shifts functions of stage2 and of the way in by Multiboot by 1
//! to 15 bytes, and runs the boots that lead through them.
//!
//! Without words, each function is shifted by each number, in 120 programs, each of which is booted
//! in all ways. With words, the functions whose paths contain one are shifted, each alone. With
//! `all`, each naked function is shifted alone.

use std::process::ExitCode;

use anyhow::Result;
use machine_tests::shift::{self, MOST, Shift, Workshop};

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let workshop = Workshop::new()?;
    let all = words.iter().any(|word| word == "all");
    let chosen = workshop.functions().enumerate().filter(|(_, function)| {
        all && function.naked || words.iter().any(|word| function.name.contains(word))
    });
    let alone = chosen.flat_map(|(place, _)| (1..=MOST).map(move |bytes| Shift::One(place, bytes)));
    let shifts: Vec<Shift> = match words.is_empty() {
        true => Shift::parts().collect(),
        false => alone.collect(),
    };
    let results = shift::run_all(&workshop, &shifts, |shift, result| match result {
        Ok(ways) => println!("pass  {}: {ways} ways to boot", workshop.name(shift)),
        Err(error) => println!("FAIL  {}\n{error:#}", workshop.name(shift)),
    });
    let ways: usize = results.iter().flatten().sum();
    let failed = results.iter().filter(|result| result.is_err()).count();
    println!(
        "{} programs, {ways} ways to boot; {failed} failed",
        results.len()
    );
    Ok(match failed == 0 && !results.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
