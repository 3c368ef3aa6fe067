//! Variables of the whole program. Each kind has one reason why it may be shared, and checks that
//! as far as it can: there is no `static mut`.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::mem::{self, MaybeUninit};
use core::ops::Deref;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use boot_path::errors::catalogue::Named;

/// A variable of the loader's only thread. Whatever changes in it is a [`Cell`], so nobody has a
/// reference to data that somebody else writes: neither a fault handler that interrupts, nor the
/// assembly that reaches the variable by its symbol and runs only when Rust calls it.
#[repr(transparent)]
pub struct OneThread<T>(T);

// SAFETY: one CPU runs the loader, with interrupts off. Other processors run
// `limine::processors::run`, which uses none of these.
unsafe impl<T> Sync for OneThread<T> {}

impl<T> OneThread<T> {
    /// The variable with its first value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The variable, in constants.
    pub const fn value(&self) -> &T {
        &self.0
    }
}

impl<T> Deref for OneThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Allocated memory that is divided among variables: for those that need no fixed place.
pub struct Rest(pub &'static mut [u8]);

impl Rest {
    /// Room for a value.
    ///
    /// # Panics
    /// When what is left is too small.
    pub fn room<T>(&mut self) -> &'static mut MaybeUninit<T> {
        let room = self.piece(Layout::new::<T>()); // `expect` would need code to print any text
        let room = room.unwrap_or_else(|| panic!("this much was allocated"));
        // SAFETY: these bytes have the value's size and alignment, nobody else has a reference to
        // them, and a `MaybeUninit` may hold any bytes.
        unsafe { &mut *room.as_mut_ptr().cast() }
    }

    /// The first bytes of this size and alignment; `None`, and nothing is left: there are too few.
    fn piece(&mut self, layout: Layout) -> Option<&'static mut [u8]> {
        let left = mem::take(&mut self.0);
        let skipped = left.as_ptr().align_offset(layout.align());
        let (_, left) = left.split_at_mut_checked(skipped)?;
        let (piece, left) = left.split_at_mut_checked(layout.size())?;
        self.0 = left;
        Some(piece)
    }
}

/// The heap: what is left of the memory that was allocated for a list.
#[global_allocator]
pub static HEAP: OneThread<Cell<Rest>> = OneThread::new(Cell::new(Rest(&mut [])));

// SAFETY: nobody else has a reference to a piece.
unsafe impl GlobalAlloc for OneThread<Cell<Rest>> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut rest = self.replace(Rest(&mut []));
        let piece = rest.piece(layout);
        self.set(rest);
        piece.map_or(ptr::null_mut(), <[u8]>::as_mut_ptr)
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {} // the path frees all that it allocated
}

/// Marks what happens only once.
///
/// # Panics
/// The second time.
pub fn first_time(mark: &AtomicBool) {
    let again = mark.swap(true, Ordering::Relaxed);
    assert!(!again, "what happens once happens again");
}

/// The largest number of errors at one time: something fails, and so do other copies of it, each of
/// which may be looked for in other ways.
const ERRORS: usize = 4;

/// Room for any error.
type Room = UnsafeCell<MaybeUninit<[u64; 12]>>;

/// Places for errors, and which of them are in use: a bit each.
static PLACES: OneThread<(Cell<u32>, [Room; ERRORS])> = OneThread::new((
    Cell::new(0),
    [const { UnsafeCell::new(MaybeUninit::uninit()) }; ERRORS],
));

/// An error in one of the [places](PLACES), which is free again when this is dropped.
pub struct Kept(&'static dyn Named);

impl Kept {
    /// Puts an error into a place that is free.
    ///
    /// # Panics
    /// When none is.
    pub fn new<E: Named + 'static>(error: E) -> Self {
        const {
            assert!(size_of::<E>() <= size_of::<Room>() && align_of::<E>() <= align_of::<Room>());
            assert!(!core::mem::needs_drop::<E>());
        }
        let place = free_place().get().cast::<E>();
        // SAFETY: there is room for it, and nobody refers to it: it was free until now.
        unsafe {
            place.write(error);
            Self(&*place)
        }
    }
}

/// Takes a place for an error.
fn free_place() -> &'static Room {
    let (used, places) = &*PLACES;
    let index = used.get().trailing_ones();
    assert!(index < ERRORS as u32, "too many errors at a time");
    used.set(used.get() | 1 << index);
    &places[index as usize]
}

impl Deref for Kept {
    type Target = dyn Named;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let (used, places) = &*PLACES;
        let offset = (&raw const *self.0).addr() - (&raw const *places).addr();
        used.set(used.get() & !(1 << (offset / size_of::<Room>())));
    }
}

/// Declares variables in sections that the linker script puts within reach of 16-bit code, or of
/// the program that makes the image.
macro_rules! placed {
    ($(
        $(#[$attribute:meta])*
        in $section:literal
        $visibility:vis static $name:ident: $Type:ty = $value:expr;
    )+) => {
        $(
            $(#[$attribute])*
            // Every section of the program is existing RAM, and has its first value before anything
            // reads it.
            #[allow(unsafe_code)]
            #[unsafe(link_section = $section)]
            $visibility static $name: $Type = $value;
        )+
    };
}
pub(crate) use placed;
