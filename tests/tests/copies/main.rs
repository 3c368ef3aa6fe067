//! A FAT volume has two FATs. What the first one has lost, the second one still has, whatever it
//! belongs to: a kernel, modules, entries, directories. If an entry is wrong but makes sense,
//! checksums show it; without them, the first FAT counts. The loader loads the sizes that it has
//! measured.

mod contents;
mod lost_entries;
mod sizes;
mod wrong_entries;

use anyhow::{Result, ensure};

const KERNEL: &str = "/boot/kernel.elf";
const CONFIGURATION: &str = "/boot/kernel.conf";
const ENTRIES: &str = "/loader/entries";
const MODULES: &str = "/boot/modules";

/// Boots all of them, and reports what is wrong with each.
fn each<T>(rows: impl IntoIterator<Item = T>, boot: impl Fn(T) -> Result<()>) -> Result<()> {
    let failures: Vec<String> = rows
        .into_iter()
        .filter_map(|row| Some(format!("{:#}", boot(row).err()?)))
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}
