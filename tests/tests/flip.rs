//! A few wrong bits on the disk, for each kind of kernel. `./run.sh flip` tries many more.

use anyhow::{Context as _, Result, ensure};
use machine_tests::flip::{self, BIOS, Coverage, Flip, KERNEL, Kind, Outcome, Region, Subject};

/// The regions that differ between the kinds; all kinds have the same MBR and first
/// part of stage2.
const OF_EACH_KIND: [Region; 11] = [
    Region::Stage2Way,
    Region::BootSector,
    Region::FirstFat,
    Region::Configuration,
    Region::KernelHeaders,
    Region::KernelProtocol,
    Region::KernelBytes,
    Region::KernelPayload,
    Region::KernelPacked,
    Region::Modules,
    Region::ModulesPacked,
];

/// The beginnings of the error codes that a wrong bit in a region may end in; `None`: the image
/// boots.
fn expected(region: Region) -> Option<&'static [&'static str]> {
    Some(match region {
        Region::MbrChecked => &["1D"],
        Region::MbrSignature => &[BIOS],
        // stage1's sum is over the first 64 KiB, stage2's own checksum over all.
        Region::Stage2 | Region::Stage2Filling => &["1B", "1C"],
        Region::Stage2Way => &["7F"],
        Region::Configuration => &["9E"],
        // If a header makes no sense, it is refused for that before the checksum is compared.
        Region::KernelHeaders | Region::KernelProtocol => &["10"],
        Region::KernelBytes | Region::KernelPacked => &["10Q"],
        Region::KernelPayload => &[KERNEL],
        Region::Modules | Region::ModulesPacked => &["10R"],
        Region::MbrPrinting
        | Region::MbrBpbArea
        | Region::MbrRest
        | Region::BootSector
        | Region::ReservedSectors
        | Region::FirstFat
        | Region::SecondFat
        | Region::KernelRest
        | Region::Unused => &[],
        _ => return None,
    })
}

/// Each region that can be checked, with another seed than that of the page.
#[test]
fn a_wrong_bit_is_harmless_or_has_a_name() -> Result<()> {
    let checked = |region: &Region| region.coverage() == Coverage::Checked;
    let mut count = 0;
    for kind in Kind::ALL {
        let subject = Subject::new(kind, true)?;
        let wanted: Vec<Region> = match kind {
            Kind::Bootpath => subject.regions().filter(checked).collect(),
            _ => OF_EACH_KIND.to_vec(),
        };
        let present = subject.regions().filter(|region| wanted.contains(region));
        let flips = subject.choose(&wanted, present.count(), 2);
        let outcomes = subject.run(&flips, None, |_, _, _| {})?;
        let section = flip::section(&subject, &flips, &outcomes);
        ensure!(
            flip::failures(&flips, &outcomes) == 0,
            "{section}\n{outcomes:?}"
        );
        for (flip, outcome) in flips.iter().zip(&outcomes) {
            as_expected(flip, outcome).with_context(|| format!("{kind:?}"))?;
        }
        count += flips.len();
    }
    ensure!((40..=60).contains(&count), "{count} boots");
    Ok(())
}

fn as_expected(flip: &Flip, outcome: &Outcome) -> Result<()> {
    let Some(codes) = expected(flip.region) else {
        return Ok(());
    };
    let good = match outcome {
        Outcome::Named(code) => codes.iter().any(|begin| code.starts_with(begin)),
        Outcome::BootsByCopy => matches!(flip.region, Region::BootSector | Region::FirstFat),
        _ => codes.is_empty(),
    };
    ensure!(good, "{flip:?}: {outcome:?}");
    Ok(())
}

/// The same without checksums shows what they are good for: each kernel notices the damage.
#[test]
fn without_checksums_wrong_bits_boot_wrongly() -> Result<()> {
    for (kind, regions) in [
        (Kind::Bootpath, &[Region::KernelBytes, Region::Modules][..]),
        (Kind::Limine, &[Region::KernelBytes, Region::Modules]),
        (Kind::Multiboot1, &[Region::Modules]),
        (Kind::Multiboot2, &[Region::KernelBytes, Region::Modules]),
        (Kind::Linux, &[Region::Modules]),
    ] {
        let subject = Subject::new(kind, false)?;
        let flips = subject.choose(regions, regions.len(), 2);
        let outcomes = subject.run(&flips, None, |_, _, _| {})?;
        for (flip, outcome) in flips.iter().zip(&outcomes) {
            ensure!(
                matches!(outcome, Outcome::Wrong(_)),
                "{kind:?}: {flip:?}: {outcome:?}"
            );
        }
        ensure!(flips.len() == regions.len() && flip::failures(&flips, &outcomes) == flips.len());
    }
    Ok(())
}
