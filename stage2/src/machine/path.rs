//! The machine, as the boot path sees it.

use alloc::vec::Vec;
use core::cell::{Cell, OnceCell};
use core::fmt;
use core::hint::black_box;
use core::mem::MaybeUninit;

use boot_path::devices::{seed, timer};
use boot_path::errors::text::copy;
use boot_path::files::checksum::{self, CRC_32, Tables};
use boot_path::files::parts::Parts;
use boot_path::machine::{Consoles, KernelSegment, Machine as BootMachine, Run};
use boot_path::memory::address::PhysAddr;
use boot_path::memory::ram::{Allocation, Block};
use disk_layout::mbr::frame::WAY_MULTIBOOT;
use disk_layout::parts::Part;
use handoff::TIMELINE_LENGTH;

use crate::machine::console::CONSOLE;
use crate::machine::failure::Failure;
use crate::machine::real_mode::findings::{self, FINDINGS, Multiboot};
use crate::machine::variables::{HEAP, OneThread, Rest};
use crate::machine::{Machine, faults, header, instructions, physical, switch};

/// Tables for a checksum, once there is memory for them. While one caller uses them, no other can
/// take them.
static TABLES: OneThread<Cell<Option<&'static mut Tables>>> = OneThread::new(Cell::new(None));

/// Lets the checksum have tables in this memory.
pub fn use_tables(room: &'static mut MaybeUninit<Tables>) {
    TABLES.set(Some(room.write(Tables::EMPTY)));
}

/// The parts that were needed so far.
static PARTS: OneThread<Parts> = OneThread::new(Parts::none());

/// The time-stamp counter's frequency, once it has been determined.
static FREQUENCY: OneThread<OnceCell<Option<u64>>> = OneThread::new(OnceCell::new());

impl BootMachine<'static> for Machine {
    type Failure = Failure;

    fn heap(self, memory: Block<'static>) {
        HEAP.set(Rest(memory.keep()));
    }

    fn bytes(self, memory: Allocation) -> &'static mut [u8] {
        physical::allocated(memory)
    }

    fn store(self, from: &[u8], to: &mut [u8]) {
        copy(from, to);
    }

    fn firmware(self, start: PhysAddr, length: u64) -> Option<&'static [u8]> {
        physical::firmware_bytes(start.as_u64(), length)
    }

    fn new_table(self, page: Allocation) {
        physical::allocated(page).fill(0);
    }

    fn table_entry(self, table: PhysAddr, index: usize) -> u64 {
        physical::load(table.as_u64() + 8 * index as u64)
    }

    fn set_table_entry(self, table: PhysAddr, index: usize, entry: u64) {
        physical::store(table.as_u64() + 8 * index as u64, entry);
    }

    fn fill_table(self, run: Run) -> Result<(), usize> {
        let start = run.table.as_u64() + 8 * run.index as u64;
        physical::fill_table(start, run.count, run.entry, run.step)
    }

    fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
        let done = instructions::crc32c(crc, bytes);
        done.unwrap_or_else(|| checksum::crc32c(crc, bytes))
    }

    fn fast_crc32c() -> Option<fn(u32, &[u8]) -> u32> {
        instructions::cpu().1.then_some(Self::crc32c)
    }

    fn crc32_of_block(self, crc: u32, bytes: &[u8]) -> u32 {
        let tables = TABLES.take();
        let tables = tables.unwrap_or_else(|| panic!("the path has given them memory"));
        let crc = tables.of(CRC_32).crc(crc, bytes);
        TABLES.set(Some(tables));
        crc
    }

    fn print(self, line: &dyn fmt::Display) {
        CONSOLE.print(line);
    }

    fn print_line(self, texts: &[&str], numbers: &[u64]) {
        CONSOLE.print_line(texts, numbers);
    }

    fn print_only(self, on: Consoles) {
        CONSOLE.print_only(on);
    }

    fn cursor(self) -> Option<(u64, u64)> {
        CONSOLE.cursor()
    }

    fn show_cursor(self) {
        CONSOLE.show_cursor();
    }

    fn screen_has_changed(self, graphics: bool) {
        match graphics {
            true => CONSOLE.without_screen(),
            false => CONSOLE.follow_bios(),
        }
    }

    fn step(self, number: usize) {
        findings::step(number);
    }

    fn stamps(self) -> [u64; TIMELINE_LENGTH] {
        FINDINGS.timeline.get()
    }

    fn drives(self) -> (u8, u8) {
        (FINDINGS.drive.get(), FINDINGS.bios_drive.get())
    }

    fn way(self) -> u16 {
        FINDINGS.way.get()
    }

    fn multiboot(self) -> Option<(u32, u32)> {
        let Multiboot { magic, information } = FINDINGS.multiboot.get();
        (self.way() == WAY_MULTIBOOT).then_some((magic, information))
    }

    fn cpu_features(self) -> u64 {
        instructions::cpu().0
    }

    fn switch_page(self) -> PhysAddr {
        PhysAddr::new(switch::address())
    }

    fn note_segments(self, segments: Vec<KernelSegment>) {
        faults::KERNEL_SEGMENTS.set(segments.leak());
    }

    fn of_part<F>(self, part: Part, function: F) -> Result<F, Failure> {
        PARTS.bring(self, part, header::place)?;
        // The compiler would call a function that it knows directly.
        Ok(black_box(function))
    }

    fn random_seed(self) -> [u8; 32] {
        seed::random_seed(self)
    }

    fn tsc_frequency(self) -> Option<u64> {
        *FREQUENCY.get_or_init(|| timer::tsc_frequency(self))
    }
}
