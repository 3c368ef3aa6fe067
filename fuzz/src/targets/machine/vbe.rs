//! A VBE BIOS, and the wish of a kernel.

use std::collections::BTreeMap;

use boot_path::bios::firmware::{Bios, Registers};
use boot_path::bios::vbe::{Adapter, MAX_MODES, MODE_BLOCK, Wish};
use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout::{EARLY_REACH, TRANSFER_BUFFER};
use boot_path::memory::map::{MemoryKind, Region};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::input::Input;

/// The most calls of the BIOS: one for each entry of its list, and then those for the modes that
/// are tried.
const MOST_CALLS: usize = 256 + 4 * 5 + 2;

/// A BIOS whose memory the input describes.
struct Video<'a> {
    input: Input<'a>,
    memory: BTreeMap<u64, u8>,
    /// What it answers when the input has ended.
    list: u16,
    calls: usize,
}

impl Video<'_> {
    fn store(&mut self, address: u64, bytes: &[u8]) {
        for (address, byte) in (address..).zip(bytes) {
            self.memory.insert(address, *byte);
        }
    }
}

impl Bios for Video<'_> {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        assert_eq!(number, 0x10);
        self.calls += 1;
        assert!(self.calls <= MOST_CALLS, "calls without end");
        let block = u64::from(registers.es) * 16 + u64::from(registers.edi);
        let function = registers.eax as u16;
        // One byte says whether the call fails. Most calls do not, since the rest of the input
        // would be lost.
        if self.input.u8() == 0xFF {
            registers.eax = self.input.u32();
            return;
        }
        registers.eax = 0x004F;
        match function {
            0x4F00 => {
                let head = [b"VESA\x00\x03", self.input.bytes(14)].concat();
                self.store(block, &head);
            }
            0x4F01 => {
                assert_eq!(block, MODE_BLOCK);
                // Supported, graphics, linear framebuffer, direct colour, unless the changes say
                // otherwise.
                let changes = self.input.u8();
                let bits = [15, 16, 24, 32][usize::from(changes & 3)];
                let (width, height) = (self.input.u16() % 2048, self.input.u16() % 2048);
                let pitch = (width * u16::from(bits).div_ceil(8)).to_le_bytes();
                let colors = match bits {
                    15 => [5, 10, 5, 5, 5, 0],
                    16 => [5, 11, 6, 5, 5, 0],
                    _ => [8, 16, 8, 8, 8, 0],
                };
                self.store(block, &[0x9B, 0]);
                self.store(block + 16, &pitch);
                self.store(block + 18, &width.to_le_bytes());
                self.store(block + 20, &height.to_le_bytes());
                self.store(block + 24, &[1, bits, 1, 6]);
                self.store(block + 31, &colors);
                self.store(block + 40, &[0, 0, 0, 0xE0]);
                for _ in 0..changes >> 5 {
                    let at = u64::from(self.input.u8()) % 66;
                    let bytes = self.input.bytes(2);
                    self.store(block + at, bytes);
                }
            }
            0x4F15 => {
                let mut edid = [0_u8; 128];
                edid[1..7].fill(0xFF);
                edid[54..72]
                    .copy_from_slice(&std::array::from_fn::<u8, 18, _>(|_| self.input.u8()));
                edid[127] = edid.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
                self.store(block, &edid);
            }
            _ => registers.ebx = self.input.u32(),
        }
    }

    /// Memory that was never written is a list of modes without an end.
    fn read<T: FromBytes>(&self, address: u64) -> T {
        assert!(
            address + size_of::<T>() as u64 <= 1 << 20,
            "not within real mode's reach"
        );
        let byte = |address: u64| {
            let number = 0x100 + (address / 2) as u16 % self.list.max(1);
            let bytes = number.to_le_bytes();
            self.memory
                .get(&address)
                .copied()
                .unwrap_or(bytes[address as usize % 2])
        };
        let bytes: Vec<u8> = (address..).take(size_of::<T>()).map(byte).collect();
        T::read_from_bytes(&bytes).expect("it has this length")
    }

    fn put<T: IntoBytes + Immutable>(&mut self, _: &T) {
        unreachable!()
    }

    fn write<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T) {
        let bytes = value.as_bytes();
        assert!(address >= TRANSFER_BUFFER.start);
        assert!(address + bytes.len() as u64 <= TRANSFER_BUFFER.end);
        self.store(address, bytes);
    }

    fn transferred(&self, _: usize) -> &[u8] {
        unreachable!()
    }
}

/// The input: the wish (three words), how many modes there may be, and what the BIOS answers.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let [width, height, depth] = std::array::from_fn(|_| u32::from(input.u16()));
    let wish = Wish {
        width,
        height,
        depth,
    };
    let list = input.u16() % 600;
    let mut bios = Video {
        input,
        memory: BTreeMap::new(),
        list,
        calls: 0,
    };
    let ram = Region {
        start: PhysAddr::new(0),
        end: PhysAddr::new(0x8000_0000),
        kind: MemoryKind::Usable,
    };
    let mut adapter = Adapter::new();
    adapter.ask(&mut bios, &[ram]);
    assert!(adapter.modes().len() <= MAX_MODES);
    for mode in adapter.modes() {
        let row = u64::from(mode.width) * u64::from(mode.bits_per_pixel).div_ceil(8);
        assert!(row > 0 && mode.height > 0 && u64::from(mode.pitch) >= row);
        assert!(mode.start() >= ram.end && mode.end() <= EARLY_REACH);
        let mut used = 0_u64;
        for color in mode.colors {
            let bits = ((1 << color.size) - 1) << color.position;
            assert!(bits != 0 && used & bits == 0);
            used |= bits;
        }
        assert!(used < 1 << mode.bits_per_pixel);
    }
    let before = adapter.modes().to_vec();
    let within = PhysAddr::new(0xC000_0000)..EARLY_REACH;
    let chosen = adapter.choose(&wish, &within);
    assert_eq!(
        chosen.is_some(),
        before.iter().any(|mode| mode.start() >= within.start)
    );
    // If a mode has the size that is wanted, such a mode is taken.
    let exact = |mode: &&boot_path::bios::vbe::Mode| {
        let size = (mode.width.into(), mode.height.into());
        size == (width, height) && mode.start() >= within.start
    };
    if let (Some(chosen), Some(_)) = (chosen, before.iter().find(exact)) {
        assert!(exact(&&chosen));
    }
    if let Some(mode) = adapter.set(&mut bios, &wish, &within) {
        assert!(before.contains(&mode) && adapter.modes().contains(&mode));
        assert!(within.contains(&mode.start()) && mode.end() <= within.end);
    }
}
