//! The processors of a machine, as a Limine kernel gets them.

use boot_path::bios::firmware::Bios as _;
use boot_path::memory::layout::TRANSFER_BUFFER;
use boot_path::ways_out::limine::LimineError;
use boot_path::ways_out::limine::platform::{Common, Info};
use boot_path::ways_out::limine::processors::{self, Shared};

use crate::machine::variables::Published;
use crate::machine::{Machine, physical};
use crate::ways_out::limine::switch;

/// What all processors are to have.
static SHARED: Published<Shared<'static>> = Published::new();

/// Prepares the processor that boots. The BIOS can be called as before.
///
/// # Errors
/// 10Z when its APIC does not leave x2APIC mode.
pub fn prepare_first(common: Common<'static>) -> Result<(), LimineError> {
    SHARED
        .set(Shared::new(Machine, common))
        .prepare_first(Machine)
}

/// What another processor does as soon as it has a stack; then it goes where it waits.
pub extern "sysv64" fn run(info: &Info) {
    if let Some(shared) = SHARED.get() {
        shared.prepare_other(Machine, info.uid);
    }
}

/// The last thing that is done to the processor that boots, whose UID is this.
pub fn quieten_first(uid: u32) {
    if let Some(shared) = SHARED.get() {
        shared.quieten(Machine, uid);
    }
}

/// Starts all processors of `infos` that have a stack. Those that do not come get no stack any more.
/// `infos` is at its physical address.
pub fn start(infos: &mut [Info]) {
    // They begin at the start of a page below 1 MiB. Nothing is read from disks any more.
    let page = TRANSFER_BUFFER.start;
    let [low, high, ..] = switch::processors_begin(infos).to_le_bytes();
    // A far jump to segment 0.
    Machine.write(page, &[0xEA, low, high, 0, 0]);
    // The other processor writes it, once.
    let waits = |info: &Info| physical::read_quadword((&raw const info.extra) as u64) != 0;
    processors::start_others(Machine, page, infos, waits);
}
