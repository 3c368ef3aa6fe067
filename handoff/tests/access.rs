//! The accessors of `BootInfo`, tried on one that the test fills in.

#![allow(unsafe_code)] // raw pointers, as the loader makes them

use std::mem::zeroed;
use std::ptr;

use handoff::*;

fn text(text: &'static std::ffi::CStr) -> Text {
    Text {
        start: text.as_ptr(),
        length: text.to_bytes().len() as u64,
    }
}

const fn region(start: u64, end: u64, kind: MemoryKind) -> MemoryRegion {
    MemoryRegion {
        start,
        length: end - start,
        kind: kind as u32,
        reserved: 0,
    }
}

static MAP: [MemoryRegion; 4] = [
    region(0, 0x9_0000, MemoryKind::Usable),
    region(0x10_0000, 0x20_0000, MemoryKind::Kernel),
    region(0x20_0000, 0x30_0000, MemoryKind::Reserved),
    MemoryRegion {
        start: 0x30_0000,
        length: 0x1000,
        kind: 77,
        reserved: 0,
    },
];

fn boot_info() -> BootInfo {
    // SAFETY: all fields are numbers or raw pointers.
    let mut boot: BootInfo = unsafe { zeroed() };
    boot.magic = BOOTPATH_MAGIC;
    boot.version = BOOTPATH_VERSION;
    boot.size = size_of::<BootInfo>() as u32;
    boot.loader = text(c"loader 1");
    boot.command_line = text(c"a b=\xc3\xa9");
    boot.memory_map = MAP.as_ptr();
    boot.memory_map_count = MAP.len() as u64;
    boot.physical_map_base = DEFAULT_PHYSICAL_MAP_BASE;
    boot.timeline[3] = 5;
    boot
}

#[test]
fn lists_and_texts() {
    let boot = boot_info();
    assert_eq!(boot.memory_map(), MAP);
    assert!(boot.modules().is_empty(), "null with count 0");
    assert!(boot.kernel.segments().is_empty());
    assert_eq!((boot.loader(), boot.command_line()), ("loader 1", "a b=é"));
    assert!(boot.tls().is_none());
    assert_eq!(
        (
            boot.time_of_step(3),
            boot.time_of_step(4),
            boot.time_of_step(99)
        ),
        (Some(5), None, None)
    );
    assert_eq!(text(c"\xff").as_str(), "", "not UTF-8");
    assert_eq!(boot.display.kind(), Some(DisplayKind::None));
}

#[test]
fn what_is_zero_is_not_there() {
    let boot = boot_info();
    assert!(boot.disk().is_none() && boot.rsdp().is_none() && boot.smbios().is_none());
    let boot = BootInfo {
        boot_disk: BootDisk {
            sector_size: 512,
            drive: 0x80,
            ..boot.boot_disk
        },
        tls: TlsTemplate {
            start: 5,
            ..boot.tls
        },
        rsdp: 0xF_0000,
        smbios: 0xF_1000,
        ..boot
    };
    assert_eq!(boot.disk().map(|disk| disk.drive), Some(0x80));
    assert_eq!(boot.tls().map(|tls| tls.start), Some(5));
    assert_eq!(
        (boot.rsdp(), boot.smbios()),
        (Some(0xF_0000), Some(0xF_1000))
    );
    let boot = BootInfo {
        smbios3: 0xF_2000,
        ..boot
    };
    assert_eq!(boot.smbios(), Some(0xF_2000), "the newer one");
}

#[test]
fn features_of_the_cpu_are_asked_for_together() {
    let boot = BootInfo {
        cpu_features: CPU_NX | CPU_RDRAND,
        ..boot_info()
    };
    assert!(boot.cpu_has(CPU_NX) && boot.cpu_has(CPU_NX | CPU_RDRAND) && boot.cpu_has(0));
    assert!(!boot.cpu_has(CPU_RDSEED) && !boot.cpu_has(CPU_RDSEED | CPU_NX));
}

#[test]
fn damaged_lists_are_empty() {
    let good = boot_info();
    let length = |boot: BootInfo| boot.memory_map().len();
    assert_eq!(length(good), MAP.len());
    assert_eq!(
        length(BootInfo {
            memory_map: ptr::null(),
            ..good
        }),
        0
    );
    let misaligned = good.memory_map.wrapping_byte_add(1);
    assert_eq!(
        length(BootInfo {
            memory_map: misaligned,
            ..good
        }),
        0
    );
    for memory_map_count in [u64::MAX, isize::MAX as u64 / 24 + 1] {
        assert_eq!(
            length(BootInfo {
                memory_map_count,
                ..good
            }),
            0
        );
    }
    let text = Text {
        length: u64::MAX,
        ..good.loader
    };
    assert_eq!(text.as_str(), "");
    let text = Text {
        start: ptr::null(),
        ..good.loader
    };
    assert_eq!(text.as_str(), "");
}

#[test]
fn texts_can_be_printed() {
    assert_eq!(
        format!("[{:>5}] [{}]", text(c"abc"), text(c"")),
        "[  abc] []"
    );
}

#[test]
fn words_of_the_command_line() {
    let with = |line| BootInfo {
        command_line: text(line),
        ..boot_info()
    };
    let boot = with(c"  a=1 b\tquiet a=2= =x c= \n");
    assert_eq!(
        boot.words().collect::<Vec<_>>(),
        ["a=1", "b", "quiet", "a=2=", "=x", "c="]
    );
    assert_eq!(boot.words().next_back(), Some("c="));
    assert!(boot.has_word("quiet") && boot.has_word("c="));
    assert!(!boot.has_word("qui") && !boot.has_word("a") && !boot.has_word(""));
    assert_eq!(boot.value_of("a"), Some("2="), "the last one");
    assert_eq!(
        (boot.value_of("c"), boot.value_of("")),
        (Some(""), Some("x"))
    );
    assert_eq!((boot.value_of("b"), boot.value_of("quie")), (None, None));
    let boot = with(c"");
    assert_eq!((boot.words().count(), boot.value_of("a")), (0, None));
}

#[test]
fn modules_are_found_by_name() {
    const fn module(path: Text, string: Text, bytes: &'static [u8]) -> Module {
        let (start, length) = (bytes.as_ptr(), bytes.len() as u64);
        Module {
            start,
            physical_start: 0x1000,
            length,
            path,
            string,
        }
    }
    let modules = [
        module(text(c"/boot/modules/a.bin"), text(c"first"), b"1"),
        module(text(c"/boot/other/a.bin"), text(c""), b""),
        module(text(c"plain"), text(c"third"), b"333"),
    ];
    let (modules, module_count) = (modules.as_ptr(), modules.len() as u64);
    let boot = BootInfo {
        modules,
        module_count,
        ..boot_info()
    };
    let names: Vec<_> = boot.modules().iter().map(Module::name).collect();
    assert_eq!(names, ["a.bin", "a.bin", "plain"]);
    let string = |name| boot.module(name).map(Module::string);
    assert_eq!(string("a.bin"), Some("first"));
    assert_eq!(string("/boot/other/a.bin"), Some(""));
    assert_eq!(
        (string("plain"), string("modules/a.bin"), string("")),
        (Some("third"), None, None)
    );
    let last = boot.modules().last().expect("three modules");
    assert_eq!((last.path(), last.bytes()), ("plain", &b"333"[..]));
    assert_eq!(last.physical_range(), 0x1000..0x1003);
    let endless = Module {
        length: u64::MAX,
        ..*last
    };
    assert_eq!(
        (endless.physical_range(), endless.bytes()),
        (0x1000..u64::MAX, &b""[..])
    );
}

#[test]
fn segments_and_stack_are_found_by_address() {
    let segment = |virtual_start, length| KernelSegment {
        virtual_start,
        physical_start: 0x5000,
        length,
        flags: 5,
        reserved: 0,
    };
    let segments = [
        segment(0x1000, 0x1000),
        segment(0x3000, 0),
        segment(u64::MAX - 0xFFF, 0x1000),
    ];
    let mut kernel = boot_info().kernel;
    assert!(kernel.segment_of(0).is_none(), "no segments");
    (kernel.segments, kernel.segment_count) = (segments.as_ptr(), 3);
    let start = |address| kernel.segment_of(address).map(|it| it.virtual_start);
    assert_eq!(
        (start(0xFFF), start(0x1000), start(0x1FFF), start(0x2000)),
        (None, Some(0x1000), Some(0x1000), None)
    );
    assert_eq!(
        (start(0x3000), start(u64::MAX)),
        (None, Some(u64::MAX - 0xFFF))
    );
    assert_eq!(segments[0].virtual_range(), 0x1000..0x2000);
    assert_eq!(segments[0].physical_range(), 0x5000..0x6000);
    assert_eq!(
        segments[2].virtual_range().end,
        u64::MAX,
        "there is no address behind the last"
    );
    (kernel.stack_bottom, kernel.stack_size) = (0x7000, 0x2000);
    assert_eq!(kernel.stack(), 0x7000..0x9000);
    kernel.stack_size = u64::MAX;
    assert_eq!(kernel.stack(), 0x7000..u64::MAX);
}

#[test]
fn segments_that_change_have_no_bytes() {
    static BYTES: [u8; 3] = *b"abc";
    let start = ptr::from_ref(&BYTES) as u64;
    let constant = KernelSegment {
        virtual_start: start,
        physical_start: 0,
        length: 3,
        flags: 4,
        reserved: 0,
    };
    assert_eq!(constant.bytes(), Some(&b"abc"[..]));
    let variable = KernelSegment {
        flags: 6,
        ..constant
    };
    assert_eq!(
        (
            variable.bytes(),
            variable.is_writable(),
            variable.is_executable()
        ),
        (None, true, false)
    );
}

#[test]
fn regions_are_found_by_address() {
    let boot = boot_info();
    let kind = |address| boot.region_of(address).map(|region| region.kind);
    assert_eq!(kind(0), Some(MemoryKind::Usable as u32));
    assert_eq!(kind(0x8_FFFF), Some(MemoryKind::Usable as u32));
    assert_eq!(kind(0x9_0000), None, "a hole");
    assert_eq!(kind(0x10_0000), Some(MemoryKind::Kernel as u32));
    assert_eq!(kind(0x20_0000), Some(MemoryKind::Reserved as u32));
    assert_eq!(kind(0x30_0FFF), Some(77));
    assert_eq!(kind(0x30_1000), None);
    assert_eq!(
        boot.region_of(0x30_0000).and_then(MemoryRegion::kind),
        None,
        "an unknown kind"
    );
}

#[test]
fn physical_addresses_are_translated_where_they_are_mapped() {
    let boot = boot_info();
    let at = |address| {
        boot.physical_to_virtual(address)
            .map(|pointer| pointer as u64)
    };
    assert_eq!(at(0x1234), Some(DEFAULT_PHYSICAL_MAP_BASE + 0x1234));
    assert_eq!(
        at(0xB_8000),
        Some(DEFAULT_PHYSICAL_MAP_BASE + 0xB_8000),
        "the first MiB, always"
    );
    assert_eq!(at(0x1F_FFFF), Some(DEFAULT_PHYSICAL_MAP_BASE + 0x1F_FFFF));
    assert_eq!(at(0x20_0000), None, "reserved");
    assert_eq!(at(0x30_0000), None, "unknown");
    assert_eq!(at(u64::MAX), None);
}

#[test]
fn regions_of_a_kind_from_both_ends() {
    let map = [
        region(0, 0x1000, MemoryKind::Usable),
        region(0x1000, 0x2000, MemoryKind::Kernel),
        region(0x2000, 0x3000, MemoryKind::Usable),
        MemoryRegion {
            kind: 77,
            ..region(0x3000, 0x4000, MemoryKind::Bad)
        },
        region(0x4000, 0x5000, MemoryKind::Usable),
    ];
    let (memory_map, memory_map_count) = (map.as_ptr(), map.len() as u64);
    let boot = BootInfo {
        memory_map,
        memory_map_count,
        ..boot_info()
    };
    let mut usable = boot.usable();
    assert_eq!(usable.size_hint(), (0, Some(5)));
    let start = |region: Option<&MemoryRegion>| region.map(|region| region.start);
    assert_eq!(start(usable.next()), Some(0));
    assert_eq!(start(usable.next_back()), Some(0x4000));
    assert_eq!(usable.clone().count(), 1);
    assert_eq!(start(usable.next()), Some(0x2000));
    assert_eq!(
        (start(usable.next()), start(usable.next_back())),
        (None, None)
    );
    assert_eq!(boot.regions_of_kind(MemoryKind::Kernel).count(), 1);
    assert_eq!(boot.regions_of_kind(MemoryKind::Bad).count(), 0);
    let empty = BootInfo {
        memory_map_count: 0,
        ..boot
    };
    assert_eq!((empty.usable().count(), empty.region_of(0)), (0, None));
}

#[test]
fn ends_of_regions() {
    let first = region(0x1000, 0x3000, MemoryKind::Usable);
    assert_eq!((first.range(), first.end()), (0x1000..0x3000, 0x3000));
    assert!(first.contains(0x1000) && first.contains(0x2FFF));
    assert!(!first.contains(0xFFF) && !first.contains(0x3000));
    assert!(first.is_usable() && first.is_mapped());
    let unknown = MemoryRegion { kind: 77, ..first };
    assert!(!unknown.is_usable() && !unknown.is_mapped());
    let module = MemoryRegion {
        kind: MemoryKind::Module as u32,
        ..first
    };
    assert!(!module.is_usable() && module.is_mapped());
    let damaged = MemoryRegion {
        length: u64::MAX,
        ..first
    };
    assert_eq!(damaged.end(), u64::MAX);
    assert!(damaged.contains(u64::MAX));
}

#[test]
fn kinds_have_their_numbers() {
    let known: Vec<u32> = (0..100)
        .filter(|number| MemoryKind::from_number(*number).is_some())
        .collect();
    assert_eq!(known, (1..=9).collect::<Vec<_>>());
    for number in known {
        assert_eq!(MemoryKind::from_number(number).unwrap() as u32, number);
    }
}

#[test]
fn only_a_boot_info_is_accepted() {
    let good = boot_info();
    // SAFETY: in this test and the following, the pointer is null, unaligned or valid.
    let accepted = |boot: &BootInfo| unsafe { BootInfo::from_loader(boot) }.is_some();
    assert!(accepted(&good));
    assert!(!accepted(&BootInfo { magic: 1, ..good }));
    assert!(!accepted(&BootInfo { version: 2, ..good }));
    assert!(
        !accepted(&BootInfo {
            size: good.size - 1,
            ..good
        }),
        "an older, shorter structure"
    );
    assert!(
        accepted(&BootInfo {
            size: good.size + 8,
            ..good
        }),
        "a newer, longer structure"
    );
    // A good one at an odd address.
    let mut room = [good, good];
    let odd = room.as_mut_ptr().wrapping_byte_add(1);
    // SAFETY: there is room for two. For the others, see above.
    unsafe {
        odd.write_unaligned(good);
        assert!(BootInfo::from_loader(odd).is_none());
        assert!(BootInfo::from_loader(ptr::null()).is_none());
    }
}
