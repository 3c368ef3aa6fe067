//! Step 5: what happens when something goes wrong: an exception, an error of a step, a panic.
//!
//! Each ends in the same way: the report on screen and serial line, the offer to reboot.
#![allow(unsafe_code)]

use core::fmt;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use arrayvec::ArrayVec;
use boot_path::bios::int16;
use boot_path::errors::catalogue::{self, Entry, Named, Report};
use boot_path::errors::exception::{self, Exception};
use boot_path::errors::text::facts;
use boot_path::files::error::Missing;
use boot_path::files::integrity::Damage;
use boot_path::kernel::image::MAX_SEGMENTS;
use boot_path::memory::layout;
use boot_path::paging::page_walk::{self, Paging};
use disk_layout::stage2::{ERROR_OFFSET, LOAD_ADDRESS};
use x86_64::instructions::port::Port;
use x86_64::registers::control::{Efer, EferFlags};
use x86_64::registers::debug::{Dr7, Dr7Value};

use crate::machine::bios::Machine;
use crate::machine::console;
use crate::machine::global::Global;
use crate::machine::physical;
use crate::machine::switch::{self, Saved};
use crate::real::cpu;
use crate::say;

/// Has the kernel been started?
static KERNEL_RUNS: Global<bool> = Global::new(false);

/// Reports that were begun.
static REPORTS: Global<u32> = Global::new(0);

/// From here on an exception is the kernel's.
pub fn kernel_starts() {
    KERNEL_RUNS.with(|runs| *runs = true);
}

/// A segment of the kernel that runs: first address, bytes, `p_flags`.
pub type KernelSegment = (u64, u64, u32);

/// The kernel's segments, for the place of a fault.
static KERNEL_SEGMENTS: Global<ArrayVec<KernelSegment, MAX_SEGMENTS>> =
    Global::new(ArrayVec::new_const());

/// Tells where a segment of the kernel is.
pub fn segment_is_at(segment: KernelSegment) {
    // There are no more than that.
    KERNEL_SEGMENTS.with(|known| {
        let _ = known.try_push(segment);
    });
}

/// An exception, as an error of the catalogue.
struct Raised {
    exception: Exception,
    kernel: bool,
}

impl Named for Raised {
    fn entry(&self) -> &'static Entry {
        if self.kernel {
            &catalogue::KERNEL_EXCEPTION
        } else {
            &catalogue::EXCEPTION
        }
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exception.fmt(f)
    }
}

/// Quadwords of the stack in a report.
const STACK_WORDS: u64 = 8;

/// Called by the stubs in `switch.rs`, on the fault stack and with the loader's tables.
pub unsafe extern "sysv64" fn report(saved: &Saved) -> ! {
    switch::back_in_loader();
    let kernel = KERNEL_RUNS.with(|runs| *runs);
    begin_report();
    let [rip, cs, rflags, rsp, ss] = saved.interrupted();
    let raised = Raised {
        exception: Exception {
            vector: saved.vector(),
            error_code: saved.error_code().unwrap_or(0),
        },
        kernel,
    };
    say!("");
    console::print(&Report(&raised));
    say!(
        "RIP ################  CS  ####  SS ####  RFLAGS ########\n\
         RSP ################  CR2 ################  CR3 ################";
        rip, cs, ss, rflags, rsp, saved.cr2, saved.cr3
    );
    console::print_line(
        &[
            "RAX ################  RBX ################  RCX ################\n\
           RDX ################  RSI ################  RDI ################\n\
           RBP ################  R8  ################  R9  ################\n\
           R10 ################  R11 ################  R12 ################\n\
           R13 ################  R14 ################  R15 ################",
        ],
        &saved.general,
    );
    if kernel {
        say_segment(rip);
    }
    let paging = Paging {
        root: saved.cr3,
        levels: 4,
        nx: Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE),
        gib_pages: cpu::features() & ::handoff::CPU_1GIB_PAGES != 0,
        physical_bits: cpu::physical_bits(),
    };
    if raised.exception.vector == exception::PAGE_FAULT {
        console::print(&format_args!(
            "CR2 is {}",
            paging.translate(saved.cr2, &quadword)
        ));
    }
    say_stack(&paging, rsp);
    offer_reboot(raised.entry())
}

/// Where in the kernel an address is.
fn say_segment(address: u64) {
    KERNEL_SEGMENTS.with(|segments| {
        let number = segments
            .iter()
            .position(|&(start, size, _)| address.wrapping_sub(start) < size);
        match number.and_then(|number| Some((number, segments.get(number)?))) {
            Some((number, &(start, _, flags))) => say!(
                "RIP is in segment # of the kernel (",
                page_walk::permissions(flags & 2 != 0, flags & 1 != 0),
                "), 0x# behind its start";
                number as u64, address - start
            ),
            None => say!("RIP is in no segment of the kernel"),
        }
    });
}

/// A few words of the interrupted stack, as far as they are mapped.
fn say_stack(paging: &Paging, rsp: u64) {
    for row in 0..STACK_WORDS / 4 {
        let words: [Option<u64>; 4] = core::array::from_fn(|column| {
            let offset = (row * 4 + column as u64) * 8;
            paging.read(rsp.wrapping_add(offset), &quadword)
        });
        if words[0].is_none() {
            if row == 0 {
                console::print(&format_args!("RSP is {}", paging.translate(rsp, &quadword)));
            }
            return;
        }
        let words = words.map(|word| word.unwrap_or(0));
        console::print_line(
            &[
                if row == 0 { "stack" } else { "     " },
                " ################ ################ ################ ################",
            ],
            &words,
        );
    }
}

/// The quadword at a physical address, within the loader's reach.
fn quadword(address: u64) -> Option<u64> {
    let reach = layout::EARLY_REACH - size_of::<u64>() as u64;
    (address <= reach).then(|| physical::read(address))
}

/// Every report begins here. One that is interrupted by another would never end: the second one is
/// a single line, and a third one stops.
fn begin_report() {
    let before = REPORTS.with(|reports| core::mem::replace(reports, *reports + 1));
    match before {
        0 => console::alarm(),
        1 => {
            let entry = &catalogue::FAULT_IN_REPORT;
            // A breakpoint that the kernel has set may be what interrupted the first one.
            Dr7::write(Dr7Value::from_bits_truncate(0));
            say!("");
            say!("error ", entry.code, ": ", entry.sentence);
            offer_reboot(entry)
        }
        _ => {
            leave_record(&catalogue::FAULT_IN_REPORT);
            loop {
                x86_64::instructions::hlt();
            }
        }
    }
}

/// Tells whoever watches the machine from outside: see [`disk_layout::stage2::error_record`].
fn leave_record(entry: &Entry) {
    let mut record = [b':'; 4];
    for (byte, &of_code) in record.iter_mut().zip(entry.code.as_bytes()) {
        *byte = of_code;
    }
    let record = u32::from_le_bytes(record);
    physical::write(u64::from(LOAD_ADDRESS) + ERROR_OFFSET as u64, record);
}

/// Why a step failed. The error itself stays in a variable, so that it is only a reference that
/// goes all the way up.
pub struct Failure(&'static dyn Named);

impl Named for Failure {
    fn entry(&self) -> &'static Entry {
        self.0.entry()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Is something being done once more after a failure, which is still needed?
static AGAIN: Global<bool> = Global::new(false);

/// Failures have two variables for their errors: one for the first, one for those that follow, of
/// which nobody keeps one.
pub fn again(again: bool) {
    AGAIN.with(|known| *known = again);
}

macro_rules! failure {
    ($($error:ty)*) => {
        $(
            impl From<$error> for Failure {
                #[cold]
                #[inline(never)]
                fn from(error: $error) -> Self {
                    static mut CAUSES: [MaybeUninit<$error>; 2] = [const { MaybeUninit::uninit() }; 2];
                    let causes = &raw mut CAUSES;
                    let cause = AGAIN.with(|again| usize::from(*again));
                    // SAFETY: one thread. A first failure is reported, or dropped before another
                    // one can occur; and of those that occur again, none is kept.
                    Failure(unsafe { (*causes)[cause].write(error) })
                }
            }
        )*
    };
}

boot_path::with_all_errors!(failure);
failure! {
    Missing<'static>
    Damage<'static>
}

/// A step failed: says why.
pub fn fail(failure: &dyn Named) -> ! {
    end(failure)
}

/// The end of the stack is not what it was.
struct StackOverwritten(u32);

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

/// Has the stack stayed within its region? Asked behind each BIOS call and before the handoff.
pub fn check_stack() {
    let found = physical::read(layout::STACK.start);
    if found != layout::CANARY {
        // What follows calls the BIOS as well.
        physical::write(layout::STACK.start, layout::CANARY);
        end(&StackOverwritten(found));
    }
}

/// Prints an error and offers to reboot.
fn end(error: &dyn Named) -> ! {
    begin_report();
    console::print(&Report(error));
    offer_reboot(error.entry())
}

/// A panic, as an error of the catalogue.
struct Panic<'a>(&'a PanicInfo<'a>);

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

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    end(&Panic(info))
}

/// Gives the catalogue's advice, leaves the error's record, waits for a key and resets the machine.
///
/// In the kernel's time the BIOS is not called any more: interrupt controllers and devices may be
/// the kernel's. The keyboard controller is polled instead, as it is without INT 16h.
fn offer_reboot(entry: &Entry) -> ! {
    say!(entry.advice);
    say!("press a key to reboot");
    console::show_cursor();
    leave_record(entry);
    if KERNEL_RUNS.with(|runs| *runs) || !int16::wait_for_key(&mut Machine) {
        wait_for_scan_code();
    }
    reset()
}

/// Waits until the keyboard controller has a byte that is a key's.
fn wait_for_scan_code() {
    let mut status = Port::<u8>::new(0x64);
    let mut data = Port::<u8>::new(0x60);
    loop {
        // SAFETY: reading the keyboard controller's status and output; an empty bus reads FFh.
        unsafe {
            let now = status.read();
            if now == 0xFF || now & 1 == 0 {
                continue; // nothing there: bit 0 is "output buffer full"
            }
            let byte = data.read();
            if now & 0x20 == 0 && byte & 0x80 == 0 {
                return; // not the mouse's (bit 5), and a key that goes down
            }
        }
    }
}

/// Resets: keyboard controller, PCI reset register, triple fault.
fn reset() -> ! {
    // BIOS data area 472h: warm start, no memory test.
    physical::write_u16(0x472, 0x1234);
    // SAFETY: these writes reset the machine or do nothing; and if they do nothing, an IDT without
    // entries turns the breakpoint into a triple fault, which does.
    unsafe {
        Port::<u8>::new(0x64).write(0xFE);
        Port::<u8>::new(0xCF9).write(0x06);
        for _ in 0..layout::PAGE_SIZE {
            Port::<u8>::new(0x80).write(0);
        }
        x86_64::instructions::tables::lidt(&x86_64::structures::DescriptorTablePointer {
            limit: 0,
            base: x86_64::VirtAddr::zero(),
        });
        core::arch::asm!("int3", options(noreturn));
    }
}
