//! The ways in which the option ROM `bad-bios` spoils a BIOS; the tests choose among them by name.

/// The defects that the tests' option ROM can cause; each is a bit of its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Defect {
    /// INT 15h E820h is missing.
    NoE820 = 1 << 0,
    /// INT 15h E801h is missing.
    NoE801 = 1 << 1,
    /// INT 15h 88h is missing.
    No88 = 1 << 2,
    /// INT 13h has no extensions.
    NoEdd = 1 << 3,
    /// A20 is off when stage2 starts.
    A20Off = 1 << 4,
    /// INT 15h 24xxh is missing.
    NoA20Call = 1 << 5,
    /// The keyboard controller does not enable A20.
    NoA20Keyboard = 1 << 6,
    /// Port 92h does not enable A20.
    NoA20Fast = 1 << 7,
    /// INT 13h, reading LBA 0, needs kilobytes of stack.
    DeepStack = 1 << 8,
    /// INT 13h, reading LBA 0, executes an invalid opcode.
    InvalidOpcode = 1 << 9,
    /// INT 13h, reading LBA 0, divides by 0.
    DivideError = 1 << 10,
    /// INT 13h, reading LBA 0, raises #GP, by FXSAVE to an address that is not a multiple of 16.
    GeneralProtection = 1 << 11,
    /// INT 13h, reading LBA 0, overwrites the end of the 64-bit code's stack.
    SpoilsStack = 1 << 12,
    /// INT 13h, reading LBA 0, waits for IRQ 4, which has the vector of #SS.
    WaitsForIrq4 = 1 << 13,
    /// INT 13h, reading LBA 0, overwrites everything but the end of that stack.
    Overwrites = 1 << 14,
    /// EFLAGS.ID cannot be changed any more when step 3 tests it.
    NoCpuid = 1 << 15,
    /// INT 10h, 13h, 15h and 16h return with DF set.
    SetsDirectionFlag = 1 << 16,
    /// They return with IF clear.
    ClearsInterruptFlag = 1 << 17,
    /// They return with another DS.
    ChangesDs = 1 << 18,
    /// They fail if they are called with IF clear or with DF set.
    WatchesFlags = 1 << 19,
    /// They fail if CR0, CR4 or EFER is not what the BIOS had there, which includes CR4.DE.
    WatchesControl = 1 << 20,
    /// INT 13h needs 4 KiB of its caller's stack.
    HungryStack = 1 << 21,
    /// INT 15h E820h reports many holes in the memory above 1 MiB.
    ManyHoles = 1 << 22,
    /// INT 13h AH=42h sets the number of sectors in the packet to 0 when it has read them.
    ClearsCount = 1 << 24,
    /// INT 13h AH=48h says that sectors have 4096 bytes.
    LargeSectors = 1 << 25,
}
