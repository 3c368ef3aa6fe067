//! **The promise of versions**: an old kernel runs on a newer loader, and a new one on an older
//! loader. `docs/handoff.md` has it in full.
//!
//! Within one [`BOOTPATH_VERSION`], [`BootInfo`] grows at its end and changes nowhere else. What is
//! added means "there is none" when it is zero. A kernel of an older crate does not see the end of
//! a longer structure. A kernel of a newer crate completes a shorter one with zeros: then its
//! methods answer `None` or an empty list for what the loader did not know.

use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicU8, Ordering};

use crate::{BOOTPATH_MAGIC, BOOTPATH_VERSION, BootInfo};

/// Bytes in the [`BootInfo`] of the first loader with today's [`BOOTPATH_VERSION`]: no loader passes
/// a shorter one.
pub const FIRST_SIZE: u32 = 456;

const _: () = assert!(size_of::<BootInfo>() >= FIRST_SIZE as usize);

impl BootInfo {
    /// What the loader passed in RDI, if it is a `BootInfo` that this crate understands: aligned,
    /// with the right magic number and version, and at least [`FIRST_SIZE`] bytes long.
    /// [`entry_point!`](crate::entry_point) calls this; a kernel with an entry function of its own
    /// calls it first.
    ///
    /// If an older loader passed a shorter structure than this crate has, the result is a copy
    /// whose last fields are zero. [`size`](Self::size) is what the loader passed.
    ///
    /// # Safety
    /// `info` is the value that the kernel's entry function was called with. If a Bootpath loader
    /// called it, all that the structure points to is valid and nothing but the kernel changes it:
    /// the reference holds until the kernel gives [`Reclaimable`](crate::MemoryKind::Reclaimable)
    /// memory away or takes down the physical map.
    ///
    /// ```no_run
    /// # #![allow(unsafe_code)]
    /// use handoff::BootInfo;
    ///
    /// extern "C" fn my_start(info: *const BootInfo) -> ! {
    ///     // SAFETY: the ELF header names this function as the entry point.
    ///     let boot = unsafe { BootInfo::from_loader(info) };
    ///     let boot = boot.expect("a Bootpath loader");
    ///     # let _ = boot;
    ///     loop {}
    /// }
    /// # let _ = my_start;
    /// ```
    #[must_use]
    pub unsafe fn from_loader(info: *const Self) -> Option<&'static Self> {
        static ROOM: Room = Room::new();
        // As long as nothing has been added, no structure is shorter, and kernels without writable
        // data stay that way.
        let room = if const { size_of::<Self>() > FIRST_SIZE as usize } {
            Some(&ROOM)
        } else {
            None
        };
        // SAFETY: the caller's promise.
        unsafe { read(info, FIRST_SIZE as usize, room) }
    }
}

/// The structure at `info`, if it is one of at least `first` bytes. A shorter one than today's is
/// completed in `room`.
///
/// # Safety
/// As for [`BootInfo::from_loader`].
unsafe fn read(
    info: *const BootInfo,
    first: usize,
    room: Option<&'static Room>,
) -> Option<&'static BootInfo> {
    if info.is_null() || !info.is_aligned() {
        return None;
    }
    // SAFETY: the caller promises that it comes from the loader: these three fields are there,
    // whatever their values. No reference is made, because the rest may not be there.
    let (magic, version, size) = unsafe {
        let magic = (&raw const (*info).magic).read();
        let version = (&raw const (*info).version).read();
        (magic, version, (&raw const (*info).size).read() as usize)
    };
    if magic != BOOTPATH_MAGIC || version != BOOTPATH_VERSION || size < first {
        return None;
    }
    if size < size_of::<BootInfo>() {
        // SAFETY: the loader says that there are as many bytes.
        return room.map(|room| room.get_or_fill(|| unsafe { completed(info, size) }));
    }
    // SAFETY: the whole is there, and the caller promises that it stays.
    Some(unsafe { &*info })
}

/// The first `size` bytes of the structure at `info`, and zeros. A number that these bytes contain
/// only in part is left out, since half an address is none.
///
/// # Safety
/// As many bytes are readable there.
unsafe fn completed(info: *const BootInfo, size: usize) -> BootInfo {
    let size = size.min(size_of::<BootInfo>()) / align_of::<BootInfo>() * align_of::<BootInfo>();
    let mut whole = MaybeUninit::<BootInfo>::zeroed();
    // SAFETY: the caller's promise, and there is as much room. The structure consists of numbers,
    // raw pointers and arrays of numbers, for all of which zeros are values.
    unsafe {
        ptr::copy_nonoverlapping(info.cast::<u8>(), whole.as_mut_ptr().cast::<u8>(), size);
        whole.assume_init()
    }
}

/// Where a completed structure stays. It is filled once.
struct Room {
    state: AtomicU8,
    info: UnsafeCell<MaybeUninit<BootInfo>>,
}

// SAFETY: `state` sees to it that one thread writes `info`, before any reads it.
unsafe impl Sync for Room {}

impl Room {
    const EMPTY: u8 = 0;
    const BEING_FILLED: u8 = 1;
    const FULL: u8 = 2;

    const fn new() -> Self {
        Self {
            state: AtomicU8::new(Self::EMPTY),
            info: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// What it holds; if it is empty, it is filled first.
    fn get_or_fill(&'static self, fill: impl FnOnce() -> BootInfo) -> &'static BootInfo {
        let (empty, being_filled) = (Self::EMPTY, Self::BEING_FILLED);
        let (success, failure) = (Ordering::Acquire, Ordering::Acquire);
        let state = &self.state;
        let mine = state.compare_exchange(empty, being_filled, success, failure);
        if mine.is_ok() {
            // SAFETY: it was empty, so nobody has a reference, and others wait.
            unsafe { (*self.info.get()).write(fill()) };
            state.store(Self::FULL, Ordering::Release);
        }
        while state.load(Ordering::Acquire) != Self::FULL {
            spin_loop();
        }
        // SAFETY: it is full, and nobody writes to it any more.
        unsafe { (*self.info.get()).assume_init_ref() }
    }
}

#[cfg(test)]
mod tests;
