//! I/O ports.

use disk_layout::COM1;

/// A port that the loader uses. Writing to it does not change memory, unless it resets the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port(u16);

impl Port {
    /// The interrupt controllers' masks (8259A).
    pub const INTERRUPT_MASKS: [Self; 2] = [Self(0x21), Self(0xA1)];
    /// The interval timer's counters (8254).
    pub const TIMER_0: Self = Self(0x40);
    /// See there.
    pub const TIMER_2: Self = Self(0x42);
    /// The interval timer's control word.
    pub const TIMER_CONTROL: Self = Self(0x43);
    /// The keyboard controller's output.
    pub const KEYBOARD_DATA: Self = Self(0x60);
    /// System control port B: the gate of the timer's channel 2.
    pub const SYSTEM_B: Self = Self(0x61);
    /// The keyboard controller's status, and its commands.
    pub const KEYBOARD_CONTROL: Self = Self(0x64);
    /// A port without a device, or with one that shows the value. An access takes about 1 µs.
    pub const DELAY: Self = Self(0x80);
    /// The CRT controller of a VGA in colour text mode: the number of a register …
    pub const CRT_INDEX: Self = Self(0x3D4);
    /// … and its content.
    pub const CRT_DATA: Self = Self(0x3D5);
    /// The reset register of PCI chipsets.
    pub const RESET: Self = Self(0xCF9);

    /// A register of the first serial line, by its offset (UART 8250 to 16550).
    ///
    /// # Panics
    /// If the line has no such register.
    pub const fn serial(register: u16) -> Self {
        assert!(register < 8);
        Self(COM1 + register)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// A machine that has I/O ports.
pub trait Ports: Copy {
    /// Reads a byte.
    fn input(self, port: Port) -> u8;

    /// Writes a byte.
    fn output(self, port: Port, value: u8);
}
