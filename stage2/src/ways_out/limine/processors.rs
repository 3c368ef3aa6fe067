//! The processors of a machine, as a Limine kernel gets them.

use boot_path::bios::firmware::Bios as _;
use boot_path::memory::layout::TRANSFER_BUFFER;
use boot_path::ways_out::limine::LimineError;
use boot_path::ways_out::limine::platform::{Common, Info};
use boot_path::ways_out::limine::processors::{self, Shared};
use spin::Once;

use crate::machine::{Machine, physical};
use crate::ways_out::limine::switch;

/// The state that all processors get.
static SHARED: Once<Shared<'static>> = Once::new();

/// Prepares the processor that boots. The BIOS can be called as before.
///
/// # Errors
/// 10Z when its APIC does not leave x2APIC mode.
pub fn prepare_first(common: Common<'static>) -> Result<(), LimineError> {
    SHARED
        .call_once(|| Shared::new(Machine, common))
        .prepare_first(Machine)
}

/// Runs on another processor as soon as it has a stack; then the processor goes where it waits.
pub extern "sysv64" fn run(info: &Info) {
    if let Some(shared) = SHARED.get() {
        shared.prepare_other(Machine, info.uid);
    }
}

/// The last preparation of the processor that boots, whose UID is `uid`.
pub fn quieten_first(uid: u32) {
    if let Some(shared) = SHARED.get() {
        shared.quieten(Machine, uid);
    }
}

/// Starts all processors of `infos` that have a stack, and takes the stack away from those that do
/// not come. `infos` is at its physical address.
pub fn start(infos: &mut [Info]) {
    // They begin at the start of a page below 1 MiB. The buffer is free: no more disk reads follow.
    let page = TRANSFER_BUFFER.start;
    let [low, high, ..] = switch::processors_begin(infos).to_le_bytes();
    // A far jump to segment 0.
    Machine.write(page, &[0xEA, low, high, 0, 0]);
    // The other processor writes this field, once.
    let waits = |info: &Info| physical::load::<u64>((&raw const info.extra) as u64) != 0;
    processors::start_others(Machine, page, infos, waits);
}
