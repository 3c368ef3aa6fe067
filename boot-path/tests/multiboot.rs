//! Multiboot headers good and bad, and the boot information, which the crate `multiboot2` reads.
// That crate reads from an address.
#![allow(unsafe_code)]

#[path = "../../tests/src/elf_fixture.rs"]
#[allow(dead_code, reason = "only a part of it is needed")]
mod elf_fixture;

use boot_path::bios::firmware::{Bios, FLAG_CARRY, Registers};
use boot_path::bios::vbe::{Field, Mode, Wish};
use boot_path::entry::entry_file;
use boot_path::errors::catalogue::{Named, Report};
use boot_path::kernel::image::KernelError;
use boot_path::kernel::placement::LoadedModule;
use boot_path::memory::map::{MemoryKind, Region};
use boot_path::ways_out::multiboot::elf::{Limits, Preference, SectionTable};
use boot_path::ways_out::multiboot::header::{
    Addresses, Header, HeaderError, MultibootError, Version, check_file,
};
use boot_path::ways_out::multiboot::information::{self, Apm, Information, Screen, Sections};
use elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, X};
use multiboot2::{
    BootInformation, BootInformationHeader, FramebufferType, MaybeDynSized as _, MemoryAreaType,
    TagType,
};
use multiboot2_header::{
    AddressHeaderTag, Builder, ConsoleHeaderTag, ConsoleHeaderTagFlags, EntryAddressHeaderTag,
    FramebufferHeaderTag, HeaderTagFlag, HeaderTagISA, InformationRequestHeaderTag,
    ModuleAlignHeaderTag, RelocatableHeaderTag, RelocatableHeaderTagPreference,
};
use proptest::prelude::*;
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

const MIB: u64 = 1 << 20;
const MAGIC_1: u32 = 0x1BAD_B002;
const MAGIC_2: u32 = 0xE852_50D6;
const OPTIONAL: u32 = 1 << 16;
const REQUIRED: HeaderTagFlag = HeaderTagFlag::Required;

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A header of version 2 of any architecture, at the start of a file.
fn header_for(architecture: u32, tags: &[u32]) -> Vec<u8> {
    let length = 16 + 4 * tags.len() as u32;
    let sum = MAGIC_2.wrapping_add(architecture).wrapping_add(length);
    let mut header = bytes(&[MAGIC_2, architecture, length, 0_u32.wrapping_sub(sum)]);
    header.extend(bytes(tags));
    header
}

/// One with these tags and an end tag.
fn header_2(tags: &[u32]) -> Vec<u8> {
    header_for(0, &[tags, &[0, 8]].concat())
}

/// A header of version 1.
fn header_1(flags: u32, rest: &[u32]) -> Vec<u8> {
    let sum = MAGIC_1.wrapping_add(flags);
    let mut header = bytes(&[MAGIC_1, flags, 0_u32.wrapping_sub(sum)]);
    header.extend(bytes(rest));
    header
}

fn parse_1(head: &[u8]) -> Result<Header, HeaderError> {
    Header::parse(Version::One, head)
}

fn parse_2(head: &[u8]) -> Result<Header, HeaderError> {
    Header::parse(Version::Two, head)
}

#[track_caller]
fn refuse<T: PartialEq + std::fmt::Debug>(
    result: Result<T, HeaderError>,
    code: &str,
    error: HeaderError,
) {
    assert_eq!(result, Err(error));
    assert_eq!(error.entry().code, code);
}

fn plain(version: Version, offset: u64) -> Header {
    Header {
        version,
        offset,
        addresses: None,
        entry: None,
        limits: None,
        apm: false,
        needs_console: false,
        has_text: true,
        graphics: None,
        needs_graphics: false,
    }
}

/// By somebody else's idea of such a header.
#[test]
fn every_tag_of_the_crate() {
    let text = ConsoleHeaderTagFlags::ConsoleRequired;
    let built = Builder::new(HeaderTagISA::I386)
        .information_request_tag(InformationRequestHeaderTag::new(
            REQUIRED,
            &[TagType::Cmdline, TagType::Apm, TagType::AcpiV2],
        ))
        .address_tag(AddressHeaderTag::new(
            REQUIRED, 0x10_0100, 0x10_0080, 0x10_2000, 0x10_4000,
        ))
        .entry_tag(EntryAddressHeaderTag::new(REQUIRED, 0x10_0200))
        .console_tag(ConsoleHeaderTag::new(REQUIRED, text))
        .framebuffer_tag(FramebufferHeaderTag::new(
            HeaderTagFlag::Optional,
            1024,
            768,
            32,
        ))
        .module_align_tag(ModuleAlignHeaderTag::new(REQUIRED))
        .relocatable_tag(RelocatableHeaderTag::new(
            REQUIRED,
            0x20_0000,
            0x80_0000,
            0x1000,
            RelocatableHeaderTagPreference::High,
        ))
        .build();
    let mut head = vec![0; 0x100];
    head.extend(built.as_bytes().iter());
    let header = parse_2(&head).expect("a good header");
    let expected = Header {
        addresses: Some(Addresses {
            file_offset: 0x80,
            start: 0x10_0080,
            file_end: Some(0x10_2000),
            end: Some(0x10_4000),
        }),
        entry: Some(0x10_0200),
        limits: Some(Limits {
            min: 0x20_0000,
            max: 0x80_0000,
            align: 0x1000,
            preference: Preference::Highest,
        }),
        apm: true,
        needs_console: true,
        has_text: false,
        graphics: Some(Wish {
            width: 1024,
            height: 768,
            depth: 32,
        }),
        ..plain(Version::Two, 0x100)
    };
    assert_eq!(header, expected);
}

#[test]
fn where_a_header_of_version_2_may_be() {
    let header = header_2(&[]);
    let at = |offset: usize, length: usize| {
        let mut file = vec![0x55; offset];
        file.extend(&header);
        file.resize(length, 0);
        parse_2(&file)
    };
    for offset in [0, 8, 0x1000, 0x8000 - 24] {
        let good = plain(Version::Two, offset as u64);
        assert_eq!(at(offset, 0x9000), Ok(good), "{offset:x}");
    }
    let none = HeaderError::NotFound { within: 0x8000 };
    // Not a multiple of 8, too far, none at all.
    refuse(at(4, 0x9000), "10S", none);
    refuse(at(0x8000, 0x9000), "10S", none);
    refuse(parse_2(&[]), "10S", none);
    refuse(parse_2(&[0; 0x8000]), "10S", none);
    // Begins within the first 32 KiB and ends behind them.
    let cut = HeaderError::Length {
        offset: 0x8000 - 16,
        length: 24,
        end: 0x8000,
    };
    refuse(at(0x8000 - 16, 0x9000), "10S", cut);
    assert_eq!(
        Report(&cut).to_string(),
        "error 10S: the kernel's Multiboot header makes no sense: \
         at 0x7ff0 of the file, 24 bytes; it has to end at 0x8000"
    );
    // A wrong sum is no header, and does not hide a good one.
    let mut file = header.clone();
    file[12] ^= 1;
    refuse(parse_2(&file), "10S", none);
    file.extend(&header);
    assert_eq!(parse_2(&file), Ok(plain(Version::Two, 24)));
}

#[test]
fn headers_of_version_2_that_make_no_sense() {
    let tag_size = |kind, size| HeaderError::TagSize {
        kind,
        offset: 16,
        size,
    };
    // Without an end tag, with an end tag behind the header, and shorter than itself.
    let no_end = |offset| HeaderError::NoEnd { offset };
    refuse(parse_2(&header_for(0, &[])), "10S", no_end(16));
    refuse(parse_2(&header_for(0, &[6, 8])), "10S", no_end(24));
    let mut file = header_for(0, &[6]);
    file.extend(bytes(&[8, 0, 8]));
    refuse(parse_2(&file), "10S", no_end(20));
    for length in [0_u32, 15] {
        let sum = MAGIC_2.wrapping_add(length);
        let file = bytes(&[MAGIC_2, 0, length, 0_u32.wrapping_sub(sum), 0, 8]);
        let error = HeaderError::Length {
            offset: 0,
            length: length.into(),
            end: 0x8000,
        };
        refuse(parse_2(&file), "10S", error);
    }
    for kind in 0..12 {
        for size in [0, 7, 33, u32::MAX] {
            let file = header_2(&[kind | OPTIONAL, size]);
            refuse(parse_2(&file), "10S", tag_size(kind as u16, size));
        }
    }
    // Each is a word too short.
    for (kind, size) in [(2, 20), (3, 8), (4, 8), (5, 16), (10, 20)] {
        let file = header_2(&[kind, size, 0, 0, 0, 0, 0, 0]);
        refuse(parse_2(&file), "10S", tag_size(kind as u16, size));
    }
    // Half a word.
    refuse(parse_2(&header_2(&[1, 14, 0, 0])), "10S", tag_size(1, 14));
    refuse(
        parse_2(&header_2(&[2, 24, 0, 0, 0, 0])),
        "10S",
        HeaderError::NoEntry,
    );
    for (min, max, align) in [(2, 1, 0), (0, 1, 3), (0, u32::MAX, 0x1800)] {
        refuse(
            parse_2(&header_2(&[10, 24, min, max, align, 0])),
            "10S",
            HeaderError::Limits { min, max, align },
        );
    }
}

#[test]
fn addresses_that_contradict_each_other() {
    let at = |offset: u64, [header, load, load_end, bss_end]: [u32; 4]| {
        let mut file = vec![0; offset as usize];
        let tags = [2, 24, header, load, load_end, bss_end, 3, 12, load, 0];
        file.extend(header_2(&tags));
        parse_2(&file)
    };
    for (offset, fields) in [
        (0, [0x1000, 0x1001, 0, 0]),           // behind the header
        (8, [0x1000, 0xFF7, 0, 0]),            // before the file
        (0, [0x1000, 0x1000, 0xFFF, 0]),       // ends before it begins
        (0, [0x1000, 0x1000, 0, 0xFFF]),       // the same
        (0, [0x1000, 0x1000, 0x2000, 0x1FFF]), // bss ends before it begins
        (0x10, [0xF, u32::MAX, 0, 0]),         // the file would begin below 0
    ] {
        let [header, load, load_end, bss_end] = fields;
        let error = HeaderError::Addresses {
            header,
            load,
            load_end,
            bss_end,
        };
        refuse(at(offset, fields), "10S", error);
    }
    let good = |offset, fields| at(offset, fields).map(|header| header.addresses);
    let all = Addresses {
        file_offset: 0,
        start: 0x10_0000,
        file_end: None,
        end: None,
    };
    assert_eq!(good(0x40, [0x10_0040, u32::MAX, 0, 0]), Ok(Some(all)));
    assert_eq!(good(0x40, [0x10_0040, 0x10_0000, 0, 0]), Ok(Some(all)));
    let part = Addresses {
        file_offset: 0x40,
        start: 0x10_0040,
        file_end: Some(0x10_0050),
        end: Some(0x10_0050),
    };
    let fields = [0x10_0040, 0x10_0040, 0x10_0050, 0x10_0050];
    assert_eq!(good(0x40, fields), Ok(Some(part)));
}

#[test]
fn what_a_header_of_version_2_may_not_require() {
    refuse(
        parse_2(&header_for(4, &[0, 8])),
        "10T",
        HeaderError::Architecture { architecture: 4 },
    );
    for kind in [11, 0x7FFF, 0xFFFF] {
        let error = HeaderError::Tag { kind: kind as u16 };
        refuse(parse_2(&header_2(&[kind, 8])), "10T", error);
        let optional = parse_2(&header_2(&[kind | OPTIONAL, 8]));
        assert_eq!(optional, Ok(plain(Version::Two, 0)));
    }
    // Tags for EFI are for EFI, whether they are optional or not.
    let efi = header_2(&[7, 8, 8, 12, 1, 0, 9, 12, 1, 0]);
    assert_eq!(parse_2(&efi), Ok(plain(Version::Two, 0)));
    for kind in [22, u32::MAX] {
        let error = HeaderError::Request { kind };
        refuse(parse_2(&header_2(&[1, 16, 1, kind])), "10T", error);
        let optional = parse_2(&header_2(&[1 | OPTIONAL, 16, 1, kind]));
        assert_eq!(optional, Ok(plain(Version::Two, 0)));
    }
    let known: Vec<u32> = (0..=21).filter(|kind| *kind != 10).collect();
    let mut tags = vec![1, 8 + 4 * known.len() as u32];
    tags.extend(known);
    tags.push(0); // to a multiple of 8
    let known = parse_2(&header_2(&tags));
    assert_eq!(known, Ok(plain(Version::Two, 0)));
    // Where APM may be left out, it is asked for all the same.
    let apm = parse_2(&header_2(&[1 | OPTIONAL, 12, 10, 0]));
    assert!(apm.is_ok_and(|header| header.apm));
}

#[test]
fn graphics_and_consoles() {
    let graphics = HeaderError::Graphics {
        width: 1024,
        height: 768,
        depth: 32,
    };
    let mode = |flags: u32, depth| [5 | flags, 20, 1024, 768, depth, 0];
    let console = |flags| [4, 12, flags, 0];
    let parse = |tags: &[&[u32]]| parse_2(&header_2(&tags.concat()));

    let check = |tags: &[&[u32]], text, graphics| {
        parse(tags).and_then(|header| header.check_screen(text, graphics))
    };
    for tags in [
        &[&mode(0, 32)[..]][..],
        &[&mode(0, 32), &console(0)],
        &[&console(1), &mode(0, 32)],
    ] {
        refuse(check(tags, true, false), "10T", graphics);
        assert_eq!(check(tags, false, true), Ok(()));
        let header = parse(tags).expect("a good header");
        let wish = header
            .graphics
            .map(|wish| [wish.width, wish.height, wish.depth]);
        assert_eq!((wish, header.needs_graphics), (Some([1024, 768, 32]), true));
    }
    assert_eq!(
        Report(&graphics).to_string(),
        "error 10T: the kernel requires what the loader does not have: \
         a graphics mode, 1024 by 768, 32 bits"
    );
    // It may be left out, or text will do as well.
    for tags in [
        &[&mode(OPTIONAL, 32)[..]][..],
        &[&mode(0, 32), &console(2)],
        &[&console(3), &mode(0, 32)],
    ] {
        assert_eq!(check(tags, true, false), Ok(()));
        assert!(parse(tags).is_ok_and(|header| header.graphics.is_some()));
    }
    // No depth: text for a kernel that can write it, or with as few columns as text has.
    for (width, flags, graphics) in [
        (1024, None, true),
        (0, None, true),
        (0, Some(1), true),
        (0, Some(2), false),
        (1024, Some(3), false),
        (320, None, true),
        (319, Some(0), false),
        (80, None, false),
    ] {
        let mut tags = vec![5, 20, width, 25, 0, 0];
        tags.extend(flags.into_iter().flat_map(console));
        let header = parse_2(&header_2(&tags)).expect("a good header");
        let found = (header.graphics.is_some(), header.needs_graphics);
        assert_eq!(found, (graphics, graphics), "{width} {flags:?}");
    }

    let error = |kernel_has_text| Err(HeaderError::Console { kernel_has_text });
    assert_eq!(check(&[], false, false), Ok(()));
    assert_eq!(check(&[&console(0)], true, false), Ok(()));
    assert_eq!(check(&[&console(2)], false, false), Ok(()));
    assert_eq!(check(&[&console(3)], true, false), Ok(()));
    assert_eq!(check(&[&console(3)], false, true), error(true));
    assert_eq!(check(&[&console(1)], true, true), error(false));
    assert_eq!(check(&[&[4 | OPTIONAL, 12, 1, 0]], false, false), Ok(()));
    // A console that may be either.
    let either: &[&[u32]] = &[&console(3), &mode(OPTIONAL, 32)];
    assert_eq!(check(either, false, true), Ok(()));
    assert_eq!(check(either, false, false), error(true));
    let drawn: &[&[u32]] = &[&console(1), &mode(OPTIONAL, 32)];
    assert_eq!(check(drawn, true, true), Ok(()));
    assert_eq!(check(drawn, true, false), error(false));
    let error = HeaderError::Console {
        kernel_has_text: false,
    };
    assert_eq!(error.entry().code, "10T");
    assert_eq!(error.to_string(), "a console other than VGA text");
}

#[test]
fn headers_of_version_1() {
    assert_eq!(parse_1(&header_1(0, &[])), Ok(plain(Version::One, 0)));
    assert_eq!(parse_1(&header_1(3, &[])), Ok(plain(Version::One, 0)));
    let ignored = parse_1(&header_1(0xFFFE_0000, &[]));
    assert_eq!(ignored, Ok(plain(Version::One, 0)));
    for bit in 3..16 {
        let error = HeaderError::Flags { flags: 1 << bit };
        refuse(parse_1(&header_1(1 << bit | 3, &[])), "10T", error);
    }
    let error = HeaderError::Flags { flags: 0xFFF8 };
    refuse(parse_1(&header_1(0xFFFF, &[])), "10T", error);

    let video = parse_1(&header_1(4, &[0, 0, 0, 0, 0, 0, 1024, 768, 32]));
    let header = video.expect("text will do");
    assert!(header.needs_console);
    let wish = header
        .graphics
        .map(|wish| [wish.width, wish.height, wish.depth]);
    assert_eq!(
        (wish, header.needs_graphics),
        (Some([1024, 768, 32]), false)
    );
    assert_eq!(header.check_screen(true, false), Ok(()));
    assert_eq!(header.check_screen(false, true), Ok(()));
    let error = HeaderError::Console {
        kernel_has_text: true,
    };
    assert_eq!(header.check_screen(false, false), Err(error));
    let text = parse_1(&header_1(4, &[0, 0, 0, 0, 0, 1, 80, 25, 0]));
    let text = text.expect("a text mode");
    assert!(text.needs_console && text.graphics.is_none());

    let mut file = vec![0; 0x20];
    let fields = [0x10_0020, 0x10_0010, 0x10_2000, 0x10_3000, 0x10_0100];
    file.extend(header_1(1 << 16, &fields));
    let expected = Header {
        addresses: Some(Addresses {
            file_offset: 0x10,
            start: 0x10_0010,
            file_end: Some(0x10_2000),
            end: Some(0x10_3000),
        }),
        entry: Some(0x10_0100),
        ..plain(Version::One, 0x20)
    };
    assert_eq!(parse_1(&file), Ok(expected));
}

#[test]
fn where_a_header_of_version_1_may_be() {
    let at = |offset: usize, header: &[u8]| {
        let mut file = vec![0x55; offset];
        file.extend(header);
        file.resize(0x4000, 0);
        parse_1(&file)
    };
    let short = header_1(0, &[]);
    for offset in [0, 4, 0x1000, 0x2000 - 12] {
        assert_eq!(at(offset, &short), Ok(plain(Version::One, offset as u64)));
    }
    let none = HeaderError::NotFound { within: 0x2000 };
    for offset in [2, 0x2000 - 8, 0x2000] {
        refuse(at(offset, &short), "10S", none);
    }
    let cut = |offset: u64, length| HeaderError::Length {
        offset,
        length,
        end: 0x2000,
    };
    let addresses = header_1(1 << 16, &[0; 5]);
    assert!(at(0x2000 - 32, &addresses).is_ok());
    refuse(at(0x2000 - 28, &addresses), "10S", cut(0x2000 - 28, 32));
    let video = header_1(4, &[0; 9]);
    assert!(at(0x2000 - 48, &video).is_ok());
    refuse(at(0x2000 - 44, &video), "10S", cut(0x2000 - 44, 48));
    // The file itself ends.
    refuse(parse_1(&addresses[..28]), "10S", cut(0, 32));
}

/// A flat file of 4 KiB: header, and something that nobody looks at.
fn flat(load_end: u32, bss_end: u32, entry: u32) -> Vec<u8> {
    let fields = [0x10_0000, 0x10_0000, load_end, bss_end, entry];
    let mut file = header_1(1 << 16, &fields);
    file.resize(4096, 0xF4);
    file
}

#[test]
fn kernels_by_the_header_s_addresses() {
    let check = |load_end, bss_end, entry| {
        let (_, image) = check_file(Version::One, &flat(load_end, bss_end, entry))?;
        let [segment] = image.segments() else {
            panic!("one segment");
        };
        assert_eq!((segment.start, segment.file_offset), (0x10_0000, 0));
        assert_eq!(image.sections(), None);
        Ok((segment.file_size, segment.memory_size, image.entry()))
    };
    let entry = 0x10_0020;
    assert_eq!(check(0, 0, entry), Ok((4096, 4096, entry.into())));
    assert_eq!(check(0x10_0800, 0, entry), Ok((2048, 2048, entry.into())));
    assert_eq!(check(0, 0x10_3000, entry), Ok((4096, 0x3000, entry.into())));
    assert_eq!(
        check(0x10_0800, 0x10_0801, 0x10_0800),
        Ok((2048, 2049, 0x10_0800))
    );
    let refused = |error: KernelError| Err(MultibootError::Kernel(error));
    let error = KernelError::Truncated {
        needed: 4097,
        present: 4096,
    };
    assert_eq!(check(0x10_1001, 0, entry), refused(error));
    // The file is longer than its memory.
    let error = KernelError::Sizes {
        segment: 0,
        file_size: 4096,
        memory_size: 0x800,
    };
    assert_eq!(check(0, 0x10_0800, entry), refused(error));
    for entry in [0xF_FFFF, 0x10_1000] {
        let error = KernelError::Entry {
            entry: entry.into(),
        };
        assert_eq!(check(0, 0, entry), refused(error));
    }
    assert_eq!(check(0x10_0000, 0, entry), refused(KernelError::NoLoad));
    let error = check(0, 0, 0).expect_err("not in a segment");
    assert_eq!(
        Report(&error).to_string(),
        "error 10J: the kernel's entry point is not in an executable segment: e_entry 0x0"
    );
}

#[test]
fn kernels_by_their_elf_headers() {
    let file = |header: Vec<u8>| {
        let size = 0x100;
        let mut data = header;
        data.resize(size, 0xF4);
        Elf::new(ET_EXEC, MIB + 0x80)
            .with(ProgramHeader::load(R | X, MIB, data, 0x1000))
            .build()
    };
    let (header, image) = check_file(Version::Two, &file(header_2(&[]))).expect("a good kernel");
    assert_eq!(image.entry(), MIB + 0x80);
    assert_eq!(header.offset % 8, 0);
    // The header's entry point is a physical one, and counts.
    let entry = [3, 12, MIB as u32 + 0x90, 0];
    let (_, image) = check_file(Version::Two, &file(header_2(&entry))).expect("a good kernel");
    assert_eq!(image.entry(), MIB + 0x90);
    let entry = [3, 12, 5, 0];
    let error = KernelError::Entry { entry: 5 };
    assert_eq!(
        check_file(Version::Two, &file(header_2(&entry))).map(drop),
        Err(error.into())
    );
    let no_elf = check_file(Version::One, &header_1(0, &[])).map(drop);
    assert_eq!(no_elf, Err(KernelError::NotElf.into()));
}

const CONFIGURATION: &[u8] =
    b"options quiet  two\nmodule /boot/modules/first the text\nmodule /second\noptions more\n";

fn region(start: u64, end: u64, kind: MemoryKind) -> Region {
    Region { start, end, kind }
}

/// All kinds of memory; what touches and is RAM is one region.
fn memory() -> Vec<Region> {
    use MemoryKind::*;
    vec![
        region(0, 0x1000, Reserved),
        region(0x1000, 0x8_0000, Reclaimable),
        region(0x8_0000, 0x9_F000, Usable),
        region(0x9_F000, 0xB_8000, Reserved),
        region(0xB_8000, 0xC_0000, Framebuffer),
        region(0xC_0000, MIB, Reserved),
        region(MIB, 2 * MIB, Kernel),
        region(2 * MIB, 3 * MIB, Module),
        region(3 * MIB, 16 * MIB, Usable),
        region(16 * MIB, 17 * MIB, Bad),
        region(17 * MIB, 18 * MIB, Usable),
        region(18 * MIB, 19 * MIB, AcpiReclaimable),
        region(19 * MIB, 20 * MIB, AcpiNvs),
        region(4 << 30, 5 << 30, Usable),
    ]
}

const MAP: [(u64, u64, u32); 10] = [
    (0, 0x1000, 2),
    (0x1000, 0x9_F000, 1),
    (0x9_F000, MIB, 2),
    (MIB, 16 * MIB, 1),
    (16 * MIB, 17 * MIB, 5),
    (17 * MIB, 18 * MIB, 1),
    (18 * MIB, 19 * MIB, 3),
    (19 * MIB, 20 * MIB, 4),
    (4 << 30, 5 << 30, 1),
    (0, 0, 0),
];

const MODULES: [LoadedModule; 2] = [
    LoadedModule {
        start: 2 * MIB,
        length: 1234,
    },
    LoadedModule {
        start: 2 * MIB + 0x1000,
        length: 0,
    },
];

/// A table with a null section, and one with names at an address that the test fills in.
fn section_headers(names: &[u8]) -> Vec<u8> {
    let mut headers = vec![0; 64];
    headers.extend(bytes(&[1, 3, 0, 0]));
    for word in [names.as_ptr().addr() as u64, 0x40, names.len() as u64] {
        headers.extend(word.to_le_bytes());
    }
    headers.resize(128, 0);
    headers
}

fn sections(headers: &[u8]) -> Sections<'_> {
    Sections {
        table: SectionTable {
            offset: 0,
            entry_size: 64,
            count: 2,
            names: 1,
        },
        headers,
    }
}

fn apm() -> Apm {
    Apm {
        version: 0x102.into(),
        code: 0xF000.into(),
        offset: 0x1_2345.into(),
        code_16: 0xF001.into(),
        data: 0x40.into(),
        flags: 3.into(),
        code_length: 0xFFFF.into(),
        code_16_length: 0xFFFE.into(),
        data_length: 0xFFFD.into(),
    }
}

/// A BIOS with APM and nothing else.
#[derive(Default)]
struct ApmBios {
    /// What the installation check puts into BX and CX, one after the other; CF is set behind them.
    checks: Vec<(u32, u32)>,
    /// Does connecting work?
    connects: bool,
    calls: Vec<u32>,
}

impl Bios for ApmBios {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        assert_eq!((number, registers.eflags & FLAG_CARRY), (0x15, FLAG_CARRY));
        self.calls.push(registers.eax);
        let done = match registers.eax {
            0x5300 => match self.checks.is_empty() {
                true => false,
                false => {
                    (registers.ebx, registers.ecx) = self.checks.remove(0);
                    registers.eax = 0x5555_0102;
                    true
                }
            },
            0x5303 if self.connects => {
                *registers = Registers {
                    eax: 0x1111_F000,
                    ebx: 0x0001_2345,
                    ecx: 0x2222_F001,
                    edx: 0x3333_0040,
                    esi: 0xFFFE_FFFF,
                    edi: 0x4444_FFFD,
                    ..*registers
                };
                true
            }
            // Disconnecting fails: nobody was connected.
            _ => false,
        };
        if done {
            registers.eflags &= !FLAG_CARRY;
        }
    }

    fn read<T: FromBytes>(&self, _: u64) -> T {
        unreachable!("nothing is read")
    }

    fn put<T: zerocopy::IntoBytes + zerocopy::Immutable>(&mut self, _: &T) {
        unreachable!("nothing is put")
    }

    fn write<T: zerocopy::IntoBytes + zerocopy::Immutable>(&mut self, _: u64, _: &T) {
        unreachable!("nothing is written")
    }

    fn transferred(&self, _: usize) -> &[u8] {
        unreachable!("nothing is transferred")
    }
}

#[test]
fn the_apm_bios() {
    const PM: u32 = 0x7777_504D;
    let connect = |checks: &[(u32, u32)], connects| {
        let mut bios = ApmBios {
            checks: checks.to_vec(),
            connects,
            calls: Vec::new(),
        };
        (Apm::connect(&mut bios), bios.calls)
    };
    let (found, calls) = connect(&[(PM, 0x8888_0002), (PM, 0x8888_0003)], true);
    assert_eq!(found, Some(apm()));
    assert_eq!(calls, [0x5300, 0x5304, 0x5303, 0x5300]);
    // None at all, none with 32 bits, something else, it does not connect, or is gone then.
    for (checks, connects, calls) in [
        (&[][..], true, 1),
        (&[(PM, 1)], true, 1),
        (&[(0x504E, 2)], true, 1),
        (&[(PM, 2), (PM, 2)], false, 3),
        (&[(PM, 2)], true, 4),
        (&[(PM, 2), (PM, 1)], true, 4),
    ] {
        let (found, made) = connect(checks, connects);
        assert_eq!((found, made.len()), (None, calls), "{checks:x?}");
    }
}

/// An RSDP of ACPI 2.0, with both sums.
fn rsdp() -> Vec<u8> {
    let mut rsdp = b"RSD PTR \0BOOTPT\x02".to_vec();
    rsdp.extend(0x1234_u32.to_le_bytes());
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    rsdp[8] = sum(&rsdp);
    rsdp.extend(36_u32.to_le_bytes());
    rsdp.extend(0x5678_u64.to_le_bytes());
    rsdp.extend([0; 4]);
    rsdp[32] = sum(&rsdp);
    rsdp
}

#[repr(align(8))]
struct Aligned([u8; 4096]);

/// What the test tells a kernel, all of it or as little as possible.
fn with_information(all: bool, check: impl FnOnce(&Information<'_>)) {
    let configuration: &[u8] = if all { CONFIGURATION } else { b"" };
    let entry = entry_file::parse(configuration).expect("a good entry");
    let memory = memory();
    let names = *b"\0.strtab\0";
    let headers = section_headers(&names);
    let rsdp = rsdp();
    let information = Information {
        loader: "the loader",
        entry: &entry,
        modules: if all { &MODULES } else { &[] },
        memory: &memory,
        drive: Some(0x81),
        partition: if all { 2 } else { 0 },
        sections: all.then(|| sections(&headers)),
        screen: all.then_some(Screen::Text {
            address: 0xB_8000,
            columns: 80,
            rows: 25,
        }),
        apm: all.then(apm),
        rsdp: if all { &rsdp } else { &[] },
        smbios: if all { b"_SM_\0\x1F\x02\x08rest" } else { &[] },
        load_base: all.then_some(0x40_0000),
    };
    check(&information);
}

#[test]
fn information_of_version_2() {
    with_information(true, |information| {
        let mut memory = Aligned([0xA5; 4096]);
        let length = information::multiboot2(information, &mut memory.0).expect("it fits");
        assert!(length <= information::size(information, information.memory.len()));
        assert!(memory.0[length..].iter().all(|&byte| byte == 0xA5));
        let start = memory.0.as_ptr().cast::<BootInformationHeader>();
        // SAFETY: aligned, and as long as it says, or the crate says no.
        let boot = unsafe { BootInformation::load(start) }.expect("it is right");
        assert_eq!(boot.total_size(), length);
        assert_eq!(memory.0[4..8], [0; 4]);

        let line = boot.command_line_tag().expect("a command line");
        assert_eq!(line.cmdline(), Ok("quiet  two more"));
        let name = boot.boot_loader_name_tag().expect("a name");
        assert_eq!(name.name(), Ok("the loader"));
        let modules: Vec<_> = boot
            .module_tags()
            .map(|tag| (tag.start_address(), tag.end_address(), tag.cmdline().ok()))
            .collect();
        let two = 2 * MIB as u32;
        let first = (two, two + 1234, Some("the text"));
        let second = (two + 0x1000, two + 0x1000, Some("/second"));
        assert_eq!(modules, [first, second]);
        let basic = boot.basic_memory_info_tag().expect("it");
        assert_eq!(basic.memory_lower(), 636);
        assert_eq!(basic.memory_upper(), 15 * 1024);
        let device = boot.bootdev_tag().expect("it");
        assert_eq!((device.biosdev(), device.slice()), (0x81, 1));
        assert_eq!(device.part(), u32::MAX);
        let map = boot.memory_map_tag().expect("it");
        assert_eq!((map.entry_size(), map.entry_version()), (24, 0));
        let areas = map.memory_areas().iter();
        let areas: Vec<_> = areas
            .map(|area| {
                (
                    area.start_address(),
                    area.end_address(),
                    u32::from(area.typ()),
                )
            })
            .collect();
        assert_eq!(areas, MAP[..9]);
        assert_eq!(map.memory_areas()[1].typ(), MemoryAreaType::Available);
        let screen = boot.framebuffer_tag().expect("it").expect("it");
        assert_eq!(screen.buffer_type(), Ok(FramebufferType::Text));
        assert_eq!((screen.address(), screen.pitch()), (0xB_8000, 160));
        assert_eq!(
            (screen.width(), screen.height(), screen.bpp()),
            (80, 25, 16)
        );
        let tag = boot.elf_sections_tag().expect("it");
        assert_eq!(
            (tag.number_of_sections(), tag.entry_size(), tag.shndx()),
            (2, 64, 1)
        );
        // SAFETY: `with_information` keeps them.
        assert_eq!(unsafe { tag.string_table() }, Some(&b"\0.strtab\0"[..]));
        let apm = boot.apm_tag().expect("it");
        assert_eq!(
            (apm.version(), apm.cseg(), apm.offset()),
            (0x102, 0xF000, 0x1_2345)
        );
        assert_eq!((apm.cset_16(), apm.dseg(), apm.flags()), (0xF001, 0x40, 3));
        let lengths = (apm.cseg_len(), apm.cseg_16_len(), apm.dseg_len());
        assert_eq!(lengths, (0xFFFF, 0xFFFE, 0xFFFD));
        let smbios = boot.smbios_tags().next().expect("it");
        assert_eq!((smbios.major(), smbios.minor()), (2, 8));
        assert!(smbios.tables().starts_with(b"_SM_"));
        let old = boot.rsdp_v1_tag().expect("it");
        assert!(old.checksum_is_valid());
        assert_eq!(old.rsdt_address(), 0x1234);
        let new = boot.rsdp_v2_tag().expect("it");
        assert!(new.checksum_is_valid());
        assert_eq!(new.xsdt_address(), 0x5678);
        let base = boot.load_base_addr_tag().map(|tag| tag.load_base_addr());
        assert_eq!(base, Some(0x40_0000));
        assert!(boot.vbe_info_tag().is_none());
    });
}

#[test]
fn as_little_information_as_possible() {
    with_information(false, |information| {
        let mut memory = Aligned([0xA5; 4096]);
        information::multiboot2(information, &mut memory.0).expect("it fits");
        let start = memory.0.as_ptr().cast::<BootInformationHeader>();
        // SAFETY: as above.
        let boot = unsafe { BootInformation::load(start) }.expect("it is right");
        let line = boot.command_line_tag().map(|tag| tag.cmdline().ok());
        assert_eq!(line, Some(Some("")));
        assert_eq!(boot.module_tags().count(), 0);
        let device = boot.bootdev_tag().expect("it");
        assert_eq!((device.slice(), device.part()), (u32::MAX, u32::MAX));
        assert!(boot.framebuffer_tag().is_none() && boot.elf_sections_tag().is_none());
        assert!(boot.apm_tag().is_none() && boot.smbios_tags().next().is_none());
        assert!(boot.rsdp_v1_tag().is_none() && boot.rsdp_v2_tag().is_none());
        assert!(boot.load_base_addr_tag().is_none());

        let mut memory = Aligned([0xA5; 4096]);
        information::multiboot1(information, &mut memory.0, 0x1000).expect("it fits");
        let word = |at: usize| U32::read_from_bytes(&memory.0[at..at + 4]).expect("4 bytes");
        assert_eq!(word(0), 0b10_0100_1111);
        assert_eq!(memory.0[12..16], [0xFF, 0xFF, 0xFF, 0x81]);
        assert_eq!(word(20), 0);
        // APM, VBE, framebuffer.
        assert!(memory.0[68..116].iter().all(|&byte| byte == 0));
    });
}

/// A mode that was set, and what the BIOS says of it.
fn drawn() -> Screen<'static> {
    let field = |position, size| Field { position, size };
    Screen::Graphics {
        mode: Mode {
            number: 0x114,
            width: 800,
            height: 600,
            pitch: 1664,
            address: 0xFD00_0000,
            bits_per_pixel: 16,
            colors: [field(11, 5), field(5, 6), field(0, 4)],
        },
        controller: &[0xC0; 512],
        info: &[0xC1; 256],
        interface: [0xC000, 0x5678, 0x123],
    }
}

#[test]
fn graphics_in_the_information() {
    with_information(true, |information| {
        let information = Information {
            screen: Some(drawn()),
            ..*information
        };
        let mut memory = Aligned([0xA5; 4096]);
        let length = information::multiboot2(&information, &mut memory.0).expect("it fits");
        assert!(length <= information::size(&information, information.memory.len()));
        let start = memory.0.as_ptr().cast::<BootInformationHeader>();
        // SAFETY: as above.
        let boot = unsafe { BootInformation::load(start) }.expect("it is right");
        let screen = boot.framebuffer_tag().expect("it").expect("it");
        assert_eq!((screen.address(), screen.pitch()), (0xFD00_0000, 1664));
        let size = (screen.width(), screen.height(), screen.bpp());
        assert_eq!(size, (800, 600, 16));
        let Ok(FramebufferType::RGB { red, green, blue }) = screen.buffer_type() else {
            panic!("no colours")
        };
        let colors = [red, green, blue].map(|field| (field.position, field.size));
        assert_eq!(colors, [(11, 5), (5, 6), (0, 4)]);
        let vbe = boot.vbe_info_tag().expect("it");
        assert_eq!((vbe.mode(), vbe.interface_segment()), (0x4114, 0xC000));
        assert_eq!(
            (vbe.interface_offset(), vbe.interface_length()),
            (0x5678, 0x123)
        );
        assert_eq!(vbe.control_info().signature, [0xC0; 4]);
        assert_eq!({ vbe.mode_info().framebuffer_base_ptr }, 0xC1C1_C1C1);

        const BASE: u32 = 0x12_3000;
        let mut memory = Aligned([0xA5; 4096]);
        let memory = &mut memory.0;
        let length = information::multiboot1(&information, memory, BASE).expect("it fits");
        assert!(length <= information::size(&information, information.memory.len()));
        let word = |at: usize| {
            let word = U32::read_from_bytes(&memory[at..at + 4]);
            word.expect("4 bytes").get()
        };
        assert_eq!(word(0) & 0b1_1000_0000_0000, 0b1_1000_0000_0000);
        let [controller, info] = [72, 76].map(|at| (word(at) - BASE) as usize);
        assert_eq!(memory[controller..controller + 512], [0xC0; 512]);
        assert_eq!(memory[info..info + 256], [0xC1; 256]);
        assert_eq!([word(80), word(84)], [0xC000_4114, 0x0123_5678]);
        let screen = [word(88), word(92), word(96), word(100), word(104)];
        assert_eq!(screen, [0xFD00_0000, 0, 1664, 800, 600]);
        assert_eq!(memory[108..116], [16, 1, 11, 5, 5, 6, 0, 4]);
    });
}

/// An RSDP of ACPI 1.0, and the version of a 64-bit SMBIOS.
#[test]
fn older_and_newer_tables() {
    with_information(true, |information| {
        let information = Information {
            rsdp: &information.rsdp[..20],
            smbios: b"_SM3_\0\x18\x03\x05rest",
            ..*information
        };
        let mut memory = Aligned([0xA5; 4096]);
        information::multiboot2(&information, &mut memory.0).expect("it fits");
        let start = memory.0.as_ptr().cast::<BootInformationHeader>();
        // SAFETY: as above.
        let boot = unsafe { BootInformation::load(start) }.expect("it is right");
        assert!(boot.rsdp_v1_tag().is_some() && boot.rsdp_v2_tag().is_none());
        let smbios = boot.smbios_tags().next().expect("it");
        assert_eq!((smbios.major(), smbios.minor()), (3, 5));
    });
}

#[test]
fn information_of_version_1() {
    const BASE: u32 = 0x12_3000;

    with_information(true, |information| {
        let mut memory = [0xA5; 4096];
        let length = information::multiboot1(information, &mut memory, BASE).expect("it fits");
        assert!(length <= information::size(information, information.memory.len()));
        assert!(memory[length..].iter().all(|&byte| byte == 0xA5));
        let word = |at: usize| {
            let word = U32::read_from_bytes(&memory[at..at + 4]);
            word.expect("4 bytes").get()
        };
        let place = |at: usize| (word(at) - BASE) as usize;
        let text = |at: usize| {
            let text = memory[at..].split(|&byte| byte == 0).next();
            std::str::from_utf8(text.expect("a zero")).expect("a text")
        };
        assert_eq!(word(0), 0b1_0110_0110_1111 | 1 << 12);
        assert_eq!([word(4), word(8)], [636, 15 * 1024]);
        assert_eq!(memory[12..16], [0xFF, 0xFF, 1, 0x81]);
        assert_eq!(text(place(16)), "quiet  two more");
        assert_eq!(text(place(64)), "the loader");
        assert_eq!(word(20), 2);
        let modules = place(24);
        let two = 2 * MIB as u32;
        assert_eq!([word(modules), word(modules + 4)], [two, two + 1234]);
        assert_eq!(text(place(modules + 8)), "the text");
        assert_eq!(text(place(modules + 24)), "/second");
        assert_eq!([word(modules + 12), word(modules + 28)], [0, 0]);
        assert_eq!([word(28), word(32), word(40)], [2, 64, 1]);
        let sections = information.sections.expect("they are given");
        assert_eq!(memory[place(36)..][..128], *sections.headers);
        assert_eq!(word(44), 9 * 24);
        for (number, (start, end, kind)) in MAP[..9].iter().enumerate() {
            let at = place(48) + 24 * number;
            let expected = [
                20,
                *start as u32,
                (start >> 32) as u32,
                (end - start) as u32,
                ((end - start) >> 32) as u32,
                *kind,
            ];
            assert_eq!(memory[at..at + 24], bytes(&expected));
        }
        assert!(memory[52..64].iter().all(|&byte| byte == 0), "drives, ROM");
        assert_eq!(memory[place(68)..][..4], [0x02, 0x01, 0x00, 0xF0]);
        assert!(memory[72..88].iter().all(|&byte| byte == 0), "VBE");
        let screen = [word(88), word(92), word(96), word(100), word(104)];
        assert_eq!(screen, [0xB_8000, 0, 160, 80, 25]);
        assert_eq!(memory[108..116], [16, 2, 0, 0, 0, 0, 0, 0]);
    });
}

/// However little room there is, nothing is written behind it, and it is said.
#[test]
fn too_little_room() {
    with_information(true, |information| {
        let information = &Information {
            screen: Some(drawn()),
            ..*information
        };
        let mut memory = Aligned([0; 4096]);
        let lengths = [
            information::multiboot1(information, &mut memory.0, 0).expect("it fits"),
            information::multiboot2(information, &mut memory.0).expect("it fits"),
        ];
        for room in (0..3500).step_by(7) {
            let bytes = &mut memory.0[..room];
            let one = information::multiboot1(information, bytes, 0);
            assert_eq!(one, (room >= lengths[0]).then_some(lengths[0]));
            let two = information::multiboot2(information, bytes);
            assert_eq!(two, (room >= lengths[1]).then_some(lengths[1]));
        }
    });
}

proptest! {
    /// Any words as a header with a right sum: an answer, and a header that keeps its promises.
    #[test]
    fn any_tags(tags in proptest::collection::vec(prop_oneof![0_u32..32, any::<u32>()], 0..24)) {
        for file in [header_2(&tags), header_1(tags.first().copied().unwrap_or(0), &tags)] {
            for version in [Version::One, Version::Two] {
                match Header::parse(version, &file) {
                    Ok(header) => {
                        prop_assert_eq!(header.version, version);
                        if let Some(addresses) = header.addresses {
                            prop_assert!(header.entry.is_some());
                            prop_assert!(addresses.file_offset <= header.offset);
                            prop_assert!(addresses.file_end.is_none_or(|end| end >= addresses.start));
                        }
                        if let Some(limits) = header.limits {
                            prop_assert!(limits.align.is_power_of_two() && limits.min <= limits.max);
                        }
                    }
                    Err(error) => prop_assert!(matches!(error.entry().code, "10S" | "10T")),
                }
                let _ = check_file(version, &file);
            }
        }
    }
}
