//! A few wrong bits on the disk, in each of its regions. `./run.sh flip` tries many more.

use anyhow::{Result, ensure};
use machine_tests::flip::{self, Flip, Outcome, Region, Subject};

/// Each region that can be checked, with another seed than the page's.
#[test]
fn a_wrong_bit_is_harmless_or_has_a_name() -> Result<()> {
    let subject = Subject::new(true)?;
    let flips = subject.choose(Region::ALL.len() + 6, 2);
    let flips: Vec<Flip> = flips
        .into_iter()
        .filter(|flip| !flip.region.may_hang())
        .collect();
    let outcomes = subject.run(&flips, |_, _| {})?;
    let table = flip::table(&flips, &outcomes);
    ensure!(
        flip::failures(&flips, &outcomes) == 0,
        "{table}\n{outcomes:?}"
    );
    for (flip, outcome) in flips.iter().zip(&outcomes) {
        let expected: &[&str] = match flip.region {
            Region::MbrChecked => &["1D"],
            // stage1's sum is over the first 64 KiB, stage2's own checksum over all.
            Region::Stage2 | Region::Stage2Filling => &["1B", "1C"],
            Region::Configuration => &["9E"],
            Region::KernelBytes => &["10Q"],
            Region::Modules => &["10R"],
            _ => continue,
        };
        let named = |code: &&str| *outcome == Outcome::Named((*code).to_owned());
        ensure!(expected.iter().any(named), "{flip:?}: {outcome:?}");
    }
    Ok(())
}

/// The same bits without checksums: so that is what they are good for, and the test sees it.
#[test]
fn without_checksums_wrong_bits_boot_wrongly() -> Result<()> {
    let subject = Subject::new(false)?;
    let flips = subject.choose(2 * Region::ALL.len(), 2);
    let flips: Vec<Flip> = flips
        .into_iter()
        .filter(|flip| matches!(flip.region, Region::KernelBytes | Region::Modules))
        .collect();
    let outcomes = subject.run(&flips, |_, _| {})?;
    for (flip, outcome) in flips.iter().zip(&outcomes) {
        ensure!(
            matches!(outcome, Outcome::Wrong(_)),
            "{flip:?}: {outcome:?}"
        );
    }
    ensure!(flip::failures(&flips, &outcomes) == flips.len() && flips.len() == 4);
    Ok(())
}
