//! The short responses: the loader's name, what it passes on, times and random words.

use limine::firmware_type::FirmwareType;
use limine::paging::Mode;

use crate::memory::{at, reclaimable};
use crate::outcome::check;
use crate::report::say;
use crate::requests::{
    BASE_REVISION, BOOTLOADER_INFO, COMMAND_LINE, DATE, DTB, EFI, EFI_MEMORY_MAP, ENTROPY,
    FIRMWARE_TYPE, HHDM, KEEP_IOMMU, PAGING, PERFORMANCE, TSC, UNKNOWN, revision,
};

pub fn check_responses() {
    check(
        "base revision",
        BASE_REVISION.is_supported() && revision() <= 6,
    );
    check_texts();
    check_modes();
    check_times();
    check_entropy();
    check(
        "IOMMUs are left alone",
        KEEP_IOMMU.words::<1>() == Some([0]),
    );
}

/// Checks the loader's name, and the command line.
fn check_texts() {
    let info = BOOTLOADER_INFO.get_response();
    check(
        "bootloader info",
        info.is_some_and(|info| {
            info.revision() == 0 && info.name() == "Bootpath" && reclaimable(at(info))
        }),
    );
    if let Some(info) = info {
        say!("loader {} {}", info.name(), info.version());
    }
    let line = COMMAND_LINE.get_response();
    check(
        "command line",
        line.is_some_and(|line| reclaimable(at(line))),
    );
    if let Some(line) = line {
        say!("command line: {}", line.cmdline().to_str().unwrap_or("?"));
    }
}

/// Checks the kind of firmware, the direct map, and the paging mode.
fn check_modes() {
    let firmware = FIRMWARE_TYPE.get_response();
    check(
        "firmware type",
        firmware.is_some_and(|f| f.firmware_type() == FirmwareType::X86_BIOS),
    );
    check(
        "direct map",
        HHDM.get_response()
            .is_some_and(|r| r.offset() == 0xFFFF_8000_0000_0000 && reclaimable(at(r))),
    );
    if let Some(paging) = PAGING.get_response() {
        let levels = if paging.mode() == Mode::FIVE_LEVEL {
            5
        } else {
            4
        };
        say!("{levels} levels of page tables");
    }
    check("paging mode", PAGING.get_response().is_some());
    check(
        "no EFI, device tree",
        EFI.get_response().is_none()
            && EFI_MEMORY_MAP.get_response().is_none()
            && DTB.get_response().is_none()
            && UNKNOWN.words::<1>().is_none(),
    );
}

/// Checks the date, the frequency of the time-stamp counter, and how long the boot took.
fn check_times() {
    let seconds = DATE.get_response().map(|date| date.timestamp().as_secs());
    check(
        "date",
        seconds.is_some_and(|seconds| seconds > 1_700_000_000),
    );
    let frequency = TSC.words::<2>().map_or(0, |[_, frequency]| frequency);
    check("time-stamp counter", frequency > 1_000_000);
    let times = PERFORMANCE.words::<4>();
    check(
        "performance",
        times.is_some_and(|[_, reset, begin, end]| reset == 0 && begin < end && end < 1 << 40),
    );
}

/// Checks the random words.
fn check_entropy() {
    let entropy = ENTROPY
        .words::<3>()
        .filter(|[_, count, address]| *count == 6 && reclaimable(*address));
    // SAFETY: the loader promises as many as the kernel asked for.
    let values = entropy.map(|[_, _, address]| unsafe { *(address as *const [u64; 6]) });
    check(
        "random words",
        values
            .is_some_and(|values| values.iter().all(|&value| value != 0) && values[1] != values[0]),
    );
}
