//! How the kernel leaves QEMU: by its device `isa-debug-exit`.

pub const EXIT_PORT: u16 = 0xF4;

pub const EXIT_OKAY: u8 = 0x10;

pub const EXIT_FAIL: u8 = 0x11;
