//! The reports of an exception, of a panic, and of a stack overflow.

use core::fmt;
use core::panic::PanicInfo;

use crate::errors::catalogue::{self, Entry, Named, Report};
use crate::errors::exception::{self, Exception, Saved};
use crate::errors::text::facts;
use crate::machine::{KernelSegment, Machine};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout;
use crate::paging::page_walk::{self, Paging};
use crate::say;

/// Reads the quadword at an address, if the loader reaches it.
pub type Read<'a> = &'a dyn Fn(PhysAddr) -> Option<u64>;

/// Rows of quadwords of the stack in a report.
const STACK_ROWS: u64 = 2;

/// An exception, and the state of the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'s> {
    /// Which one.
    pub exception: Exception,
    /// Whether the kernel runs already.
    pub kernel: bool,
    /// RIP, CS, SS, RFLAGS, RSP, CR2, CR3.
    pub registers: [u64; 7],
    /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8 to R15.
    pub general: &'s [u64; 15],
    /// The page tables that were in use.
    pub paging: Paging,
}

impl Named for Fault<'_> {
    fn entry(&self) -> &'static Entry {
        if self.kernel {
            &catalogue::KERNEL_EXCEPTION
        } else {
            &catalogue::EXCEPTION
        }
    }
}

impl fmt::Display for Fault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exception.fmt(f)
    }
}

impl<'s> Fault<'s> {
    /// The exception with this vector, as its handler has saved it.
    pub fn new(saved: &'s Saved, vector: u64, kernel: bool, paging: Paging) -> Self {
        let [rip, cs, rflags, rsp, ss] = saved.interrupted(vector);
        Self {
            exception: saved.exception(vector),
            kernel,
            registers: [rip, cs, ss, rflags, rsp, saved.cr2, saved.cr3],
            general: &saved.general,
            paging,
        }
    }

    /// Prints everything that is known of it. `segments`: the kernel's.
    pub fn say<'m>(&self, machine: impl Machine<'m>, segments: &[KernelSegment], read: Read<'_>) {
        let [rip, _, _, _, _, cr2, _] = self.registers;
        say!(machine, "");
        machine.print(&Report(self));
        machine.print_line(
            &["RIP ################  CS  ####  SS ####  RFLAGS ########\n\
                 RSP ################  CR2 ################  CR3 ################"],
            &self.registers,
        );
        machine.print_line(
            &[
                "RAX ################  RBX ################  RCX ################\n\
                 RDX ################  RSI ################  RDI ################\n\
                 RBP ################  R8  ################  R9  ################\n\
                 R10 ################  R11 ################  R12 ################\n\
                 R13 ################  R14 ################  R15 ################",
            ],
            self.general,
        );
        if self.kernel {
            say_segment(machine, VirtAddr::new(rip), segments);
        }
        if self.exception.vector == exception::PAGE_FAULT {
            let translation = self.paging.translate(VirtAddr::new(cr2), read);
            machine.print(&format_args!("CR2 is {translation}"));
        }
        self.say_stack(machine, read);
    }

    /// Prints a few words of the interrupted stack, as far as they are mapped.
    fn say_stack<'m>(&self, machine: impl Machine<'m>, read: Read<'_>) {
        let [_, _, _, _, rsp, _, _] = self.registers;
        for row in 0..STACK_ROWS {
            let mut words = [0; 4];
            let mut address = VirtAddr::new(rsp).wrapping_add(row * size_of_val(&words) as u64);
            for (column, word) in words.iter_mut().enumerate() {
                match self.paging.read(address, read) {
                    Some(found) => *word = found,
                    None if column > 0 => {}
                    None => {
                        if row == 0 {
                            let translation = self.paging.translate(VirtAddr::new(rsp), read);
                            machine.print(&format_args!("RSP is {translation}"));
                        }
                        return;
                    }
                }
                address = address.wrapping_add(8);
            }
            machine.print_line(
                &[
                    if row == 0 { "stack" } else { "     " },
                    " ################ ################ ################ ################",
                ],
                &words,
            );
        }
    }
}

/// Prints where in the kernel an address is.
fn say_segment<'m>(machine: impl Machine<'m>, address: VirtAddr, segments: &[KernelSegment]) {
    let holds = |&(start, size, _): &KernelSegment| address.wrapping_sub(start) < size;
    let number = segments.iter().position(holds);
    match number.and_then(|number| Some((number, segments.get(number)?))) {
        Some((number, &(start, _, flags))) => say!(
            machine,
            "RIP is in segment # of the kernel (",
            page_walk::permissions(flags & 2 != 0, flags & 1 != 0),
            "), 0x# behind its start";
            number as u64, address - start
        ),
        None => say!(machine, "RIP is in no segment of the kernel"),
    }
}

/// The canary at the end of the stack has changed to this value.
#[derive(Clone, Copy, Debug)]
pub struct StackOverwritten(pub u32);

impl Named for StackOverwritten {
    fn entry(&self) -> &'static Entry {
        &catalogue::LOADER_STACK
    }
}

impl fmt::Display for StackOverwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        facts(f, "########h at #h", &[self.0.into(), layout::STACK.start])
    }
}

/// A panic.
#[derive(Clone, Copy, Debug)]
pub struct Panic<'a>(pub &'a PanicInfo<'a>);

impl Named for Panic<'_> {
    fn entry(&self) -> &'static Entry {
        &catalogue::PANIC
    }
}

impl fmt::Display for Panic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = self.0.location() {
            f.write_str(location.file())?;
            facts(f, ":#: ", &[location.line().into()])?;
        }
        self.0.message().fmt(f)
    }
}
