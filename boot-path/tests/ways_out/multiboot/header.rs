//! Headers good and bad, and the kernels that they describe.

use boot_path::bios::vbe::Wish;
use boot_path::errors::catalogue::{Named, Report};
use boot_path::kernel::image::KernelError;
use boot_path::memory::address::PhysAddr;
use boot_path::position::FileOffset;
use boot_path::ways_out::multiboot::elf::{Limits, Preference};
use boot_path::ways_out::multiboot::header::{
    Addresses, Header, HeaderError, MultibootError, Version, check_file,
};
use multiboot2::{MaybeDynSized as _, TagType};
use multiboot2_header::{
    AddressHeaderTag, Builder, ConsoleHeaderTag, ConsoleHeaderTagFlags, EntryAddressHeaderTag,
    FramebufferHeaderTag, HeaderTagFlag, HeaderTagISA, InformationRequestHeaderTag,
    ModuleAlignHeaderTag, RelocatableHeaderTag, RelocatableHeaderTagPreference,
};
use proptest::prelude::*;

use crate::elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, X};

use super::{
    MAGIC_2, MIB, OPTIONAL, REQUIRED, bytes, header_1, header_2, header_for, parse_1, parse_2,
    plain, refuse,
};

const fn physical(address: u64) -> PhysAddr {
    PhysAddr::new(address)
}

/// Headers as another implementation builds them.
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
            file_offset: FileOffset::new(0x80),
            start: physical(0x10_0080),
            file_end: Some(physical(0x10_2000)),
            end: Some(physical(0x10_4000)),
        }),
        entry: Some(physical(0x10_0200)),
        limits: Some(Limits {
            min: physical(0x20_0000),
            max: physical(0x80_0000),
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
    let cut = HeaderError::NoEnd { offset: 0x8000 };
    refuse(at(0x8000 - 16, 0x9000), "10S", cut);
    // A header with a wrong sum does not count, and does not hide a good one.
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
    // Without an end tag.
    let no_end = |offset| HeaderError::NoEnd { offset };
    refuse(parse_2(&header_for(0, &[])), "10S", no_end(16));
    refuse(parse_2(&header_for(0, &[6, 8])), "10S", no_end(24));
    // The end is looked for in the head of the file, and nowhere else.
    let mut file = header_for(0, &[6, 0x7FF0, 0, 0]);
    file.resize(0x8000, 1);
    file.extend(bytes(&[0, 8]));
    refuse(parse_2(&file), "10S", no_end(0x8000));
    for kind in 1..12 {
        for size in [0, 7, 33, u32::MAX] {
            let file = header_2(&[kind | OPTIONAL, size]);
            refuse(parse_2(&file), "10S", tag_size(kind as u16, size));
        }
    }
    // Each tag is a word too short.
    for (kind, size) in [(2, 20), (3, 8), (4, 8), (5, 16), (10, 20)] {
        let file = header_2(&[kind, size, 0, 0, 0, 0, 0, 0]);
        refuse(parse_2(&file), "10S", tag_size(kind as u16, size));
    }
    // A tag with half a word.
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

/// The first tag of type 0 ends the header, whatever its size and the header's length are.
#[test]
fn the_end_of_a_header_of_version_2() {
    let with_length = |length: u32, tags: &[u32]| {
        let sum = MAGIC_2.wrapping_add(length);
        let mut file = bytes(&[MAGIC_2, 0, length, 0_u32.wrapping_sub(sum)]);
        file.extend(bytes(tags));
        file
    };
    let unsound = |file: &[u8]| parse_2(file).map(|header| (header.entry, header.unsound_end));
    let entry = Some(0x1234.into());
    let tags = [3, 12, 0x1234, 0, 0, 8];
    assert_eq!(unsound(&with_length(40, &tags)), Ok((entry, false)));
    for length in [0, 15, 16, 39, 41, 0x9000, u32::MAX] {
        assert_eq!(unsound(&with_length(length, &tags)), Ok((entry, true)));
    }
    for size in [0, 7, 9, u32::MAX] {
        let tags = [3, 12, 0x1234, 0, 0, size, 99, 8];
        assert_eq!(unsound(&with_length(40, &tags)), Ok((entry, true)));
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
        file_offset: FileOffset::ZERO,
        start: physical(0x10_0000),
        file_end: None,
        end: None,
    };
    assert_eq!(good(0x40, [0x10_0040, u32::MAX, 0, 0]), Ok(Some(all)));
    assert_eq!(good(0x40, [0x10_0040, 0x10_0000, 0, 0]), Ok(Some(all)));
    let part = Addresses {
        file_offset: FileOffset::new(0x40),
        start: physical(0x10_0040),
        file_end: Some(physical(0x10_0050)),
        end: Some(physical(0x10_0050)),
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
    // Tags for EFI do not concern this loader, whether they are optional or not.
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
    // An optional request for APM counts as well.
    let apm = parse_2(&header_2(&[1 | OPTIONAL, 12, 10, 0]));
    assert!(apm.is_ok_and(|header| header.apm));
}

/// A tag that asks for a graphics mode.
fn mode(flags: u32, depth: u32) -> [u32; 6] {
    [5 | flags, 20, 1024, 768, depth, 0]
}

/// A tag about the console.
fn console(flags: u32) -> [u32; 4] {
    [4, 12, flags, 0]
}

fn parse_tags(tags: &[&[u32]]) -> Result<Header, HeaderError> {
    parse_2(&header_2(&tags.concat()))
}

/// Whether a header with these tags accepts text, or a graphics mode if there is one.
fn check_screen(tags: &[&[u32]], text: bool, graphics: bool) -> Result<(), HeaderError> {
    parse_tags(tags).and_then(|header| header.check_screen(text, graphics))
}

#[test]
fn graphics_that_are_required() {
    let graphics = HeaderError::Graphics {
        width: 1024,
        height: 768,
        depth: 32,
    };
    for tags in [
        &[&mode(0, 32)[..]][..],
        &[&mode(0, 32), &console(0)],
        &[&console(1), &mode(0, 32)],
    ] {
        refuse(check_screen(tags, true, false), "10T", graphics);
        assert_eq!(check_screen(tags, false, true), Ok(()));
        let header = parse_tags(tags).expect("a good header");
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
}

/// The graphics mode is optional, or text will do as well.
#[test]
fn graphics_that_are_optional() {
    for tags in [
        &[&mode(OPTIONAL, 32)[..]][..],
        &[&mode(0, 32), &console(2)],
        &[&console(3), &mode(0, 32)],
    ] {
        assert_eq!(check_screen(tags, true, false), Ok(()));
        assert!(parse_tags(tags).is_ok_and(|header| header.graphics.is_some()));
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
}

#[test]
fn consoles() {
    let error = |kernel_has_text| Err(HeaderError::Console { kernel_has_text });
    assert_eq!(check_screen(&[], false, false), Ok(()));
    assert_eq!(check_screen(&[&console(0)], true, false), Ok(()));
    assert_eq!(check_screen(&[&console(2)], false, false), Ok(()));
    assert_eq!(check_screen(&[&console(3)], true, false), Ok(()));
    assert_eq!(check_screen(&[&console(3)], false, true), error(true));
    assert_eq!(check_screen(&[&console(1)], true, true), error(false));
    assert_eq!(
        check_screen(&[&[4 | OPTIONAL, 12, 1, 0]], false, false),
        Ok(())
    );
    // A console of either kind.
    let either: &[&[u32]] = &[&console(3), &mode(OPTIONAL, 32)];
    assert_eq!(check_screen(either, false, true), Ok(()));
    assert_eq!(check_screen(either, false, false), error(true));
    let drawn: &[&[u32]] = &[&console(1), &mode(OPTIONAL, 32)];
    assert_eq!(check_screen(drawn, true, true), Ok(()));
    assert_eq!(check_screen(drawn, true, false), error(false));
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
            file_offset: FileOffset::new(0x10),
            start: physical(0x10_0010),
            file_end: Some(physical(0x10_2000)),
            end: Some(physical(0x10_3000)),
        }),
        entry: Some(physical(0x10_0100)),
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
    // The file itself is too short.
    refuse(parse_1(&addresses[..28]), "10S", cut(0, 32));
}

/// A flat file of 4 KiB: a header, and bytes that nobody looks at.
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
        assert_eq!(segment.start, physical(0x10_0000));
        assert_eq!(segment.file_offset, FileOffset::ZERO);
        assert_eq!(image.sections(), None);
        let entry = image.entry().as_u64();
        Ok((segment.file_size, segment.memory_size, entry))
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
    // The file is larger than the kernel's memory.
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
    assert_eq!(image.entry().as_u64(), MIB + 0x80);
    assert_eq!(header.offset.as_u64() % 8, 0);
    // The entry point in the header is a physical address, and counts.
    let entry = [3, 12, MIB as u32 + 0x90, 0];
    let (_, image) = check_file(Version::Two, &file(header_2(&entry))).expect("a good kernel");
    assert_eq!(image.entry().as_u64(), MIB + 0x90);
    let entry = [3, 12, 5, 0];
    let error = KernelError::Entry { entry: 5 };
    assert_eq!(
        check_file(Version::Two, &file(header_2(&entry))).map(drop),
        Err(error.into())
    );
    let no_elf = check_file(Version::One, &header_1(0, &[])).map(drop);
    assert_eq!(no_elf, Err(KernelError::NotElf.into()));
}

proptest! {
    /// Any words behind a header with a right sum: there is an answer, and an accepted header keeps
    /// its promises.
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
