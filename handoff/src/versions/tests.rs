//! Structures of other lengths than today's. Memory behind each cannot be read: a byte too many ends
//! the test program.

extern crate std;

use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr;
use std::boxed::Box;
use std::vec::Vec;

use proptest::prelude::*;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::{Room, read};
use crate::bytes::bytes;
use crate::{
    BOOTPATH_MAGIC, BOOTPATH_VERSION, BootInfo, FIRST_SIZE, MemoryKind, MemoryRegion, Text,
};

/// Bytes at the end of a page, behind which nothing is mapped.
struct AtTheEnd {
    pages: *mut c_void,
    start: *mut u8,
}

impl AtTheEnd {
    const PAGE: usize = 4096;

    fn new(content: &[u8]) -> Self {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: new pages, which nobody else uses; the bytes fit into the first.
        unsafe {
            let pages = mmap_anonymous(ptr::null_mut(), 2 * Self::PAGE, access, flags).unwrap();
            mprotect(
                pages.byte_add(Self::PAGE),
                Self::PAGE,
                MprotectFlags::empty(),
            )
            .unwrap();
            let start = pages.cast::<u8>().add(Self::PAGE - content.len());
            ptr::copy_nonoverlapping(content.as_ptr(), start, content.len());
            Self { pages, start }
        }
    }
}

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        // SAFETY: the pages of `new`.
        unsafe { munmap(self.pages, 2 * Self::PAGE) }.unwrap();
    }
}

static MAP: [MemoryRegion; 1] = [MemoryRegion {
    start: 0,
    length: 0x9_0000,
    kind: MemoryKind::Usable as u32,
    reserved: 0,
}];

const TEXT: Text = Text {
    start: c"a text".as_ptr(),
    length: 6,
};

/// A structure none of whose fields is zero.
fn full() -> BootInfo {
    // SAFETY: all fields are numbers, raw pointers or arrays of numbers.
    let mut info: BootInfo = unsafe { core::mem::transmute([0x11_u8; size_of::<BootInfo>()]) };
    info.magic = BOOTPATH_MAGIC;
    info.version = BOOTPATH_VERSION;
    (info.loader, info.command_line) = (TEXT, TEXT);
    info.memory_map = MAP.as_ptr();
    info.memory_map_count = 1;
    (info.modules, info.module_count) = (ptr::null(), 0);
    (info.kernel.segments, info.kernel.segment_count) = (ptr::null(), 0);
    info
}

/// What the crate makes of the first `size` bytes of a structure, if `first` bytes are enough.
fn read_first(size: usize, first: usize) -> Option<&'static BootInfo> {
    let mut info = full();
    info.size = size as u32;
    // A newer loader's structure is longer than today's.
    let mut content = Vec::from(bytes(&info));
    content.resize(size.next_multiple_of(8), 0xEE);
    let place = AtTheEnd::new(&content);
    let room = Box::leak(Box::new(Room::new()));
    // SAFETY: the place is aligned, because the content is a multiple of 8 bytes, and it has as many
    // bytes as it says.
    let found = unsafe {
        read(
            place.start.cast::<BootInfo>().cast_const(),
            first,
            Some(room),
        )
    };
    let longer = found.is_some() && size >= size_of::<BootInfo>();
    if longer {
        core::mem::forget(place); // that is where the result is
    }
    found
}

/// Checks that all of a result is either what was passed or zero.
fn check(found: &BootInfo, size: usize) {
    let (found, passed) = (bytes(found), full());
    let passed = bytes(&passed);
    let known = size.min(found.len()) / 8 * 8;
    let own = offset_of!(BootInfo, size);
    assert_eq!(found[..own], passed[..own]);
    assert_eq!(found[own..own + 4], (size as u32).to_le_bytes());
    assert_eq!(found[own + 4..known], passed[own + 4..known]);
    assert!(found[known..].iter().all(|&byte| byte == 0));
}

proptest! {
    #[test]
    fn what_an_older_loader_did_not_know_is_zero(size in 16..size_of::<BootInfo>() + 64) {
        let found = read_first(size, 16).expect("long enough");
        check(found, size);
        let knows = |end: usize| size / 8 * 8 >= end;
        let text = |end| if knows(end) { "a text" } else { "" };
        prop_assert_eq!(found.loader(), text(offset_of!(BootInfo, command_line)));
        prop_assert_eq!(found.command_line(), text(offset_of!(BootInfo, memory_map)));
        let regions = usize::from(knows(offset_of!(BootInfo, physical_map_base)));
        prop_assert_eq!(found.memory_map().len(), regions);
        prop_assert_eq!(found.usable().count(), regions);
        prop_assert_eq!(found.tls().is_some(), knows(offset_of!(BootInfo, tls) + 8));
        prop_assert_eq!(found.rsdp().is_some(), knows(offset_of!(BootInfo, smbios)));
        let time = offset_of!(BootInfo, timeline) + 16;
        prop_assert_eq!(found.time_of_step(1).is_some(), knows(time));
        prop_assert!(found.modules().is_empty() && found.kernel.segments().is_empty());
    }

    #[test]
    fn shorter_than_the_first_is_refused(first in 17..size_of::<BootInfo>(), less in 1_usize..600) {
        let size = first.saturating_sub(less).max(16);
        prop_assert!(read_first(size, first).is_none());
    }
}

#[test]
fn the_room_is_filled_once() {
    static ROOM: Room = Room::new();
    let info = full();
    let first = ROOM.get_or_fill(|| info);
    let second = ROOM.get_or_fill(|| panic!("it is full"));
    assert!(ptr::eq(first, second));
    assert_eq!(bytes(first), bytes(&info));
}

#[test]
fn nothing_was_added_or_a_room_is_needed() {
    let info = read_first(FIRST_SIZE as usize, FIRST_SIZE as usize);
    assert!(info.is_some(), "what the first loader passed");
    assert!(read_first(FIRST_SIZE as usize - 8, FIRST_SIZE as usize).is_none());
}
