//! The machine: its parts, and how the boot path sees it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;

use boot_path::bios::time::{Clock, Moment, Waiting};
use boot_path::errors::text::{Escaping, fill_in};
use boot_path::files::integrity::Crc32c;
use boot_path::machine::{Consoles, KernelSegment, Machine as BootMachine, Run};
use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout;
use boot_path::memory::map::MemoryKind;
use boot_path::memory::ram::Allocation;
use boot_path::ways_out::handover::LimineStart;
use boot_path::ways_out::limine::LimineError;
use boot_path::ways_out::limine::platform::{Common, Info, Platform};

use crate::disk::Disk;
use crate::failure::Failure;
use crate::memory::{Memory, RAM_END, is_zero};

/// A PC.
pub struct Pc {
    /// Its memory.
    pub memory: Memory,
    /// Its disks: 80h, 81h …
    pub disks: RefCell<Vec<Disk>>,
    /// The drive that the loader was read from, and how: see [`disk_layout::mbr::frame::WAY`].
    pub drive: u8,
    /// How it was read: see `drive`.
    pub way: u16,
    /// The map that E820 reports: start, length, kind.
    pub e820: Vec<(u64, u64, MemoryKind)>,
    /// Whether the screen shows text.
    pub has_text: bool,
    /// Whether the VBE BIOS has graphics modes.
    pub has_graphics: bool,
    /// What the CPU can do: `handoff::CPU_…`.
    pub cpu_features: u64,
    /// EAX and EBX as another loader left them, if one has started the program.
    pub multiboot: Option<(u32, u32)>,
    /// Everything that was printed.
    pub transcript: RefCell<String>,
    /// Which error the last boot ended with: see [`Failure::variant`].
    pub variant: RefCell<Option<String>>,
    /// The segments of the kernel: start, size, `p_flags`.
    pub segments: RefCell<Vec<(u64, u64, u32)>>,
    steps: Cell<[u64; handoff::TIMELINE_LENGTH]>,
    graphics: Cell<bool>,
    time: Cell<u64>,
    pub(crate) continuation: Cell<usize>,
}

/// Address of the framebuffer, in a hole of the memory.
pub(crate) const FRAMEBUFFER: u64 = 0xFE00_0000;

/// The EBDA begins here.
const EBDA: u64 = 0x9_FC00;

impl Pc {
    /// A PC with all memory that the loader reaches, a CPU that can do everything, and a screen
    /// with text and graphics: it boots whatever any machine could boot.
    pub fn new(memory: Memory, disk: Disk) -> Self {
        let pc = Self {
            memory,
            disks: RefCell::new(vec![disk]),
            drive: 0x80,
            way: 0,
            e820: vec![
                (0, EBDA, MemoryKind::Usable),
                (EBDA, 0xA_0000 - EBDA, MemoryKind::Reserved),
                (0xF_0000, 0x1_0000, MemoryKind::Reserved),
                (0x10_0000, FRAMEBUFFER - 0x10_0000, MemoryKind::Usable),
                (FRAMEBUFFER, RAM_END - FRAMEBUFFER, MemoryKind::Reserved),
            ],
            has_text: true,
            has_graphics: true,
            cpu_features: !0,
            multiboot: None,
            transcript: RefCell::default(),
            variant: RefCell::default(),
            segments: RefCell::default(),
            steps: Cell::default(),
            graphics: Cell::new(false),
            time: Cell::new(0),
            continuation: Cell::new(0),
        };
        pc.memory.write(0x40E, &((EBDA >> 4) as u16).to_le_bytes());
        pc.memory.write(0x413, &639u16.to_le_bytes());
        pc.memory.write(0x449, &[3]);
        pc.memory.write(0x485, &16u16.to_le_bytes());
        pc
    }

    /// A [`Pc`] with memory of its own.
    ///
    /// # Errors
    /// If the host has no memory left.
    pub fn with_disk(disk: Disk) -> io::Result<Self> {
        Ok(Self::new(Memory::new(None)?, disk))
    }

    /// The same machine, without memory from address `end` on, which is above 1 MiB.
    #[must_use]
    pub fn up_to(mut self, end: u64) -> Self {
        self.e820.retain(|&(start, ..)| start < end);
        for (start, length, _) in &mut self.e820 {
            *length = (*length).min(end - *start);
        }
        self
    }

    fn line(&self, write: impl Fn(&mut dyn fmt::Write) -> fmt::Result) {
        let mut transcript = self.transcript.borrow_mut();
        // A string takes everything.
        let _ = write(&mut Escaping::lines(&mut *transcript));
        transcript.push('\n');
    }
}

/// A [`Pc`] that is switched on: copies are the same machine.
#[derive(Clone, Copy)]
pub struct Machine<'h>(pub &'h Pc);

impl Clock for Machine<'_> {
    fn now(&self) -> Moment {
        self.0.time.set(self.0.time.get() + 1);
        Moment {
            tsc: self.0.time.get(),
            ticks: 0,
        }
    }

    /// Time is cheap here: nothing is waited for.
    fn milliseconds_since(&mut self, _: Moment) -> u64 {
        self.0.time.set(self.0.time.get() + 1000);
        1000
    }

    fn tell(&mut self, waiting: &Waiting) {
        self.0.line(|out| write!(out, "{waiting}"));
    }
}

impl<'h> BootMachine<'h> for Machine<'h> {
    type Failure = Failure<'h>;

    fn again(self, _: bool) {}

    fn bytes(self, memory: Allocation) -> &'h mut [u8] {
        self.0.memory.take(&memory)
    }

    fn freed(self, start: PhysAddr, length: u64) {
        self.0.memory.give_back(start, length);
    }

    fn freed_within(self, start: PhysAddr, length: u64) {
        self.0.memory.give_back_within(start, length);
    }

    fn store(self, from: &[u8], to: &mut [u8]) {
        // As many as fit.
        let length = from.len().min(to.len());
        for (from, to) in from[..length]
            .chunks(Self::STEP)
            .zip(to.chunks_mut(Self::STEP))
        {
            self.0.memory.load(from, to);
            if from.len() == Self::STEP {
                self.0.memory.looked_at();
            }
        }
    }

    const STEP: usize = 1 << 20;

    fn written(self, bytes: &mut [u8]) {
        match is_zero(bytes) {
            true => self.0.memory.zero(bytes),
            false => self.0.memory.written(bytes),
        }
    }

    fn zero(self, bytes: &mut [u8]) {
        self.0.memory.zero(bytes);
    }

    fn firmware(self, start: PhysAddr, length: u64) -> Option<&'h [u8]> {
        let start = start.as_u64();
        let end = start.checked_add(length)?;
        (start != 0 && end <= RAM_END).then(|| self.0.memory.slice(start, length))
    }

    fn new_table(self, page: Allocation) {
        self.0.memory.make_table(&page);
    }

    fn table_entry(self, table: PhysAddr, index: usize) -> u64 {
        let mut entry = [0; 8];
        let address = self.0.memory.table_entry(table, index);
        self.0.memory.read(address, &mut entry);
        u64::from_le_bytes(entry)
    }

    fn set_table_entry(self, table: PhysAddr, index: usize, entry: u64) {
        let address = self.0.memory.table_entry(table, index);
        self.0.memory.write(address, &entry.to_le_bytes());
    }

    fn fill_table(self, run: Run) -> Result<(), usize> {
        run.write_each(|index, entry| {
            let is_free = self.table_entry(run.table, index) == 0;
            if is_free {
                self.set_table_entry(run.table, index, entry);
            }
            is_free
        })
    }

    fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc, bytes)
    }

    fn fast_crc32c() -> Option<Crc32c> {
        Some(Self::crc32c)
    }

    fn sum_block(self, bytes: &[u8], add: &mut dyn FnMut(&[u8])) {
        for step in bytes.chunks(Self::STEP) {
            add(step);
            self.0.memory.looked_at();
        }
    }

    fn crc32_of_block(self, crc: u32, bytes: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new_with_initial(crc);
        for step in bytes.chunks(Self::STEP) {
            crc.update(step);
            self.0.memory.looked_at();
        }
        crc.finalize()
    }

    fn print(self, line: &dyn fmt::Display) {
        self.0.line(|out| write!(out, "{line}"));
    }

    fn print_line(self, texts: &[&str], numbers: &[u64]) {
        self.0.line(|out| {
            let mut numbers = numbers.iter();
            texts
                .iter()
                .try_for_each(|text| fill_in(out, text, &mut numbers))
        });
    }

    fn print_only(self, _: Consoles) {}

    fn cursor(self) -> Option<(u64, u64)> {
        let row = self.0.transcript.borrow().lines().count() as u64;
        let has_text = self.0.has_text && !self.0.graphics.get();
        has_text.then_some((0, row.min(layout::TEXT_ROWS - 1)))
    }

    fn show_cursor(self) {}

    fn screen_has_changed(self, graphics: bool) {
        self.0.graphics.set(graphics);
    }

    fn step(self, number: usize) {
        let mut steps = self.0.steps.get();
        steps[number] = self.now().tsc;
        self.0.steps.set(steps);
    }

    fn stamps(self) -> [u64; handoff::TIMELINE_LENGTH] {
        self.0.steps.get()
    }

    fn drives(self) -> (u8, u8) {
        (self.0.drive, self.0.drive)
    }

    fn way(self) -> u16 {
        self.0.way
    }

    fn multiboot(self) -> Option<(u32, u32)> {
        self.0.multiboot
    }

    fn cpu_features(self) -> u64 {
        self.0.cpu_features
    }

    fn switch_page(self) -> PhysAddr {
        PhysAddr::new(layout::STAGE2.start)
    }

    fn note_segments(self, segments: Vec<KernelSegment>) {
        let noted = segments.into_iter();
        let noted = noted.map(|(start, size, flags)| (start.as_u64(), size, flags));
        self.0.segments.replace(noted.collect());
    }

    fn random_seed(self) -> [u8; 32] {
        [0x5A; 32]
    }

    fn tsc_frequency(self) -> Option<u64> {
        Some(1_000_000_000)
    }
}

impl<'h> Platform<'h> for Machine<'h> {
    fn apic_id(self) -> u32 {
        0
    }

    fn prepare_switch(self, _: &LimineStart) {}

    fn prepare_first(self, _: Common<'h>) -> Result<(), LimineError> {
        Ok(())
    }

    fn start_processors(self, _: &mut [Info]) {}
}
