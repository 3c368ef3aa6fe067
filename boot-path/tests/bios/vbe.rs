//! Graphics modes of BIOSes that are not as they should be.

use boot_path::bios::firmware::{Bios, Registers};
use boot_path::bios::vbe::{
    Adapter, CONTROLLER_BLOCK, Edid, Field, LINEAR, MAX_MODES, MODE_BLOCK, Mode, Wish, preferred,
    protected_mode_interface,
};
use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout::{EARLY_REACH, TRANSFER_BUFFER};
use boot_path::memory::map::{MemoryKind, Region};
use proptest::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const FRAMEBUFFER: u32 = 0xFD00_0000;
const ALL: std::ops::Range<PhysAddr> = PhysAddr::new(0)..EARLY_REACH;
/// The address of the list of modes, in ROM.
const ROM: u32 = 0xC000_1234;

/// What the BIOS has, and what is wrong with it.
struct Video {
    memory: Vec<u8>,
    version: u16,
    signature: &'static [u8; 4],
    list_at: u32,
    modes: Vec<(u16, [u8; 256])>,
    edid: Option<Edid>,
    /// Modes that cannot be set.
    broken: Vec<u16>,
    /// What a function leaves in AX besides its own answer.
    status: Vec<(u16, u32)>,
    /// What function 03h says, whatever was set.
    says: Option<u16>,
    active: u16,
    calls: Vec<(u32, u32, u32)>,
}

/// The fields of a mode that are changed: offset and bytes.
type Change<'a> = (usize, &'a [u8]);

/// A good mode of VBE 3.0.
fn block(width: u16, height: u16, bits: u8, changes: &[Change<'_>]) -> [u8; 256] {
    let colors = match bits {
        15 => [5, 10, 5, 5, 5, 0, 1, 15],
        16 => [5, 11, 6, 5, 5, 0, 0, 0],
        24 => [8, 16, 8, 8, 8, 0, 0, 0],
        _ => [8, 16, 8, 8, 8, 0, 8, 24],
    };
    let pitch = (width * u16::from(bits).div_ceil(8)).to_le_bytes();
    let mut block = [0; 256];
    for (at, bytes) in [
        (0, &0x9B_u16.to_le_bytes()[..]),
        (16, &pitch),
        (18, &width.to_le_bytes()),
        (20, &height.to_le_bytes()),
        (24, &[1, bits, 1, 6]),
        (31, &colors),
        (40, &FRAMEBUFFER.to_le_bytes()),
        (50, &pitch),
        (54, &colors),
    ]
    .into_iter()
    .chain(changes.iter().copied())
    {
        block[at..at + bytes.len()].copy_from_slice(bytes);
    }
    block
}

impl Video {
    fn new(modes: &[(u16, u16, u16, u8)]) -> Self {
        let modes = modes
            .iter()
            .map(|&(number, width, height, bits)| (number, block(width, height, bits, &[])));
        Self::with(modes.collect())
    }

    fn with(modes: Vec<(u16, [u8; 256])>) -> Self {
        Self {
            memory: vec![0xAA; 1 << 20],
            version: 0x300,
            signature: b"VESA",
            list_at: ROM,
            modes,
            edid: None,
            broken: Vec::new(),
            status: Vec::new(),
            says: None,
            active: 3,
            calls: Vec::new(),
        }
    }

    /// One mode with some fields changed.
    fn changed(bits: u8, changes: &[Change<'_>]) -> Self {
        Self::with(vec![(0x118, block(1024, 768, bits, changes))])
    }

    fn store(&mut self, at: usize, bytes: &[u8]) {
        self.memory[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn ask(&mut self) -> Adapter {
        let mut adapter = Adapter::new();
        adapter.ask(self, &memory());
        adapter
    }

    fn only(&mut self) -> Option<Mode> {
        self.ask().modes().first().copied()
    }

    fn count(&self, function: u32) -> usize {
        let calls = self.calls.iter();
        calls.filter(|call| call.0 == function).count()
    }
}

fn memory() -> [Region; 2] {
    [
        Region {
            start: PhysAddr::new(0),
            end: PhysAddr::new(64 << 20),
            kind: MemoryKind::Usable,
        },
        Region {
            start: PhysAddr::new(0xF000_0000),
            end: PhysAddr::new(0xF800_0000),
            kind: MemoryKind::Reserved,
        },
    ]
}

impl Video {
    /// AX=4F00h: the block of the adapter, and the list of its modes.
    fn controller(&mut self, block: usize) {
        assert_eq!(self.memory[block..block + 4], *b"VBE2");
        let head = [
            &self.signature[..],
            &self.version.to_le_bytes(),
            &[0; 8],
            &self.list_at.to_le_bytes(),
            &[64, 0],
        ];
        self.store(block, &head.concat());
        let at = (self.list_at >> 16) as usize * 16 + (self.list_at & 0xFFFF) as usize;
        let numbers = self.modes.iter().map(|mode| mode.0).chain([0xFFFF]);
        let list: Vec<u8> = numbers.flat_map(u16::to_le_bytes).collect();
        if at + list.len() <= self.memory.len() {
            self.store(at, &list);
        }
    }

    /// AX=4F01h: the block of a mode; whether there is one.
    fn mode_information(&mut self, block: usize, number: u32) -> bool {
        assert_eq!(block as u64, MODE_BLOCK);
        let bytes = &self.memory[block..block + 256];
        assert!(bytes.iter().all(|&byte| byte == 0));
        // The value that ends the list is not a mode, but there may be more modes behind it.
        let mut modes = self.modes.iter();
        let found = modes.find(|mode| u32::from(mode.0) == number);
        let found = found.map(|mode| mode.1);
        if let Some(found) = found {
            self.store(block, &found);
        }
        found.is_some()
    }
}

impl Bios for Video {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        assert_eq!(number, 0x10);
        assert!(self.calls.len() < 1000, "calls without end");
        let before = *registers;
        let function = before.eax & 0xFFFF;
        self.calls.push((function, before.ebx, before.ecx));
        let block = usize::from(before.es) * 16 + before.edi as usize;
        let done = match function {
            3 => {
                self.active = 3;
                return;
            }
            0x4F00 => {
                self.controller(block);
                true
            }
            0x4F01 => self.mode_information(block, before.ecx),
            0x4F02 => {
                let number = before.ebx as u16;
                assert_eq!(number & !0x7FF, LINEAR);
                self.active = number;
                !self.broken.contains(&(number & !LINEAR))
            }
            0x4F03 => {
                registers.ebx = 0xDEAD_0000 | u32::from(self.says.unwrap_or(self.active));
                true
            }
            0x4F0A => {
                (registers.es, registers.edi, registers.ecx) = (0xC000, 0xDEAD_5678, 0xBEEF_0123);
                true
            }
            0x4F15 => {
                assert_eq!([before.ebx, before.ecx, before.edx], [1, 0, 0]);
                if let Some(edid) = self.edid {
                    self.store(block, &edid);
                }
                self.edid.is_some()
            }
            _ => panic!("nobody should call AX={function:04X}h"),
        };
        registers.eax = if done { 0xDEAD_004F } else { 0xDEAD_014F };
        if let Some((_, status)) = self
            .status
            .iter()
            .find(|(of, _)| u32::from(*of) == function)
        {
            registers.eax = *status;
        }
        // VBE reports nothing by CF, and keeps no other register.
        registers.edx = 0xDEAD_BEEF;
        registers.ebp = 0xDEAD_BEEF;
    }

    fn read<T: FromBytes>(&self, address: u64) -> T {
        let start = address as usize;
        T::read_from_bytes(&self.memory[start..start + size_of::<T>()]).expect("it has this length")
    }

    fn put<T: IntoBytes + Immutable>(&mut self, _: &T) {
        unreachable!()
    }

    fn write<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T) {
        let bytes = value.as_bytes();
        assert!(address >= TRANSFER_BUFFER.start);
        assert!(address + bytes.len() as u64 <= TRANSFER_BUFFER.end);
        self.store(address as usize, bytes);
    }

    fn transferred(&self, _: usize) -> &[u8] {
        unreachable!()
    }
}

/// An EDID whose preferred timing is this.
fn edid(width: u16, height: u16) -> Edid {
    let mut edid = [0; 128];
    edid[1..7].fill(0xFF);
    let ([w, w_high], [h, h_high]) = (width.to_le_bytes(), height.to_le_bytes());
    let timing = [
        0x10,
        0x27,
        w,
        0x55,
        w_high << 4 | 5,
        h,
        0x66,
        h_high << 4 | 6,
    ];
    edid[54..62].copy_from_slice(&timing);
    seal(&mut edid);
    edid
}

fn seal(edid: &mut Edid) {
    edid[127] = 0;
    edid[127] = edid.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
}

#[test]
fn a_good_bios() {
    let mut bios = Video::new(&[(0x118, 1024, 768, 32), (0x111, 640, 480, 16)]);
    bios.edid = Some(edid(640, 480));
    let adapter = bios.ask();
    let field = |position, size| Field { position, size };
    let mode = Mode {
        number: 0x118,
        width: 1024,
        height: 768,
        pitch: 4096,
        address: FRAMEBUFFER,
        bits_per_pixel: 32,
        colors: [field(16, 8), field(8, 8), field(0, 8)],
    };
    assert_eq!(adapter.modes()[0], mode);
    assert_eq!(mode.end().as_u64(), u64::from(FRAMEBUFFER) + 4096 * 768);
    let mode = adapter.modes()[1];
    assert_eq!(
        (mode.number, mode.pitch, mode.bits_per_pixel),
        (0x111, 1280, 16)
    );
    assert_eq!(mode.colors, [field(11, 5), field(5, 6), field(0, 5)]);
    assert_eq!(adapter.modes().len(), 2);
    assert_eq!(adapter.edid(), Some(&edid(640, 480)));
    assert_eq!(
        protected_mode_interface(&mut bios),
        [0xC000, 0x5678, 0x0123]
    );
    bios.status = vec![(0x4F0A, 0x014F)];
    assert_eq!(protected_mode_interface(&mut bios), [0; 3]);
}

#[test]
fn no_vbe() {
    let good = || Video::new(&[(0x118, 1024, 768, 32)]);
    for ax in [0x4F00, 0x014F, 0x024F, 0, 0xFFFF] {
        let mut bios = good();
        bios.status = vec![(0x4F00, ax)];
        assert_eq!(bios.only(), None, "{ax:x}");
        assert_eq!(bios.calls.len(), 1);
    }
    for (signature, version) in [(b"VBE2", 0x300), (b"VESA", 0x102), (b"VESA", 0)] {
        let bios = &mut good();
        (bios.signature, bios.version) = (signature, version);
        assert_eq!(bios.only(), None);
    }
    // Nothing else depends on these functions.
    let mut bios = good();
    bios.status = vec![(0x4F15, 0x4F15), (0x4F03, 0x014F)];
    let mut adapter = bios.ask();
    assert_eq!(adapter.modes().len(), 1);
    assert_eq!(adapter.edid(), None);
    assert!(adapter.set(&mut bios, &Wish::default(), &ALL).is_some());
    // Earlier answers do not count.
    bios.status = vec![(0x4F00, 0x014F)];
    adapter.ask(&mut bios, &memory());
    assert_eq!(adapter.modes(), []);
}

#[test]
fn lists_without_an_end() {
    // 300 modes, of which the BIOS knows two.
    let mut bios = Video::new(&[(0x118, 1024, 768, 32), (0x111, 640, 480, 16)]);
    let adapter = bios.ask();
    assert_eq!(adapter.modes().len(), 2);
    let many: Vec<_> = (0x100..0x100 + 300).map(|n| (n, 640, 480, 32)).collect();
    let adapter = Video::new(&many).ask();
    assert_eq!(adapter.modes().len(), MAX_MODES);

    // In the block itself; at the end of memory; nowhere.
    for (list_at, modes) in [
        ((TRANSFER_BUFFER.start as u32 >> 4) << 16 | 0x22, 1),
        (0xFFFF_000E, 0),
        (0xFFFF_FFFF, 0),
        (0, 0),
    ] {
        let mut bios = Video::new(&[(0x118, 1024, 768, 32)]);
        bios.list_at = list_at;
        assert_eq!(bios.ask().modes().len(), modes, "{list_at:x}");
        assert!(bios.calls.len() <= 3);
    }
    // Numbers that are not VBE modes, modes that do not exist, and one mode again and again.
    let good = (0x118, block(1024, 768, 32, &[]));
    let mut modes = vec![(0x03, good.1), (0xC118, good.1), (0x918, good.1)];
    modes.extend(vec![good; 1000]);
    let mut bios = Video::with(modes);
    assert_eq!(bios.ask().modes().len(), 1);
    assert_eq!(bios.count(0x4F01), 1);
    bios.status = vec![(0x4F01, 0x014F)];
    assert_eq!(bios.only(), None);
}

#[test]
fn modes_that_make_no_sense() {
    assert!(Video::changed(32, &[]).only().is_some());
    let word = u16::to_le_bytes;
    let long = u32::to_le_bytes;
    for changes in [
        &[(0, &word(0x9A)[..])][..], // not supported
        &[(0, &word(0x8B))],         // text
        &[(0, &word(0x1B))],         // no linear framebuffer
        &[(27, &[4])],               // packed pixels
        &[(25, &[8])],               // and as many bits
        &[(25, &[0])],
        &[(25, &[64])],
        &[(18, &word(0))],
        &[(20, &word(0))],
        &[(50, &word(4095))], // shorter than its pixels
        &[(50, &word(0)), (16, &word(4095))],
        &[(40, &long(0))],
        &[(40, &long(0xA_0000))],    // the window
        &[(40, &long(0x300_0000))],  // RAM
        &[(40, &long(0x3FF_F000))],  // its end
        &[(40, &long(0xFFFF_F000))], // beyond 4 GiB
        &[(54, &[0; 6]), (31, &[0; 6])],
        &[(54, &[8, 24, 8, 24, 8, 0]), (31, &[8, 24, 8, 24, 8, 0])], // overlap
        &[(54, &[8, 25, 8, 8, 8, 0]), (31, &[8, 255, 8, 8, 8, 0])],  // outside
        &[(54, &[255, 0, 8, 8, 8, 0]), (31, &[32, 0, 8, 8, 8, 0])],
    ] {
        assert_eq!(Video::changed(32, changes).only(), None, "{changes:?}");
    }
    // Five, six and five bits do not fit into 15.
    let colors: &[u8] = &[5, 11, 6, 5, 5, 0];
    assert_eq!(
        Video::changed(15, &[(31, colors), (54, colors)]).only(),
        None
    );
    // Reserved memory, and memory right behind RAM.
    for address in [0xF000_0000, 64 << 20] {
        let mode = Video::changed(32, &[(40, &long(address))]).only();
        assert_eq!(mode.map(|mode| mode.address), Some(address));
    }
}

/// From VBE 3.0 on, the linear framebuffer has fields of its own, which count if they are used.
#[test]
fn two_pitches_and_two_kinds_of_colors() {
    let changes: &[Change<'_>] = &[(16, &[0, 32]), (31, &[8, 0, 8, 8, 8, 16]), (50, &[0, 20])];
    let pitch_and_red = |bios: &mut Video| {
        let mode = bios.only().expect("a mode");
        (mode.pitch, mode.colors[0].position)
    };
    let mut bios = Video::changed(32, changes);
    assert_eq!(pitch_and_red(&mut bios), (0x1400, 16));
    bios.version = 0x200;
    assert_eq!(pitch_and_red(&mut bios), (0x2000, 0));
    let mut bios = Video::changed(32, &[changes, &[(50, &[0, 0])]].concat());
    assert_eq!(pitch_and_red(&mut bios), (0x2000, 0));
    let mut bios = Video::changed(32, &[changes, &[(54, &[0; 8])]].concat());
    assert_eq!(pitch_and_red(&mut bios), (0x1400, 0));
}

#[test]
fn monitors() {
    assert_eq!(preferred(&edid(1920, 1080)), Some((1920, 1080)));
    assert_eq!(preferred(&edid(4095, 4095)), Some((4095, 4095)));
    let mut interlaced = edid(1920, 540);
    interlaced[71] = 0x80;
    assert_eq!(preferred(&interlaced), None);
    let mut no_timing = edid(1920, 1080);
    no_timing[54..56].fill(0);
    assert_eq!(preferred(&no_timing), None);

    // The EDID is believed only if its header and its sum are right.
    let mut bad = [edid(640, 480); 2];
    bad[0][127] ^= 1;
    bad[1][0] = 1;
    seal(&mut bad[1]);
    for bad in bad {
        let mut bios = Video::new(&[(0x118, 1024, 768, 32)]);
        bios.edid = Some(bad);
        let adapter = bios.ask();
        assert_eq!((adapter.edid(), adapter.modes().len()), (None, 1));
    }
}

/// Number, width, height and depth of the modes to choose from.
const MODES: [(u16, u16, u16, u8); 10] = [
    (0x101, 640, 480, 32),
    (0x102, 800, 600, 15),
    (0x103, 800, 600, 16),
    (0x104, 800, 600, 24),
    (0x105, 800, 600, 32),
    (0x106, 1024, 768, 16),
    (0x107, 1024, 768, 24),
    (0x108, 1280, 1024, 24),
    (0x109, 1280, 1024, 32),
    (0x10A, 1024, 600, 32),
];

/// The number of the mode that is chosen for a wish; 0 for none.
fn chosen(bios: &mut Video, width: u32, height: u32, depth: u32) -> u16 {
    let wish = Wish {
        width,
        height,
        depth,
    };
    bios.ask().choose(&wish, &ALL).map_or(0, |mode| mode.number)
}

#[test]
fn the_closest_mode() {
    let mut bios = Video::new(&MODES);
    for (width, height, depth, expected) in [
        (800, 600, 32, 0x105),
        (800, 600, 16, 0x103),
        (800, 600, 15, 0x102),
        (800, 600, 0, 0x105),
        (800, 600, 30, 0x105),
        (1024, 768, 32, 0x107), // the size counts more
        (1024, 768, 16, 0x106),
        (1000, 700, 0, 0x105), // not larger
        (1920, 1080, 24, 0x108),
        (1024, 700, 0, 0x10A),
        (320, 200, 0, 0x101), // the smallest one
        (640, 200, 16, 0x101),
        (800, 0, 0, 0x105),
        (1024, 0, 0, 0x107),
        (0, 600, 0, 0x10A),
        (0, 0, 0, 0x107), // the usual one
        (0, 0, 16, 0x106),
        (u32::MAX, u32::MAX, u32::MAX, 0x109),
    ] {
        let found = chosen(&mut bios, width, height, depth);
        assert_eq!(found, expected, "{width} {height} {depth}");
    }
    assert_eq!(chosen(&mut Video::new(&[]), 0, 0, 0), 0);
}

#[test]
fn the_closest_mode_to_the_monitors() {
    let mut bios = Video::new(&MODES);
    bios.edid = Some(edid(1280, 1024));
    assert_eq!(chosen(&mut bios, 0, 0, 0), 0x109);
    assert_eq!(chosen(&mut bios, 0, 0, 24), 0x108);
    assert_eq!(chosen(&mut bios, 800, 600, 0), 0x105);
    bios.edid = Some(edid(1366, 768)); // a size that no mode has
    assert_eq!(chosen(&mut bios, 0, 0, 0), 0x107);
}

#[test]
fn the_closest_mode_that_lies_within() {
    let mut bios = Video::new(&MODES);
    let adapter = bios.ask();
    let wish = Wish::default();
    let start = PhysAddr::from(FRAMEBUFFER);
    let within = |size| adapter.choose(&wish, &(start..start + size));
    assert_eq!(within(1024 * 768 * 3).map(|mode| mode.number), Some(0x107));
    assert_eq!(
        within(1024 * 768 * 3 - 1).map(|mode| mode.number),
        Some(0x106)
    );
    assert_eq!(within(1000), None);
    assert_eq!(adapter.choose(&wish, &(start + 1..EARLY_REACH)), None);
}

#[test]
fn modes_are_set() {
    let modes = [
        (0x118, 1024, 768, 32),
        (0x117, 1024, 768, 24),
        (0x116, 1024, 768, 16),
        (0x115, 1024, 768, 15),
        (0x114, 800, 600, 32),
    ];
    let wish = Wish::default();
    let mut bios = Video::new(&modes);
    let mut adapter = bios.ask();
    let mode = adapter.set(&mut bios, &wish, &ALL);
    assert_eq!(mode.map(|mode| mode.number), Some(0x118));
    assert_eq!(bios.active, 0x118 | LINEAR);
    assert_eq!(bios.read::<[u8; 256]>(MODE_BLOCK), bios.modes[0].1);
    assert_eq!(bios.read::<[u8; 4]>(CONTROLLER_BLOCK), *b"VESA");
    assert_eq!(adapter.modes().len(), 5);

    // The next mode is tried, but not too many of them. Then text comes back.
    bios.broken = vec![0x118, 0x117];
    let mode = bios.ask().set(&mut bios, &wish, &ALL);
    assert_eq!(mode.map(|mode| mode.number), Some(0x116));
    assert_eq!(bios.read::<[u8; 256]>(MODE_BLOCK), bios.modes[2].1);
    bios.broken = vec![0x118, 0x117, 0x116, 0x115];
    bios.calls.clear();
    let mut adapter = bios.ask();
    assert_eq!(adapter.set(&mut bios, &wish, &ALL), None);
    assert_eq!((bios.active, bios.count(0x4F02)), (3, 4));
    assert_eq!(adapter.modes().len(), 1);

    // The BIOS reports success, but nothing has happened; or it sets the mode and returns another
    // number.
    let mut bios = Video::new(&modes[..1]);
    bios.says = Some(3);
    assert_eq!(bios.ask().set(&mut bios, &wish, &ALL), None);
    assert_eq!(bios.active, 3);
    bios.says = Some(0x4199);
    assert!(bios.ask().set(&mut bios, &wish, &ALL).is_some());

    // No mode exists, or none fits: the screen is left alone.
    let mut bios = Video::new(&modes);
    let mut adapter = bios.ask();
    bios.calls.clear();
    let little = PhysAddr::new(0)..PhysAddr::new(1000);
    assert_eq!(adapter.set(&mut bios, &wish, &little), None);
    assert_eq!(bios.calls, []);
    // A mode that has disappeared.
    bios.status = vec![(0x4F01, 0x014F)];
    assert_eq!(adapter.set(&mut bios, &wish, &ALL), None);
    assert_eq!((bios.count(0x4F02), bios.count(3)), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a BIOS says of its modes, a kernel can draw into those that the loader keeps.
    #[test]
    fn any_blocks(
        blocks in prop::collection::vec(any::<[u8; 32]>(), 1..40),
        version in prop_oneof![Just(0x200_u16), Just(0x300), any::<u16>()],
        width in 0..3000_u32,
        depth in 0..40_u32,
    ) {
        let modes = blocks.iter().enumerate().map(|(index, bytes)| {
            // A good mode with some of its words changed.
            let bits = [15, 16, 24, 32][index % 4];
            let mut block = block(640, 480, bits, &[]);
            for change in bytes.chunks_exact(8).filter(|change| change[0] & 3 == 0) {
                let at = usize::from(change[1]) % 62;
                let length = 1 + usize::from(change[2]) % 4;
                block[at..at + length].copy_from_slice(&change[3..3 + length]);
            }
            (0x100 + index as u16, block)
        });
        let mut bios = Video::with(modes.collect());
        bios.version = version;
        let mut adapter = bios.ask();
        for mode in adapter.modes() {
            let row = u64::from(mode.width) * u64::from(mode.bits_per_pixel.div_ceil(8));
            prop_assert!(mode.width > 0 && mode.height > 0 && u64::from(mode.pitch) >= row);
            prop_assert!(u64::from(mode.address) >= 64 << 20 && mode.end() <= EARLY_REACH);
            let mut used = 0_u64;
            for color in mode.colors {
                let bits = ((1_u64 << color.size) - 1) << color.position;
                prop_assert!(bits != 0 && used & bits == 0);
                used |= bits;
            }
            prop_assert!(used < 1 << mode.bits_per_pixel);
        }
        let wish = Wish { width, height: 0, depth };
        let any = !adapter.modes().is_empty();
        let chosen = adapter.choose(&wish, &ALL);
        prop_assert_eq!(chosen.is_some(), any);
        prop_assert_eq!(adapter.set(&mut bios, &wish, &ALL), chosen);
    }
}
