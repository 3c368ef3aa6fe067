//! The promise of versions: what the first version of the crate laid out, today's reads. How it
//! reads structures of other lengths is tested in `src/versions/tests.rs`; a kernel that was built
//! with the first version boots in the machine tests.

#![allow(unsafe_code)] // raw pointers, as the loader makes them

use std::mem::{offset_of, zeroed};
use std::ptr;

use handoff_0_1 as old;

/// Offset and size of each field: those of the first version, and today's. A field of the first
/// version that is left out does not compile.
macro_rules! same_fields {
    ($($structure:ident { $($field:ident)+ })+) => {$(
        let _ = |old::$structure { $($field: _),+ }: old::$structure| ();
        $(
            assert_eq!(
                (offset_of!(old::$structure, $field), size_of_field(|it: &old::$structure| &it.$field)),
                (offset_of!(handoff::$structure, $field), size_of_field(|it: &handoff::$structure| &it.$field)),
                concat!(stringify!($structure), "::", stringify!($field)),
            );
        )+
    )+};
}

fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

/// Structures that are elements of lists or fields of others cannot grow.
macro_rules! same_sizes {
    ($($structure:ident)+) => {$(
        assert_eq!(size_of::<old::$structure>(), size_of::<handoff::$structure>());
        assert_eq!(align_of::<old::$structure>(), align_of::<handoff::$structure>());
    )+};
}

#[test]
fn every_field_is_where_it_was() {
    same_fields! {
        BootInfo {
            magic version size loader command_line memory_map memory_map_count physical_map_base
            physical_map_size kernel modules module_count display rsdp smbios smbios3 boot_disk tls
            cpu_features timeline random_seed
        }
        MemoryRegion { start length kind reserved }
        Text { start length }
        KernelSegment { virtual_start physical_start length flags reserved }
        Kernel {
            virtual_base physical_base size slide entry segments segment_count stack_bottom stack_size
        }
        Module { start physical_start length path string }
        Display { kind bits_per_pixel address width height pitch cursor_row }
        BootDisk {
            drive bios_drive partition reserved signature partition_lba partition_sectors sector_size
            reads
        }
        TlsTemplate { start file_size memory_size alignment }
    }
    same_sizes!(MemoryRegion Text KernelSegment Kernel Module Display BootDisk TlsTemplate);
    assert_eq!(size_of::<old::BootInfo>(), handoff::FIRST_SIZE as usize);
}

/// Constants of the contract, by name.
macro_rules! same_constants {
    ($($constant:ident)+) => {$(
        assert_eq!(old::$constant, handoff::$constant, stringify!($constant));
    )+};
}

#[test]
fn every_number_means_what_it_meant() {
    same_constants! {
        BOOTPATH_MAGIC BOOTPATH_VERSION NOTE_NAME NOTE_STACK_SIZE NOTE_PHYSICAL_MAP_BASE NOTE_FLAGS
        FLAG_ALLOW_WRITABLE_CODE FLAG_NO_FAULT_REPORTS EXIT_PORT EXIT_SUCCESS EXIT_FAILURE
        DEFAULT_PHYSICAL_MAP_BASE STACK_SIZE_MIN STACK_SIZE_MAX DEFAULT_STACK_SIZE CPU_NX
        CPU_1GIB_PAGES CPU_LA57 CPU_INVARIANT_TSC CPU_RDRAND CPU_RDSEED CPU_X2APIC CPU_HYPERVISOR
        CPU_SMEP CPU_SMAP TIMELINE_LENGTH
    }
    for number in 0..100 {
        let (old, new) = (
            old::MemoryKind::from_number(number),
            handoff::MemoryKind::from_number(number),
        );
        if let Some(old) = old {
            let new = new.expect("a kind of the first version");
            assert_eq!(format!("{old:?}"), format!("{new:?}"));
            assert_eq!(old.is_mapped(), new.is_mapped());
        }
        let mut info = old_info();
        info.display.kind = number;
        if let Some(old) = info.display.kind() {
            let new = today(&info)
                .display
                .kind()
                .expect("a kind of the first version");
            assert_eq!(format!("{old:?}"), format!("{new:?}"));
        }
    }
    for (kind, value) in [(1, 2), (3, u64::MAX)] {
        let (old, new) = (old::Note::new(kind, value), handoff::Note::new(kind, value));
        // SAFETY: a note consists of its bytes.
        let bytes =
            |note: *const u8| unsafe { std::slice::from_raw_parts(note, size_of::<old::Note>()) };
        assert_eq!(size_of::<old::Note>(), size_of::<handoff::Note>());
        assert_eq!(
            bytes((&raw const old).cast()),
            bytes((&raw const new).cast())
        );
    }
}

static MAP: [old::MemoryRegion; 2] = [
    old::MemoryRegion {
        start: 0,
        length: 0x9_0000,
        kind: 1,
        reserved: 0,
    },
    old::MemoryRegion {
        start: 0x10_0000,
        length: 0x10_0000,
        kind: 3,
        reserved: 0,
    },
];

fn text(text: &'static std::ffi::CStr) -> old::Text {
    old::Text {
        start: text.as_ptr(),
        length: text.to_bytes().len() as u64,
    }
}

/// What a loader of the first version passes.
fn old_info() -> old::BootInfo {
    static BYTES: [u8; 5] = *b"bytes";
    // SAFETY: all fields are numbers or raw pointers.
    let mut info: old::BootInfo = unsafe { zeroed() };
    info.magic = old::BOOTPATH_MAGIC;
    info.version = old::BOOTPATH_VERSION;
    info.size = size_of::<old::BootInfo>() as u32;
    info.loader = text(c"Bootpath 0.1.0");
    info.command_line = text(c"log=serial");
    info.memory_map = MAP.as_ptr();
    info.memory_map_count = MAP.len() as u64;
    info.physical_map_base = old::DEFAULT_PHYSICAL_MAP_BASE;
    let module = old::Module {
        start: BYTES.as_ptr(),
        physical_start: 0x10_0000,
        length: 5,
        path: text(c"/boot/modules/five"),
        string: text(c"of five"),
    };
    info.modules = Box::leak(Box::new(module));
    info.module_count = 1;
    info.display.kind = 1;
    info.rsdp = 0xF_0000;
    info.boot_disk.sector_size = 512;
    info.tls.start = 1;
    info.timeline[12] = 7;
    info
}

/// The same for a kernel with today's crate.
fn today(info: &old::BootInfo) -> &'static handoff::BootInfo {
    let info: &'static [u8] = Box::leak(old::bytes::bytes(info).into());
    // To where the loader has it: with the alignment of the structure.
    let words: Vec<u64> = info
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .collect();
    let words: &'static [u64] = words.leak();
    // SAFETY: it has as many bytes as it says.
    unsafe { handoff::BootInfo::from_loader(words.as_ptr().cast()) }.expect("a `BootInfo`")
}

#[test]
fn a_kernel_of_today_understands_the_first_loader() {
    let boot = today(&old_info());
    assert_eq!(boot.loader(), "Bootpath 0.1.0");
    assert_eq!(boot.value_of("log"), Some("serial"));
    let usable: Vec<_> = boot.usable().map(handoff::MemoryRegion::end).collect();
    assert_eq!(usable, [0x9_0000]);
    assert!(boot.physical_map().covers(0..0x20_0000));
    let module = boot.module("five").expect("the module");
    assert_eq!(
        (module.bytes(), module.string()),
        (&b"bytes"[..], "of five")
    );
    assert_eq!(boot.display.kind(), Some(handoff::DisplayKind::Text));
    assert_eq!((boot.rsdp(), boot.smbios()), (Some(0xF_0000), None));
    assert_eq!(boot.time_of_step(12), Some(7));
    assert!(boot.tls().is_some() && boot.disk().is_some());
}

#[test]
fn a_kernel_of_the_first_version_understands_a_longer_structure() {
    // What a newer loader has added is behind what the old kernel knows.
    let mut info = old_info();
    info.size += 64;
    let mut bytes = old::bytes::bytes(&info).to_vec();
    bytes.extend([0xEE; 64]);
    let words: Vec<u64> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .collect();
    // SAFETY: it has as many bytes as it says.
    let boot = unsafe { old::BootInfo::from_loader(words.leak().as_ptr().cast()) };
    let boot = boot.expect("a `BootInfo`");
    assert_eq!(
        (boot.command_line(), boot.modules().len()),
        ("log=serial", 1)
    );
    assert!(ptr::eq(boot.memory_map(), &raw const MAP));
}
