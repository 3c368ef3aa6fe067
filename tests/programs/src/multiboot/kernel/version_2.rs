//! The boot information of version 2.

use core::sync::atomic::Ordering::Relaxed;

use multiboot2::{BootInformation, BootInformationHeader, FramebufferTag, FramebufferType};

use crate::memory::{Uses, bytes, read};
use crate::memory_map::NO_MAP;
use crate::outcome::Checks;
use crate::parts::{check_disk, check_module, check_section};
use crate::report::{self, say};
use crate::screen::Framebuffer;
use crate::video::{STAY, check_framebuffer, check_vbe};

pub fn check_2(info: u64, checks: &mut Checks, uses: &mut Uses) {
    checks.check("EBX is a multiple of 8", info.is_multiple_of(8));
    // SAFETY: Multiboot promises it.
    let boot = unsafe { BootInformation::load(info as *const BootInformationHeader) };
    let Ok(boot) = boot else {
        say!("FAILED: {:?}", boot.err());
        checks.failed = true;
        return;
    };
    checks.check(
        "information's place",
        uses.add(info, boot.total_size() as u64),
    );
    checks.check("reserved", read::<u32>(info + 4) == Some(0));
    let all = bytes(info, boot.total_size() as u64);
    report::bytes("information", all, &[]);
    let line = check_texts(&boot);
    check_modules(&boot, checks, uses);
    check_boot_device(&boot, line, checks);
    STAY.store(line.ends_with(" stay"), Relaxed);
    let framebuffer = check_screen(&boot, checks);
    check_sections(&boot, checks, uses);
    check_firmware(&boot, checks);
    check_vbe_blocks(&boot, framebuffer.as_ref(), checks);
    checks.check("no load base", boot.load_base_addr_tag().is_none());
    check_memory_map(&boot, checks, uses);
}

/// Prints the loader's name, and returns the command line.
fn check_texts<'b>(boot: &'b BootInformation) -> &'b str {
    let name = boot.boot_loader_name_tag().and_then(|tag| tag.name().ok());
    say!("multiboot 2 by {}", name.unwrap_or("?"));
    let line = boot.command_line_tag().and_then(|tag| tag.cmdline().ok());
    let line = line.unwrap_or("?");
    say!("command line: {line}");
    line
}

fn check_modules(boot: &BootInformation, checks: &mut Checks, uses: &mut Uses) {
    for module in boot.module_tags() {
        let (start, end) = (module.start_address(), module.end_address());
        check_module(
            checks,
            uses,
            start.into(),
            end.into(),
            module.cmdline().unwrap_or("?"),
        );
    }
}

fn check_boot_device(boot: &BootInformation, line: &str, checks: &mut Checks) {
    check_disk(checks, boot.bootdev_tag().is_some(), line);
    if let Some(tag) = boot.bootdev_tag() {
        say!(
            "drive {:x} {:x} {:x}",
            tag.biosdev(),
            tag.slice(),
            tag.part()
        );
    }
}

/// The framebuffer, if there is one and it is not text.
fn check_screen(boot: &BootInformation, checks: &mut Checks) -> Option<Framebuffer> {
    match boot.framebuffer_tag() {
        Some(Ok(tag)) if tag.buffer_type() == Ok(FramebufferType::Text) => {
            check_text_mode(tag, checks);
        }
        Some(Ok(tag)) => {
            let framebuffer = direct_color(tag);
            checks.check("RGB", framebuffer.is_some());
            if let Some(framebuffer) = &framebuffer {
                check_framebuffer(checks, framebuffer);
            }
            return framebuffer;
        }
        Some(Err(_)) => checks.check("framebuffer", false),
        None => say!("no screen"),
    }
    None
}

fn check_text_mode(tag: &FramebufferTag, checks: &mut Checks) {
    say!(
        "screen {:x} {} {}",
        tag.address(),
        tag.width(),
        tag.height()
    );
    checks.check(
        "16 bits a character",
        tag.bpp() == 16 && tag.pitch() == 2 * tag.width(),
    );
}

/// The framebuffer that a tag describes, if its pixels have direct colours.
fn direct_color(tag: &FramebufferTag) -> Option<Framebuffer> {
    let Ok(FramebufferType::RGB { red, green, blue }) = tag.buffer_type() else {
        return None;
    };
    Some(Framebuffer {
        start: tag.address() as *mut u8,
        pitch: tag.pitch() as usize,
        width: tag.width() as usize,
        height: tag.height() as usize,
        bits_per_pixel: tag.bpp().into(),
        colors: [red, green, blue].map(|field| (field.position, field.size)),
    })
}

fn check_sections(boot: &BootInformation, checks: &mut Checks, uses: &mut Uses) {
    match boot.elf_sections_tag() {
        Some(tag) => {
            checks.check(
                "sections",
                tag.number_of_sections() == tag.sections().count() as u32,
            );
            // SAFETY: it is loaded, and mapped.
            let names = unsafe { tag.string_table() }.unwrap_or_default();
            for section in tag.sections().filter(|section| section.sh_type != 0) {
                let name = names.get(section.sh_name as usize..).unwrap_or_default();
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = core::str::from_utf8(name).unwrap_or("?");
                check_section(checks, uses, name, section.sh_addr, section.sh_size);
            }
        }
        None => say!("no sections"),
    }
}

/// Checks the firmware's data: APM, SMBIOS, ACPI.
fn check_firmware(boot: &BootInformation, checks: &mut Checks) {
    if let Some(apm) = boot.apm_tag() {
        say!("apm {:x}", apm.version());
        checks.check("APM in ROM", apm.cseg() >= 0xC000 && apm.cseg_len() > 0);
    }
    for tag in boot.smbios_tags() {
        say!("smbios {}.{}", tag.major(), tag.minor());
        checks.check("SMBIOS", tag.tables().starts_with(b"_SM"));
    }
    match boot.rsdp_v1_tag() {
        Some(tag) => {
            say!("rsdp 1 {:x}", tag.rsdt_address());
            checks.check(
                "RSDP",
                tag.checksum_is_valid() && tag.signature() == Ok("RSD PTR "),
            );
        }
        None => say!("no rsdp"),
    }
    if let Some(tag) = boot.rsdp_v2_tag() {
        say!("rsdp 2 {:x}", tag.xsdt_address());
        checks.check("RSDP 2.0", tag.checksum_is_valid() && tag.revision() >= 2);
    }
}

fn check_vbe_blocks(
    boot: &BootInformation,
    framebuffer: Option<&Framebuffer>,
    checks: &mut Checks,
) {
    match boot.vbe_info_tag() {
        Some(tag) => check_vbe(
            checks,
            framebuffer,
            tag.mode(),
            [
                tag.interface_segment(),
                tag.interface_offset(),
                tag.interface_length(),
            ],
            bytes(core::ptr::from_ref(tag) as *const u8 as u64 + 16, 512),
            bytes(core::ptr::from_ref(tag) as *const u8 as u64 + 528, 256),
        ),
        None => checks.check("no VBE", framebuffer.is_none()),
    }
}

fn check_memory_map(boot: &BootInformation, checks: &mut Checks, uses: &Uses) {
    match (boot.memory_map_tag(), boot.basic_memory_info_tag()) {
        (Some(tag), Some(basic)) => {
            checks.check(
                "memory map's version",
                tag.entry_version() == 0 && tag.entry_size() == 24,
            );
            let mut map = NO_MAP;
            for area in tag.memory_areas() {
                let kind = u32::from(area.typ());
                map.add(checks, uses, area.start_address(), area.size(), kind);
            }
            let (lower, upper) = (basic.memory_lower(), basic.memory_upper());
            map.finish(checks, uses, lower.into(), upper.into());
        }
        _ => checks.check("memory map", false),
    }
}
