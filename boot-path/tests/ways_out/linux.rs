//! Linux kernels: the setup header, the places in memory, and what the kernel is told.

use boot_path::entry::protocol::LinuxEntry;
use boot_path::errors::catalogue::{Named, Report};
use boot_path::files::integrity::Sums;
use boot_path::memory::address::PhysAddr;
use boot_path::memory::map::{MIB, MemoryKind, MemoryMap, Region};
use boot_path::ways_out::linux::image::{
    BootParams, E820Entry, HEADER, HEADER_ROOM, Initrd, LinuxError, LinuxImage, PlaceError,
    VIDEO_NORMAL, checks_itself, e820, fill_memory_map, initrd_size, place, video_mode,
};
use boot_path::ways_out::linux::segments;
use boot_path::ways_out::sums::of_kernel;
use proptest::prelude::*;
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use crate::bzimage::*;

const GIB: u64 = 1 << 30;

fn region(start: u64, end: u64, kind: MemoryKind) -> Region {
    Region {
        start: PhysAddr::new(start),
        end: PhysAddr::new(end),
        kind,
    }
}

fn read(file: &[u8]) -> Result<LinuxImage, LinuxError> {
    LinuxImage::read(&file[..file.len().min(HEADER_ROOM)], file.len() as u64)
}

/// A good file with some bytes changed.
fn changed(changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut file = bzimage(100_000);
    for (offset, bytes) in changes {
        set(&mut file, *offset, bytes);
    }
    file
}

fn image(changes: &[(usize, &[u8])]) -> LinuxImage {
    read(&changed(changes)).expect("it is accepted")
}

fn ram(ranges: &[(u64, u64)]) -> MemoryMap {
    let mut memory = MemoryMap::new();
    for &(start, end) in ranges {
        memory.add(region(start, end, MemoryKind::Usable));
    }
    memory.finish(0x9_F000);
    memory.round_to_pages();
    memory
}

#[track_caller]
fn refused(changes: &[(usize, &[u8])], code: &str, facts: &str) {
    let error = read(&changed(changes)).expect_err("it is refused");
    assert_eq!(error.entry().code, code);
    let report = Report(&error).to_string();
    assert!(report.ends_with(&format!(": {facts}")), "{report}");
}

/// "`__BOOT_CS` must have execute/read permission; `__BOOT_DS` must have read/write permission": 64-bit code
/// and flat data, at 10h and 18h.
#[test]
fn the_64_bit_entry_has_its_segments() {
    let descriptor = |selector: u16| segments::GDT[usize::from(selector) / 8];
    assert_eq!((segments::BOOT_CS, segments::BOOT_DS), (0x10, 0x18));
    assert_eq!(descriptor(segments::BOOT_CS), 0x00AF_9B00_0000_FFFF);
    assert_eq!(descriptor(segments::BOOT_DS), 0x00CF_9300_0000_FFFF);
}

#[test]
fn what_cannot_be_booted_has_a_name() {
    refused(&[(0x202, b"HdrT")], "10V", "no HdrS in it");
    refused(&[(0x1FE, &[0])], "10V", "no HdrS in it");
    let jump = "EBh 29h at 200h is no jump behind the header";
    refused(&[(JUMP + 1, &[0x29])], "10V", jump);
    let jump = "EBh 80h at 200h is no jump behind the header";
    refused(&[(JUMP + 1, &[0x80])], "10V", jump);
    let jump = "E9h 6Ah at 200h is no jump behind the header";
    refused(&[(JUMP, &[0xE9])], "10V", jump);
    let old = "protocol 0201h, older than 0202h";
    refused(&[(VERSION, &[1, 2])], "10V", old);
    refused(&[(LOADFLAGS, &[0x80])], "10V", "a zImage, not a bzImage");
    let long = "64 sectors of setup code, more than 63";
    refused(&[(SETUP_SECTS, &[64])], "10V", long);
    let odd = "kernel_alignment 00000000h";
    refused(&[(KERNEL_ALIGNMENT, &[0; 4])], "10V", odd);
    let odd = "kernel_alignment 00300000h";
    refused(&[(KERNEL_ALIGNMENT + 2, &[0x30])], "10V", odd);
    let short = "102561 bytes needed, 102560 bytes present";
    refused(&[(SYSSIZE, &6251_u32.to_le_bytes())], "10E", short);
    // The setup code alone is longer than the file.
    let error = LinuxImage::read(&bzimage(1)[..HEADER_ROOM], 2560);
    let (needed, present) = (2561, 2560);
    assert_eq!(error.err(), Some(LinuxError::Truncated { needed, present }));
}

#[test]
fn what_a_version_does_not_have_is_not_looked_at() {
    // 2.02: no alignment, nothing relocatable, short command lines, a low RAM disk, 16 bits.
    let old = image(&[
        (VERSION, &[2, 2]),
        (KERNEL_ALIGNMENT, &[3; 4]),
        (SYSSIZE, &[0xFF; 4]),
    ]);
    assert!(!old.relocatable() && !old.has_64_bit_entry());
    assert_eq!(old.entry(None, VIDEO_NORMAL), Ok(LinuxEntry::Bits16));
    assert_eq!(old.check_command_line(255), Ok(()));
    let (length, limit) = (256, 255);
    let error = LinuxError::CommandLine { length, limit };
    assert_eq!(old.check_command_line(256), Err(error));
    let mut memory = ram(&[(MIB, 2 * GIB)]);
    let initrd = old.place_initrd(5000, &mut memory).unwrap();
    assert_eq!(initrd.start.as_u64(), 0x3800_0000 - 0x2000);
    // Fields behind the end that the jump gives do not exist, whatever the version says.
    let short = image(&[(JUMP + 1, &[0x2A])]);
    assert_eq!(short.header().xloadflags.get(), 0);
    assert_eq!(short.header().cmd_line_ptr.get(), 0);
    assert!(!short.relocatable());
    // Nor does a field that this end cuts.
    let cut = image(&[(JUMP + 1, &[0x38])]);
    assert!(cut.has_64_bit_entry());
    assert_eq!(cut.header().cmdline_size.get(), 0);
}

#[test]
fn the_payload_is_where_the_header_says() {
    let offset: (usize, &[u8]) = (PAYLOAD_OFFSET, &0x300_u32.to_le_bytes());
    let start = image(&[]).setup_bytes() as u64 + 0x300;
    let most = 100_000 - 0x300;
    let payload = |length: u32, version: u8| {
        let length: (usize, &[u8]) = (PAYLOAD_LENGTH, &length.to_le_bytes());
        image(&[offset, length, (VERSION, &[version, 2])]).payload()
    };
    assert_eq!(payload(1000, 15), Some(start..start + 1000));
    assert_eq!(payload(most, 8), Some(start..start + u64::from(most)));
    // There is no payload behind the end of the file, nor before protocol 2.08.
    assert_eq!(payload(most + 1, 15), None);
    assert_eq!(payload(u32::MAX, 15), None);
    assert_eq!(payload(0, 15), None);
    assert_eq!(payload(1000, 7), None);
}

/// Magic numbers of compressed kernels, and whether the kernel itself finds a wrong bit in what
/// follows.
const PAYLOADS: [(&[u8], bool); 10] = [
    (b"\xFD7zXZ\0\0\x01\x69", true),
    (b"\xFD7zXZ\0\0\x04\xE6", false), // CRC-64, which Linux does not know
    (b"\xFD7zXZ\0\0", false),
    (b"BZh9", true),
    (b"\x28\xB5\x2F\xFD\xA4\0", true),
    (b"\x28\xB5\x2F\xFD\xA0\0", false), // no checksum
    (b"\x28\xB5\x2F\xFD", false),
    (b"\x1F\x8B\x08", false),
    (b"\x02\x21\x4C\x18", false),
    (b"", false),
];

#[test]
fn a_payload_that_checks_itself_has_no_checksum() {
    const CRC: fn(u32, &[u8]) -> u32 = |crc, bytes| {
        bytes
            .iter()
            .fold(crc.wrapping_add(bytes.len() as u32), |crc, &byte| {
                crc.rotate_left(5) ^ u32::from(byte)
            })
    };
    let offset: (usize, &[u8]) = (PAYLOAD_OFFSET, &0x300_u32.to_le_bytes());
    let length: (usize, &[u8]) = (PAYLOAD_LENGTH, &1000_u32.to_le_bytes());
    let start = image(&[]).setup_bytes() + 0x300;
    for (magic, itself) in PAYLOADS {
        assert_eq!(checks_itself(magic), itself, "{magic:x?}");
        let sum = |at: usize| {
            let mut file = changed(&[offset, length, (start, magic)]);
            file[at] ^= 0x10;
            of_kernel(&file, Sums::Linux, CRC).unwrap()
        };
        let good = sum(start + 100);
        // Within the payload, and on both sides of it.
        assert_eq!(sum(start + 999) == good, itself, "{magic:x?}");
        assert_ne!(sum(start - 1), sum(start + 1000));
        assert_ne!(sum(0), sum(start - 1));
        assert_ne!(good, sum(start + 1000));
        assert_ne!(good, sum(start - 1));
    }
}

#[test]
fn four_sectors_are_meant_by_none() {
    let file = changed(&[(SETUP_SECTS, &[0])]);
    assert_eq!(read(&file).unwrap().setup_bytes(), 5 * 512);
    assert_eq!(image(&[(SETUP_SECTS, &[1])]).setup_bytes(), 2 * 512);
    let unknown: (usize, &[u8]) = (SYSSIZE, &[0; 4]);
    let most = image(&[(SETUP_SECTS, &[63]), unknown]);
    assert_eq!(most.setup_bytes(), 0x8000);
}

#[test]
fn the_entry_is_the_best_one_or_the_one_that_is_asked_for() {
    let new = image(&[]);
    assert_eq!(new.entry(None, VIDEO_NORMAL), Ok(LinuxEntry::Bits64));
    for entry in [LinuxEntry::Bits16, LinuxEntry::Bits32, LinuxEntry::Bits64] {
        assert_eq!(new.entry(Some(entry), VIDEO_NORMAL), Ok(entry));
    }
    for changes in [&[(XLOADFLAGS, &[0xFE_u8][..])], &[(VERSION, &[0x0B, 2])]] {
        let other = image(changes);
        assert_eq!(other.entry(None, VIDEO_NORMAL), Ok(LinuxEntry::Bits32));
        let error = other
            .entry(Some(LinuxEntry::Bits64), VIDEO_NORMAL)
            .unwrap_err();
        let report = Report(&error).to_string();
        assert!(
            report.contains(": no 64-bit entry: protocol 020"),
            "{report}"
        );
    }
    assert_eq!(
        image(&[(VERSION, &[7, 2])]).entry(None, VIDEO_NORMAL),
        Ok(LinuxEntry::Bits32)
    );
    assert_eq!(
        image(&[(VERSION, &[6, 2])]).entry(None, VIDEO_NORMAL),
        Ok(LinuxEntry::Bits16)
    );

    let placed = new.place(&mut ram(&[(MIB, GIB)])).unwrap();
    let point = |entry| new.entry_point(entry, &placed);
    assert_eq!(point(LinuxEntry::Bits16), place::PARAMETERS + 0x200);
    assert_eq!(point(LinuxEntry::Bits32), PhysAddr::new(0x100_0000));
    assert_eq!(point(LinuxEntry::Bits64), PhysAddr::new(0x100_0200));
}

/// iPXE's and others' images have a header of 2.07 but no 32-bit code where it says.
#[test]
fn without_32_bit_code_the_setup_code_runs() {
    let nowhere: (usize, &[u8]) = (CODE32_START, &[0; 4]);
    let old: (usize, &[u8]) = (VERSION, &[7, 2]);
    let kernel = image(&[nowhere, old]);
    assert_eq!(kernel.entry(None, VIDEO_NORMAL), Ok(LinuxEntry::Bits16));
    let demanded = Some(LinuxEntry::Bits32);
    assert_eq!(kernel.entry(demanded, VIDEO_NORMAL), Ok(LinuxEntry::Bits32));
    // A 64-bit entry is one by its own flag.
    let kernel = image(&[nowhere]);
    assert_eq!(kernel.entry(None, VIDEO_NORMAL), Ok(LinuxEntry::Bits64));
}

/// Only the setup code looks at the mode.
#[test]
fn a_video_mode_is_for_the_setup_code() {
    for changes in [&[][..], &[(VERSION, &[7_u8, 2][..])]] {
        let kernel = image(changes);
        assert_eq!(kernel.entry(None, 0x317), Ok(LinuxEntry::Bits16));
        let demanded = Some(LinuxEntry::Bits32);
        assert_eq!(kernel.entry(demanded, 0x317), Ok(LinuxEntry::Bits32));
    }
}

#[test]
fn video_modes_of_a_command_line() {
    for (parts, mode) in [
        (&[][..], 0xFFFF),
        (&["quiet"], 0xFFFF),
        (&["vga=normal"], 0xFFFF),
        (&["vga=ext"], 0xFFFE),
        (&["vga=extended"], 0xFFFE),
        (&["vga=current"], 0x0F04),
        (&["vga=791"], 791),
        (&["quiet\tvga=0x317 splash"], 0x317),
        (&["vga=0X31b"], 0x31B),
        (&["vga=01427"], 0x317),
        (&["vga=0"], 0),
        (&["vga=65535"], 0xFFFF),
        // The last one counts.
        (&["vga=1 vga=2", "x"], 2),
        (&["vga=1", "vga=normal"], 0xFFFF),
        // Nobody answers, and what is no mode is none.
        (&["vga=ask"], 0xFFFF),
        (&["vga=6 vga=ask"], 6),
        (&["vga="], 0xFFFF),
        (&["vga=x"], 0xFFFF),
        (&["vga=0x"], 0xFFFF),
        (&["vga=08"], 0xFFFF),
        (&["vga=+1"], 0xFFFF),
        (&["vga=-1"], 0xFFFF),
        (&["vga=65536"], 0xFFFF),
        (&["vga=3,x"], 0xFFFF),
        (&["xvga=3", "vga", "VGA=3"], 0xFFFF),
    ] {
        assert_eq!(video_mode(parts.iter().copied()), mode, "{parts:?}");
    }
}

#[test]
fn the_command_line_is_as_long_as_the_kernel_says() {
    assert_eq!(image(&[]).check_command_line(2047), Ok(()));
    let error = image(&[]).check_command_line(2048).unwrap_err();
    let report = Report(&error).to_string();
    let facts = ": a command line of 2048 bytes, more than 2047";
    assert!(
        report.starts_with("error 10V") && report.ends_with(facts),
        "{report}"
    );
}

#[test]
fn a_relocatable_kernel_goes_where_it_prefers_or_to_an_aligned_place() {
    let at = |changes: &[(usize, &[u8])], ranges: &[(u64, u64)]| {
        let image = image(changes);
        let mut memory = ram(ranges);
        let placed = image.place(&mut memory).ok()?;
        // The memory is taken up to the last byte that the kernel needs.
        let end = placed.start + 0x40_0000;
        let taken = memory
            .regions()
            .iter()
            .find(|r| r.kind == MemoryKind::Kernel);
        assert_eq!(taken.map(|r| (r.start, r.end)), Some((placed.start, end)));
        let mut parameters = [0; 4096];
        image.fill_header(
            &placed,
            Initrd::default(),
            false,
            VIDEO_NORMAL,
            &mut parameters,
        );
        let number = |at: usize| u32::from_le_bytes(parameters[at..at + 4].try_into().unwrap());
        assert_eq!(u64::from(number(0x214)), placed.start.as_u64());
        Some((placed.start.as_u64(), number(KERNEL_ALIGNMENT)))
    };
    let large = [(MIB, GIB)];
    assert_eq!(at(&[], &large), Some((0x100_0000, 0x20_0000)));
    // No preferred address: 1 MiB is not a multiple of 2 MiB.
    let any: (usize, &[u8]) = (PREF_ADDRESS, &[0; 8]);
    assert_eq!(at(&[any], &large), Some((0x20_0000, 0x20_0000)));
    // The preferred place is too short by a page.
    let hole = [(MIB, 0x13F_F000), (0x140_0000, GIB)];
    assert_eq!(at(&[], &hole), Some((0x20_0000, 0x20_0000)));
    // There is room, but not with this alignment: half of it is used if the kernel allows that.
    let narrow = [(MIB + 0x1000, 0x60_0000)];
    assert_eq!(
        at(&[(KERNEL_ALIGNMENT + 2, &[0x80])], &narrow),
        Some((0x20_0000, 0x20_0000))
    );
    assert_eq!(
        at(
            &[(KERNEL_ALIGNMENT + 2, &[0x80]), (MIN_ALIGNMENT, &[23])],
            &narrow
        ),
        None
    );
    // Kernels before 2.10 do not say what they need: three times their size is taken.
    let old = read(&changed(&[(VERSION, &[9, 2])])).unwrap();
    let mut memory = ram(&large);
    let placed = old.place(&mut memory).unwrap();
    assert_eq!((placed.start.as_u64(), placed.length), (0x20_0000, 100_000));
    let taken = memory
        .regions()
        .iter()
        .find(|r| r.kind == MemoryKind::Kernel);
    assert_eq!(
        taken.map(|r| r.end - r.start),
        Some(300_000_u64.next_multiple_of(4096))
    );
}

#[test]
fn nothing_is_preferred_out_of_reach() {
    let high = 5 * GIB;
    let wish: (usize, &[u8]) = (PREF_ADDRESS, &high.to_le_bytes());
    let mut memory = ram(&[(MIB, GIB), (4 * GIB, 8 * GIB)]);
    let mut start = |wish| image(&[wish]).place(&mut memory).unwrap().start.as_u64();
    assert_eq!(start(wish), 0x20_0000);
    let wish: (usize, &[u8]) = (PREF_ADDRESS, &u64::MAX.to_le_bytes());
    assert_eq!(start(wish), 0x60_0000);
    let wish: (usize, &[u8]) = (PREF_ADDRESS, &0x1_0000_u64.to_le_bytes());
    assert_eq!(start(wish), 0xA0_0000);
}

#[test]
fn a_kernel_that_cannot_move_gets_both_its_places() {
    let fixed: (usize, &[u8]) = (RELOCATABLE_KERNEL, &[0]);
    let kernel = image(&[fixed]);
    let kinds = |memory: &MemoryMap| -> Vec<(u64, u64)> {
        let taken = memory.regions().iter();
        taken
            .filter(|r| r.kind == MemoryKind::Kernel)
            .map(|r| (r.start.as_u64(), r.end.as_u64()))
            .collect()
    };
    let mut memory = ram(&[(MIB, GIB)]);
    let placed = kernel.place(&mut memory).unwrap();
    assert_eq!(placed.start.as_u64(), MIB);
    assert_eq!(kinds(&memory), [(MIB, 0x11_9000), (0x100_0000, 0x140_0000)]);
    // If the two regions touch, they become one.
    let near: (usize, &[u8]) = (PREF_ADDRESS, &0x11_0000_u64.to_le_bytes());
    let mut memory = ram(&[(MIB, GIB)]);
    image(&[fixed, near]).place(&mut memory).unwrap();
    assert_eq!(kinds(&memory), [(MIB, 0x51_0000)]);

    let refusal = |ranges: &[(u64, u64)]| match kernel.place(&mut ram(ranges)) {
        Err(PlaceError::NotFree(error)) => Report(&error).to_string(),
        other => panic!("{other:?}"),
    };
    let report = refusal(&[(MIB, 0x13F_F000)]);
    assert!(report.starts_with("error 10U"), "{report}");
    assert!(report.ends_with(": 1000000h to 1400000h"), "{report}");
    let report = refusal(&[(MIB + 0x1000, GIB)]);
    assert!(report.ends_with(": 100000h to 1186A0h"), "{report}");
}

#[test]
fn the_ram_disk_is_as_high_as_it_may_be() {
    let place = |changes: &[(usize, &[u8])], ranges: &[(u64, u64)], size| {
        let mut memory = ram(ranges);
        let initrd = image(changes).place_initrd(size, &mut memory).ok()?;
        assert_eq!(initrd.size, size);
        Some(initrd.start.as_u64())
    };
    let ranges = [(MIB, 0xBFFE_0000), (4 * GIB, 6 * GIB)];
    assert_eq!(place(&[], &ranges, 0), Some(0));
    assert_eq!(place(&[], &ranges, 1), Some(0x7FFF_F000));
    assert_eq!(place(&[], &ranges, 0x1001), Some(0x7FFF_E000));
    let highest: (usize, &[u8]) = (INITRD_ADDR_MAX, &[0xFF; 4]);
    assert_eq!(place(&[highest], &ranges, 4096), Some(0xBFFD_F000));
    // The byte at the limit may be used. If the limit is not at the end of a page, that page may
    // not.
    let odd: (usize, &[u8]) = (INITRD_ADDR_MAX, &0x1234_5677_u32.to_le_bytes());
    assert_eq!(place(&[odd], &ranges, 0x678), Some(0x1234_5000));
    assert_eq!(place(&[odd], &ranges, 0x679), Some(0x1234_4000));
    // If the highest piece is too small, another one is used.
    let pieces = [(MIB, 0x1000_0000), (0x1001_0000, 0x1002_0000)];
    assert_eq!(place(&[], &pieces, 0x1_0000), Some(0x1001_0000));
    assert_eq!(place(&[], &pieces, 0x1_0001), Some(0xFFE_F000));
    assert_eq!(place(&[], &pieces, 0x1000_0000), None);
    let low: (usize, &[u8]) = (INITRD_ADDR_MAX, &0xF_FFFF_u32.to_le_bytes());
    assert_eq!(place(&[low], &pieces, 1), None);
}

#[test]
fn each_file_of_the_ram_disk_is_filled_up() {
    assert_eq!(initrd_size([].into_iter()), 0);
    assert_eq!(initrd_size([0, 1, 4, 6].into_iter()), 4 + 4 + 8);
    assert_eq!(initrd_size([u64::MAX, 9].into_iter()), u64::MAX);
}

#[test]
fn the_header_says_what_the_loader_did_and_keeps_the_rest() {
    let file = changed(&[(0x23C, &[7; 12]), (0x264, &[9; 8])]);
    let image = read(&file).unwrap();
    let placed = image.place(&mut ram(&[(MIB, GIB)])).unwrap();
    let mut parameters = BootParams::new_zeroed();
    image.copy_header(&file, &mut parameters);
    let mut page = parameters.as_bytes().to_vec();
    let initrd = Initrd {
        start: PhysAddr::new(0x3FFF_0000),
        size: 0x1234,
    };
    image.fill_header(&placed, initrd, true, VIDEO_NORMAL, &mut page);

    let mut expected = vec![0; 4096];
    expected[HEADER..0x26C].copy_from_slice(&file[HEADER..0x26C]);
    let command_line = place::COMMAND_LINE.as_u64() as u32;
    set(&mut expected, 0x1FA, &[0xFF; 2]);
    set(&mut expected, 0x210, &[0xFF, 0x81]);
    set(&mut expected, 0x214, &0x100_0000_u32.to_le_bytes());
    set(&mut expected, 0x218, &0x3FFF_0000_u32.to_le_bytes());
    set(&mut expected, 0x21C, &0x1234_u32.to_le_bytes());
    set(&mut expected, 0x224, &0xAE00_u16.to_le_bytes());
    set(&mut expected, 0x228, &command_line.to_le_bytes());
    set(
        &mut expected,
        0x250,
        &place::SETUP_DATA.as_u64().to_le_bytes(),
    );
    assert_eq!(page, expected);
}

#[test]
fn an_old_header_is_not_written_behind_its_end() {
    let image = image(&[(VERSION, &[2, 2]), (JUMP + 1, &[0x2A])]);
    let placed = image.place(&mut ram(&[(MIB, GIB)])).unwrap();
    let mut code = vec![0xC5; 0x8000];
    image.fill_header(&placed, Initrd::default(), true, 0x317, &mut code);
    assert!(code[..HEADER].iter().all(|&byte| byte == 0xC5));
    assert!(code[0x22C..].iter().all(|&byte| byte == 0xC5));
    assert_eq!(
        code[0x228..0x22C],
        (place::COMMAND_LINE.as_u64() as u32).to_le_bytes()
    );
    assert_eq!(code[0x1FA..0x1FC], [0x17, 3], "vid_mode");
}

/// A map of so many regions: RAM and ACPI memory in turn.
fn long_map(regions: u64) -> MemoryMap {
    let mut memory = MemoryMap::new();
    for number in 0..regions {
        let kind = [MemoryKind::Usable, MemoryKind::AcpiReclaimable][number as usize % 2];
        let start = MIB + number * 0x1_0000;
        let end = start + 0x1_0000;
        memory.add(region(start, end, kind));
    }
    memory
}

#[test]
fn what_the_loader_took_is_free_to_the_kernel() {
    let mut memory = ram(&[(0, 0xA_0000), (MIB, 0x1000_0000)]);
    memory.add(region(0x1000_0000, 0x1000_2000, MemoryKind::AcpiNvs));
    memory.add(region(
        0x1000_2000,
        0x1000_4000,
        MemoryKind::AcpiReclaimable,
    ));
    memory.add(region(0x1000_5000, 0x1000_6000, MemoryKind::Bad));
    for (start, end, kind) in [
        (0x1000, 0x6_0000, MemoryKind::Reclaimable),
        (MIB, 2 * MIB, MemoryKind::Kernel),
        (0xFFF_0000, 0x1000_0000, MemoryKind::Module),
        (0xB_8000, 0xC_0000, MemoryKind::Framebuffer),
    ] {
        memory.mark(PhysAddr::new(start), PhysAddr::new(end), kind);
    }
    let found: Vec<_> = e820(&memory)
        .map(|e| (e.address.get(), e.size.get(), e.kind.get()))
        .collect();
    let expected = [
        (0, 0x1000, 2),
        (0x1000, 0x9_E000, 1),
        (0x9_F000, 0x6_1000, 2),
        (MIB, 0xFF0_0000, 1),
        (0x1000_0000, 0x2000, 4),
        (0x1000_2000, 0x2000, 3),
        (0x1000_5000, 0x1000, 5),
    ];
    assert_eq!(found, expected);

    let mut parameters = BootParams::new_zeroed();
    assert_eq!(fill_memory_map(&memory, &mut parameters, &mut [0; 64]), 0);
    assert_eq!(parameters.e820_entries, 7);
    assert_eq!(parameters.alt_mem_k.get(), 0xFF0_0000 >> 10);
    assert_eq!(parameters.screen_info.ext_mem_k.get(), 0xFC00);
}

#[test]
fn a_long_map_goes_on_in_a_setup_data() {
    for count in [127, 128, 129, 300] {
        let memory = long_map(count);
        let mut parameters = BootParams::new_zeroed();
        let mut more = vec![0xC5; place::SETUP_DATA_SIZE as usize];
        let length = fill_memory_map(&memory, &mut parameters, &mut more);
        let in_page = count.min(128) as usize;
        assert_eq!(usize::from(parameters.e820_entries), in_page);
        let mut all: Vec<E820Entry> = parameters.e820_table[..in_page].to_vec();
        if count <= 128 {
            assert_eq!(length, 0);
        } else {
            let size = 20 * (count - 128);
            assert_eq!(length as u64, 16 + size);
            assert_eq!(more[..8], [0; 8]);
            assert_eq!(more[8..12], 1_u32.to_le_bytes());
            assert_eq!(more[12..16], (size as u32).to_le_bytes());
            let entries = more[16..length].chunks(20);
            all.extend(entries.map(|bytes| E820Entry::read_from_bytes(bytes).unwrap()));
        }
        let starts: Vec<_> = all.iter().map(|entry| entry.address.get()).collect();
        let expected: Vec<_> = (0..count).map(|number| MIB + number * 0x1_0000).collect();
        assert_eq!(starts, expected);
    }
}

proptest! {
    /// Whatever the header says, nothing panics, and the promises hold.
    #[test]
    fn any_header(
        header in proptest::collection::vec(any::<u8>(), 0x8F),
        version in 0x0200_u16..0x0212,
        bits in 0_u8..32,
        file_size in prop_oneof![0_u64..100_000, any::<u64>()],
        modules in prop_oneof![0_u64..1 << 33, any::<u64>()],
        ranges in proptest::collection::vec((0_u64..6 << 18, 1_u64..1 << 20), 0..8),
    ) {
        let mut file = bzimage(1000);
        file[HEADER..HEADER + 0x8F].copy_from_slice(&header);
        set(&mut file, 0x1FE, &[0x55, 0xAA, 0xEB, header[0x10] & 0x7F]);
        set(&mut file, 0x202, b"HdrS");
        set(&mut file, VERSION, &version.to_le_bytes());
        set(&mut file, LOADFLAGS, &[header[0x20] | 1]);
        set(&mut file, SETUP_SECTS, &[header[0] & 0x3F]);
        if header[1] & 1 != 0 {
            set(&mut file, KERNEL_ALIGNMENT, &(1_u32 << bits).to_le_bytes());
        }
        let Ok(image) = LinuxImage::read(&file[..HEADER_ROOM], file_size) else { return Ok(()) };
        let ranges: Vec<_> = ranges.iter().map(|&(s, l)| (s << 12, (s + l) << 12)).collect();
        let mut memory = ram(&ranges);
        let before: u64 = e820(&memory).filter(|e| e.kind.get() == 1).map(|e| e.size.get()).sum();
        if let Ok(placed) = image.place(&mut memory) {
            let (start, end) = (placed.start.as_u64(), placed.start.as_u64() + placed.length);
            prop_assert!(start >= MIB);
            prop_assert!(end <= 4 * GIB);
            prop_assert_eq!(image.read_kernel(&placed).file_offset.as_u64() + placed.length, file_size);
            let mut page = [0; 4096];
            let initrd = image.place_initrd(modules, &mut memory).unwrap_or_default();
            let at = initrd.start.as_u64();
            prop_assert!(at.is_multiple_of(4096));
            if initrd.size != 0 {
                prop_assert!(at >= MIB && at + initrd.size <= 4 * GIB);
                prop_assert!(at >= end || at + initrd.size <= start);
            }
            image.fill_header(&placed, initrd, true, VIDEO_NORMAL, &mut page);
            if image.relocatable() {
                let alignment = u32::from_le_bytes(page[0x230..0x234].try_into().unwrap());
                if version >= 0x020A {
                    prop_assert!(start.is_multiple_of(alignment.into()));
                }
            }
        }
        let after: u64 = e820(&memory).filter(|e| e.kind.get() == 1).map(|e| e.size.get()).sum();
        prop_assert_eq!(before, after);
    }
}
