//! `./run.sh debian [--again] [WORD…]`: makes a whole Debian, boots it, upgrades its kernel, cuts its power while it
//! does so, and boots it again. With words, only the parts whose names contain one of them: `upgrade`, or
//! moments at which the power fails. With `--again`, the Debian of the last time is taken. Prints a line for
//! each step.

use std::process::ExitCode;

use machine_tests::debian;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let again = words.iter().any(|word| word == "--again");
    words.retain(|word| word != "--again");
    if let Some(option) = words.iter().find(|word| word.starts_with("--")) {
        eprintln!("debian: unknown option {option}");
        return ExitCode::from(2);
    }
    let well = debian::run(&words, again, &mut |step| {
        let (what, seconds) = (&step.what, step.time.as_secs());
        match &step.result {
            Ok(result) => println!("pass  {what}: {result}  {seconds} s"),
            Err(error) => println!("FAIL  {what}  {seconds} s\n{error:#}"),
        }
    });
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
