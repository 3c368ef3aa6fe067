//! The files: the kernel's own one, and the modules.

use limine::memory_map::EntryType;

use crate::memory::{at, memory_kind, reclaimable, walk};
use crate::outcome::check;
use crate::report;
use crate::requests::{COMMAND_LINE, FILE, MODULES, from_cd, hhdm};

pub fn check_files() {
    let describe = |what: &str, file: &limine::file::File| {
        // SAFETY: the loader's promise.
        let bytes = unsafe { core::slice::from_raw_parts(file.addr(), file.size() as usize) };
        let texts = [file.path(), file.string()].map(|text| text.to_str().unwrap_or("?"));
        report::bytes(what, bytes, &texts);
        let address = file.addr() as u64;
        let disk = file.mbr_disk_id().is_some()
            && file.partition_idx().is_some_and(|index| index.get() == 1);
        let none = file.tftp_ip().is_none()
            && file.tftp_port().is_none()
            && file.gpt_disk_id().is_none()
            && file.gpt_partition_id().is_none()
            && file.partition_uuid().is_none();
        file.revision() == 0
            && address.is_multiple_of(4096)
            && disk
            && none
            && (file.media_type() == limine::file::MediaType::OPTICAL) == from_cd()
            && reclaimable(at(file))
            && walk(address).is_some()
    };
    let file = FILE.get_response().map(|response| response.file());
    check(
        "kernel's file",
        file.is_some_and(|file| describe("file", file)),
    );
    let line = COMMAND_LINE
        .get_response()
        .map(|line| line.cmdline().as_ptr());
    check(
        "the command line is the file's string",
        file.map(|file| file.string().as_ptr()) == line,
    );
    let modules = MODULES.get_response();
    check(
        "modules",
        modules.is_some_and(|modules| modules.revision() == 2),
    );
    for module in modules.map_or(&[][..], |modules| modules.modules()) {
        let physical = module.addr() as u64 - hhdm();
        check(
            "module",
            describe("module", module)
                && memory_kind(physical) == Some(EntryType::EXECUTABLE_AND_MODULES),
        );
    }
}
