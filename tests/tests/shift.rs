//! A few of the shifts that `./run.sh shift` tries in full.

use anyhow::{Context as _, Result, ensure};
use disk_builder::stages::{STAGE2, linker_arguments, workspace};
use machine_tests::shift::{MOST, Shift, Workshop};

/// Shifts in every boot that leads through the code of mode switches, including reports of
/// exceptions.
#[test]
fn functions_may_lie_anywhere() -> Result<()> {
    let workshop = Workshop::new()?;
    let place = |name: &str| {
        let mut functions = workshop.functions();
        let place = functions.position(|function| function.name.ends_with(name));
        place.with_context(|| format!("no function {name}"))
    };
    let stubs = place("switch::stubs")?;
    let gate = place("bios::pass")?;
    let handlers = place("exceptions::install")?;
    // Every eighth function, by every number from 1 to 15 bytes, and some functions alone.
    for shift in [
        Shift::Part(1, 0),
        Shift::One(stubs, 4),
        Shift::One(stubs, 1),
        Shift::One(gate, 3),
        Shift::One(handlers, MOST),
    ] {
        let ways = workshop.run(shift);
        ensure!(ways.with_context(|| workshop.name(shift).to_string())? > 0);
    }
    Ok(())
}

/// Code with a fixed place cannot be moved unnoticed: the linker script refuses.
#[test]
fn the_entry_of_stage2_has_its_place() -> Result<()> {
    let workshop = Workshop::new()?;
    let directory = tempfile::tempdir()?;
    let refused = workshop.stage2.with_entry_shifted(directory.path(), 1);
    let error = refused.err().context("stage2 was linked")?;
    let expected = "stage2's entry is not directly behind its header";
    ensure!(format!("{error:#}").contains(expected), "{error:#}");
    Ok(())
}

/// The programs are linked as cargo links them: with their own flags, and with those of all
/// programs.
#[test]
fn the_linker_is_told_what_cargo_tells_it() -> Result<()> {
    let arguments = linker_arguments(&workspace().join(STAGE2.config))?;
    for expected in ["-nostdlib", "-Ttargets/stage2.ld"] {
        let found = arguments.iter().filter(|it| *it == expected).count();
        ensure!(found == 1, "{expected}: {arguments:?}");
    }
    Ok(())
}
