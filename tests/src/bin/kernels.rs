//! `./run.sh kernels [WORD…]`: boots the kernels of the table, or only the boots whose kernel,
//! protocol or way in contains one of the words. Writes `docs/kernels.md` if all of them were tried
//! and ran.

use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use disk_builder::stages;
use machine_tests::kernels;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut boots = kernels::boots();
    if !words.is_empty() {
        boots.retain(|boot| {
            let name = boot.to_string();
            words.iter().any(|word| name.contains(word.as_str()))
        });
    }
    let outcomes = kernels::run(&boots, |outcome| {
        let (boot, seconds) = (outcome.boot, outcome.time.as_secs());
        match &outcome.result {
            Ok(true) => println!("pass  {boot}  {seconds} s"),
            Ok(false) => println!("-     {boot}: cannot be fetched here"),
            Err(error) => println!("FAIL  {boot}\n{error:#}"),
        }
    });
    let count = |wanted: fn(&Result<bool>) -> bool| {
        let results = outcomes.iter().map(|outcome| &outcome.result);
        results.filter(|result| wanted(result)).count()
    };
    let passed = count(|result| matches!(result, Ok(true)));
    let failed = count(Result::is_err);
    let missing = outcomes.len() - passed - failed;
    println!("{passed} passed, {failed} failed, {missing} not there");
    if failed > 0 || passed == 0 {
        return Ok(ExitCode::FAILURE);
    }
    if words.is_empty() && missing == 0 {
        fs::write(stages::workspace().join("docs/kernels.md"), kernels::page())?;
    }
    Ok(ExitCode::SUCCESS)
}
