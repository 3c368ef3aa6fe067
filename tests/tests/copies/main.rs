//! A FAT volume has its FAT twice. What the first one has lost, the second one has, whatever it is of:
//! a kernel, modules, entries, directories. Where an entry of it is wrong and makes sense, checksums tell;
//! without them, the first one counts. What was measured is what is loaded.

mod contents;
mod lost_entries;
mod sizes;
mod wrong_entries;

use anyhow::{Result, ensure};

const KERNEL: &str = "/boot/kernel.elf";
const CONFIGURATION: &str = "/boot/kernel.conf";
const ENTRIES: &str = "/loader/entries";
const MODULES: &str = "/boot/modules";

/// Boots all of them, and says of each what is wrong with it.
fn each<T>(rows: impl IntoIterator<Item = T>, boot: impl Fn(T) -> Result<()>) -> Result<()> {
    let failures: Vec<String> = rows
        .into_iter()
        .filter_map(|row| Some(format!("{:#}", boot(row).err()?)))
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}
