//! Step 5: what happens when something goes wrong: an exception, an error of a step, a panic.
//!
//! Each ends in the same way: the report on screen and serial line, the offer to reboot.
#![allow(unsafe_code)]

use core::fmt;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;

use stage2::block_device::DiskError;
use stage2::catalogue::{self, Entry, Named, Report};
use stage2::entry_file::EntryFileError;
use stage2::fat::FatError;
use stage2::kernel_image::KernelError;
use stage2::layout;
use stage2::memory_map::OutOfMemory;
use stage2::page_tables::PagingError;
use stage2::partition::PartitionError;
use stage2::text::{facts, split_before};
use x86_64::instructions::port::Port;

use crate::entry::Missing;
use crate::global::Global;
use crate::memory::NoMemoryMap;
use crate::switch::Saved;
use crate::{bios, console, physical, say};

/// Has the kernel been started?
static KERNEL_RUNS: Global<bool> = Global::new(false);

/// Has an exception been reported already?
static REPORTING: Global<bool> = Global::new(false);

/// From here on an exception is the kernel's.
pub fn kernel_starts() {
    KERNEL_RUNS.with(|runs| *runs = true);
}

/// Names of the exceptions, by vector (SDM vol. 3, table 6-1): a line each.
const NAMES: &str = "\
#DE divide error\n\
#DB debug exception\n\
NMI\n\
#BP breakpoint\n\
#OF overflow\n\
#BR bound range exceeded\n\
#UD invalid opcode\n\
#NM device not available\n\
#DF double fault\n\
coprocessor segment overrun\n\
#TS invalid TSS\n\
#NP segment not present\n\
#SS stack-segment fault\n\
#GP general protection\n\
#PF page fault\n\
vector 15\n\
#MF x87 floating-point error\n\
#AC alignment check\n\
#MC machine check\n\
#XM SIMD floating-point error\n\
#VE virtualization exception\n\
#CP control protection";

/// The name of an exception.
fn name(vector: u64) -> &'static str {
    let mut names = NAMES;
    for _ in 0..vector {
        let (_, behind) = split_before(names, |byte| byte == b'\n');
        names = behind.get(1..).unwrap_or("");
    }
    match split_before(names, |byte| byte == b'\n') {
        ("", _) => "reserved vector",
        (name, _) => name,
    }
}

/// An exception, as an error of the catalogue.
struct Exception<'a> {
    saved: &'a Saved,
    kernel: bool,
}

impl Named for Exception<'_> {
    fn entry(&self) -> &'static Entry {
        if self.kernel {
            &catalogue::KERNEL_EXCEPTION
        } else {
            &catalogue::EXCEPTION
        }
    }
}

impl fmt::Display for Exception<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vector = self.saved.vector();
        f.write_str(name(vector))?;
        facts(f, " (vector #)", &[vector])?;
        let Some(code) = self.saved.error_code() else {
            return Ok(());
        };
        facts(f, ", error code #h", &[code])?;
        if vector == 14 {
            // SDM vol. 3, 4.7.
            let choose = |bit: u64, set, clear| if code >> bit & 1 != 0 { set } else { clear };
            let access = choose(4, "execution", choose(1, "write", "read"));
            let page = choose(0, "a protected page", "an unmapped page");
            for text in [
                " (",
                access,
                " of ",
                page,
                choose(3, ", reserved bit)", ")"),
            ] {
                f.write_str(text)?;
            }
        }
        Ok(())
    }
}

/// Called by the stubs in `switch.rs`, on the fault stack and with the loader's tables.
pub unsafe extern "sysv64" fn report(saved: &Saved) -> ! {
    // The report itself ran into an exception: there is nothing left to say it with.
    if REPORTING.with(|reporting| core::mem::replace(reporting, true)) {
        reset();
    }
    let kernel = KERNEL_RUNS.with(|runs| *runs);
    let [rip, cs, rflags, rsp, ss] = saved.interrupted();
    console::alarm();
    let exception = Exception { saved, kernel };
    say!("");
    console::print(&Report(&exception));
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
    offer_reboot(&exception)
}

/// Why a step failed. The error itself stays in a variable, so that it is only a reference that
/// goes all the way up.
pub struct Failure(&'static dyn Named);

macro_rules! failure {
    ($($error:ty)*) => {
        $(
            impl From<$error> for Failure {
                #[cold]
                #[inline(never)]
                fn from(error: $error) -> Self {
                    static mut CAUSE: MaybeUninit<$error> = MaybeUninit::uninit();
                    let cause = &raw mut CAUSE;
                    // SAFETY: one thread, and a failure is the last one: it is reported, and that
                    // does not return.
                    Failure(unsafe { (*cause).write(error) })
                }
            }
        )*
    };
}

failure! {
    NoMemoryMap
    OutOfMemory
    DiskError
    PartitionError
    FatError
    EntryFileError
    Missing
    KernelError
    PagingError
}

/// A step failed: says why.
pub fn fail(failure: &Failure) -> ! {
    end(failure.0)
}

/// Prints an error and offers to reboot.
fn end(error: &dyn Named) -> ! {
    console::alarm();
    console::print(&Report(error));
    offer_reboot(error)
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

/// Gives the advice that the catalogue has for the error, waits for a key and resets the machine.
///
/// In the kernel's time the BIOS is not called any more: interrupt controllers and devices may be
/// the kernel's. The keyboard controller is polled instead.
fn offer_reboot(error: &dyn Named) -> ! {
    say!(error.entry().advice);
    say!("press a key to reboot");
    console::show_cursor();
    if KERNEL_RUNS.with(|runs| *runs) {
        wait_for_scan_code();
    } else {
        bios::call(0x16, &mut bios::Registers::new(0));
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
