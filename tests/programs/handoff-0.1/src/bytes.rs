//! The structures as bytes, for a loader that puts them into memory.

use core::slice;

use crate::{BootInfo, KernelSegment, MemoryRegion, Module};

/// A structure of the handoff, which consists only of its fields.
///
/// # Safety
/// It has no padding.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($structure:ty: $($field:ident)+;)+) => {
        $(
            // The fields together have as many bytes as the structure, so there is no padding
            // between them.
            const _: () = {
                const fn size_of_field<T>(_: fn(&$structure) -> &T) -> usize {
                    size_of::<T>()
                }
                assert!(size_of::<$structure>() == 0 $(+ size_of_field(|it| &it.$field))+);
            };
            // SAFETY: see the assertion; the structures in the fields are made of words likewise.
            unsafe impl Plain for $structure {}
        )+
    };
}

plain! {
    MemoryRegion: start length kind reserved;
    KernelSegment: virtual_start physical_start length flags reserved;
    Module: start physical_start length path string;
    crate::Text: start length;
    crate::Kernel: virtual_base physical_base size slide entry segments segment_count stack_bottom stack_size;
    crate::Display: kind bits_per_pixel address width height pitch cursor_row;
    crate::BootDisk: drive bios_drive partition reserved signature partition_lba partition_sectors sector_size reads;
    crate::TlsTemplate: start file_size memory_size alignment;
    BootInfo: magic version size loader command_line memory_map memory_map_count physical_map_base
        physical_map_size kernel modules module_count display rsdp smbios smbios3 boot_disk tls
        cpu_features timeline random_seed;
}

/// The bytes of a structure, as the loader has to put them into memory.
pub fn bytes<T: Plain>(structure: &T) -> &[u8] {
    let start = core::ptr::from_ref(structure).cast();
    // SAFETY: each byte belongs to a field, so it has a value.
    unsafe { slice::from_raw_parts(start, size_of::<T>()) }
}
