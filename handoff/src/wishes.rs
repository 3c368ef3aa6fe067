//! What a kernel may ask of the loader: ELF notes.

use crate::NOTE_NAME;

/// An ELF note as it lies in the section `.note.bootpath`; made by [`wish!`](crate::wish).
///
/// Its layout suits notes aligned to 4 bytes and to 8 (System V gABI, "Note Section").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Note {
    name_size: u32,
    description_size: u32,
    kind: u32,
    name: [u8; 12],
    description: [u8; 8],
}

impl Note {
    /// A note of one of the types `NOTE_…`.
    ///
    /// ```
    /// use handoff::{NOTE_STACK_SIZE, Note};
    ///
    /// let note = Note::new(NOTE_STACK_SIZE, 128 * 1024);
    /// assert_eq!((note.kind(), note.value()), (NOTE_STACK_SIZE, 128 * 1024));
    /// ```
    #[must_use]
    pub const fn new(kind: u32, value: u64) -> Self {
        let mut name = [0; 12];
        let text = NOTE_NAME.as_bytes();
        let mut i = 0;
        while i < text.len() {
            name[i] = text[i];
            i += 1;
        }
        Self {
            name_size: text.len() as u32 + 1, // the final zero byte counts
            description_size: 8,
            kind,
            name,
            description: value.to_le_bytes(),
        }
    }

    /// Its type. See [`new`](Self::new) for an example.
    #[must_use]
    pub const fn kind(&self) -> u32 {
        self.kind
    }

    /// Its value. See [`new`](Self::new) for an example.
    #[must_use]
    pub const fn value(&self) -> u64 {
        u64::from_le_bytes(self.description)
    }
}

/// Tells the loader what the kernel wishes. Every part may be left out; values that the loader
/// would refuse do not compile.
///
/// - `stack_size`: bytes, 4 KiB to 16 MiB ([`NOTE_STACK_SIZE`](crate::NOTE_STACK_SIZE));
/// - `physical_map_base`: an address ([`NOTE_PHYSICAL_MAP_BASE`](crate::NOTE_PHYSICAL_MAP_BASE));
/// - `allow_writable_code`: segments may be writable and executable at once
///   ([`FLAG_ALLOW_WRITABLE_CODE`](crate::FLAG_ALLOW_WRITABLE_CODE));
/// - `fault_reports`: `false` lets a fault reset the machine
///   ([`FLAG_NO_FAULT_REPORTS`](crate::FLAG_NO_FAULT_REPORTS)).
///
/// A linker script must keep the section `.note.bootpath` and name it in a PT_NOTE header; without
/// a script the linker does so by itself.
///
/// ```
/// handoff::wish! {
///     stack_size: 128 * 1024,
///     physical_map_base: 0xFFFF_9000_0000_0000,
/// }
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// handoff::wish! { stack_size: 100 }
/// ```
#[macro_export]
macro_rules! wish {
    ($($name:ident: $value:expr),+ $(,)?) => {
        $(const _: () = {
            #[used]
            #[unsafe(link_section = ".note.bootpath")]
            static NOTE: $crate::Note = $crate::wish!(@note $name, $value);
        };)+
    };
    (@note stack_size, $value:expr) => {{
        let size: u64 = $value;
        ::core::assert!(
            $crate::STACK_SIZE_MIN <= size && size <= $crate::STACK_SIZE_MAX,
            "the stack may have 4 KiB to 16 MiB"
        );
        $crate::Note::new($crate::NOTE_STACK_SIZE, size)
    }};
    (@note physical_map_base, $value:expr) => {{
        let base: u64 = $value;
        ::core::assert!(
            base != 0 && base.is_multiple_of(1 << 30) && (base as i64) << 16 >> 16 == base as i64,
            "the base of the physical map is a canonical address, a multiple of 1 GiB and not 0"
        );
        $crate::Note::new($crate::NOTE_PHYSICAL_MAP_BASE, base)
    }};
    (@note allow_writable_code, $value:expr) => {{
        let flags = if $value { $crate::FLAG_ALLOW_WRITABLE_CODE } else { 0 };
        $crate::Note::new($crate::NOTE_FLAGS, flags)
    }};
    (@note fault_reports, $value:expr) => {{
        let flags = if $value { 0 } else { $crate::FLAG_NO_FAULT_REPORTS };
        $crate::Note::new($crate::NOTE_FLAGS, flags)
    }};
}
