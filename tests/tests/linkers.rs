//! The same kernel by each linker, for each protocol, with a script and without one.

use anyhow::{Result, ensure};
use machine_tests::linkers::{Linker, boot, kernels};

/// GNU's linkers and LLVM's are where Rust links for this host.
#[test]
fn kernels_boot_however_they_are_linked() -> Result<()> {
    let results = boot(&kernels(&[Linker::Bfd, Linker::Gold, Linker::Lld]));
    let mut failed = Vec::new();
    let mut booted = 0;
    for result in results {
        match result {
            Ok(true) => booted += 1,
            Ok(false) => {}
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    ensure!(booted > 0, "there is no linker");
    Ok(())
}
