//! The rows about assembly in a program's ELF file: a section that is not loaded, with one row for
//! each line. A row is the address (8 bytes, little-endian) and a text that ends with a zero byte:
//! `FILE:LINE KIND`.

/// The name of the section.
pub const SECTION: &str = ".asm_lines";

/// The kind of a line of assembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Instructions, in the current mode. A label counts as one.
    Code,
    /// Bytes that the CPU does not execute: tables, texts, and padding.
    Data,
    /// The lines that follow run in this mode: 16, 32 or 64 bits.
    Mode(u8),
    /// The end of the assembly. Another function follows, in 64-bit code unless it says otherwise.
    End,
}

impl Kind {
    const NAMES: [(Self, &str); 6] = [
        (Self::Code, "code"),
        (Self::Data, "data"),
        (Self::Mode(16), ".code16"),
        (Self::Mode(32), ".code32"),
        (Self::Mode(64), ".code64"),
        (Self::End, "end"),
    ];

    /// The name of the kind in a row.
    #[allow(
        dead_code,
        reason = "one of the two is used by who writes, the other by who reads"
    )]
    pub fn name(self) -> &'static str {
        let row = Self::NAMES.iter().find(|(kind, _)| *kind == self);
        row.map_or("", |(_, name)| name)
    }

    /// The kind of this name. A change of the mode has the name of its directive.
    pub fn of_name(name: &str) -> Option<Self> {
        let row = Self::NAMES.iter().find(|(_, its)| *its == name);
        row.map(|(kind, _)| *kind)
    }
}
