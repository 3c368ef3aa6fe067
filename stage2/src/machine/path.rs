//! The machine, as the boot path sees it.

use core::fmt;

use boot_path::errors::text::copy;
use boot_path::machine::{Consoles, Machine as BootMachine};
use boot_path::memory::ram::Allocation;
use boot_path::ways_out::limine::LimineError;
use boot_path::ways_out::limine::platform::{Common, Info, Platform, Start};
use handoff::TIMELINE_LENGTH;

use crate::machine::bios::Machine;
use crate::machine::{clock, console, crc, faults, findings, physical, processors, seed, switch};
use crate::real::cpu;
use crate::ways_out::limine;

impl BootMachine<'static> for Machine {
    type Failure = faults::Failure;

    fn again(self, again: bool) {
        faults::again(again);
    }

    fn bytes(self, memory: Allocation) -> &'static mut [u8] {
        physical::allocated(memory)
    }

    fn freed(self, _: u64, _: u64) {}

    fn store(self, from: &[u8], to: &mut [u8]) {
        copy(from, to);
    }

    fn firmware(self, start: u64, length: u64) -> Option<&'static [u8]> {
        physical::firmware_bytes(start, length)
    }

    fn new_table(self, page: Allocation) {
        physical::allocated(page).fill(0);
    }

    fn table_entry(self, table: u64, index: usize) -> u64 {
        physical::read_quadword(table + 8 * index as u64)
    }

    fn set_table_entry(self, table: u64, index: usize, entry: u64) {
        physical::write_quadword(table + 8 * index as u64, entry);
    }

    fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
        crc::crc32c(crc, bytes)
    }

    fn crc32(bytes: &[u8]) -> u32 {
        crc::crc32(bytes)
    }

    fn print(self, line: &dyn fmt::Display) {
        console::print(line);
    }

    fn print_line(self, texts: &[&str], numbers: &[u64]) {
        console::print_line(texts, numbers);
    }

    fn print_only(self, on: Consoles) {
        console::print_only(on);
    }

    fn cursor(self) -> Option<(u64, u64)> {
        console::cursor()
    }

    fn show_cursor(self) {
        console::show_cursor();
    }

    fn screen_has_changed(self, graphics: bool) {
        match graphics {
            true => console::without_screen(),
            false => console::follow_bios(),
        }
    }

    fn step(self, number: usize) {
        findings::step(number);
    }

    fn stamps(self) -> [u64; TIMELINE_LENGTH] {
        findings::stamps()
    }

    fn drives(self) -> (u8, u8) {
        findings::drives()
    }

    fn way(self) -> u16 {
        findings::way()
    }

    fn multiboot(self) -> Option<(u32, u32)> {
        findings::multiboot().map(|left| (left.magic, left.information))
    }

    fn cpu_features(self) -> u64 {
        cpu::features()
    }

    fn switch_page(self) -> u64 {
        switch::address()
    }

    fn note_segment(self, start: u64, size: u64, flags: u32) {
        faults::segment_is_at((start, size, flags));
    }

    fn random_seed(self) -> [u8; 32] {
        seed::random_seed(cpu::features())
    }

    fn tsc_frequency(self) -> Option<u64> {
        clock::known_tsc_frequency()
    }
}

impl Platform<'static> for Machine {
    fn apic_id(self) -> u32 {
        processors::apic_id()
    }

    fn prepare_switch(self, start: &Start) {
        limine::prepare(start);
    }

    fn prepare_first(self, common: Common<'static>) -> Result<(), LimineError> {
        processors::prepare_first(common)
    }

    fn start_processors(self, infos: &mut [Info]) {
        processors::start(infos);
    }
}
