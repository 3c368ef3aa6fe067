//! The loader loads the sizes that it has measured.

use anyhow::{Result, ensure};
use machine_tests::fats::{Fat, Fats, entry_of, resize};
use machine_tests::linux::header;
use machine_tests::machine::Machine;
use machine_tests::samples::{changes_once, linux_with, ram_disk};

use crate::{MODULES, each};

/// The first of two archives cannot be read by the first FAT, and the second one has another size
/// by the second FAT. Both are loaded with the sizes that were measured, and the memory behind them
/// is unchanged.
#[test]
fn what_was_measured_is_what_is_loaded() -> Result<()> {
    /// The end of the RAM disk's two pages.
    const END: u64 = 0x800_0000;
    const PAGES: usize = 8192;
    const BEHIND: usize = 64 << 10;
    const DIRT: u8 = 0xA5;

    let mut dirt = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut dirt, &[DIRT; BEHIND])?;
    let last = (END as u32 - 1).to_le_bytes();
    // Four clusters, by both sizes.
    each([(3073, 4096), (4000, 3100)], |(size, other)| {
        let sizes = [PAGES - usize::next_multiple_of(size, 4), size];
        let sample = linux_with(&[(header::INITRD_ADDR_MAX, &last)], sizes, |recipe| {
            recipe.checksums = false;
        })?;
        let mut fats = Fats::of(&sample.image)?;
        let first = fats.chain(&format!("{MODULES}/initrd-0"))?[0];
        fats.split_directory(MODULES, |fat, entries| {
            let entry = entry_of(entries, b"INITRD-1   ")?;
            if fat == Fat::Second {
                resize(entry, other);
            }
            Ok(())
        })?;
        fats.link(&[Fat::First], first, 0)?;
        let machine = Machine::new(&sample.image.path()).no_exit_port();
        let dirt = dirt.path().display();
        let device = format!("loader,file={dirt},addr={END:#x},force-raw=on");
        let mut running = machine.arguments(["-device", &device]).start()?;
        let transcript = running.wait_for_one_of(&["OKAY\r\n", "press a key to reboot"])?;
        let line = format!("the second FAT, because of 8B: cluster {first} leads to 0x0");
        changes_once(&transcript, Some(&line))?;
        let (start, found) = ram_disk(&mut running)?;
        ensure!(start == END - PAGES as u64, "{size}, {other}\n{transcript}");
        ensure!(
            running.memory(END, BEHIND)? == [DIRT; BEHIND],
            "written behind it: {size}, {other}"
        );
        ensure!(
            found == sample.ram_disk,
            "another RAM disk: {size}, {other}"
        );
        Ok(())
    })
}
