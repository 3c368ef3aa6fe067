//! `./run.sh kernels [WORD…]`: boots the kernels of the table, or those whose names or protocols
//! contain one of the words, and writes `docs/kernels.md` when all of them were tried and run.

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use disk_builder::stages;
use machine_tests::kernels;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (mut passed, mut failed, mut missing) = (0, 0, 0);
    for row in kernels::rows() {
        let name = row.to_string();
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let start = Instant::now();
        let result = row.run();
        let seconds = start.elapsed().as_secs();
        match result {
            Ok(true) => {
                passed += 1;
                println!("pass  {name}  {seconds} s");
            }
            Ok(false) => {
                missing += 1;
                println!("-     {name}: cannot be fetched here");
            }
            Err(error) => {
                failed += 1;
                println!("FAIL  {name}\n{error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {missing} not there");
    if failed > 0 || passed == 0 {
        return Ok(ExitCode::FAILURE);
    }
    if words.is_empty() && missing == 0 {
        fs::write(stages::workspace().join("docs/kernels.md"), kernels::page())?;
    }
    Ok(ExitCode::SUCCESS)
}
