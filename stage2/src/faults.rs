//! Step 5: what happens when something goes wrong: an exception, an error of a step, a panic.
//!
//! Each ends in the same way: the report on screen and serial line, the offer to reboot.
#![allow(unsafe_code)]

use core::fmt;
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
use x86_64::instructions::port::Port;

use crate::entry::Missing;
use crate::global::Global;
use crate::memory::NoMemoryMap;
use crate::switch::Saved;
use crate::{bios, console, physical, say};

/// Has the kernel been started?
static KERNEL_RUNS: Global<bool> = Global::new(false);

/// From here on an exception is the kernel's.
pub fn kernel_starts() {
    KERNEL_RUNS.with(|runs| *runs = true);
}

/// Names of the exceptions, by vector (SDM vol. 3, table 6-1).
const NAMES: [&str; 22] = [
    "#DE divide error",
    "#DB debug exception",
    "NMI",
    "#BP breakpoint",
    "#OF overflow",
    "#BR bound range exceeded",
    "#UD invalid opcode",
    "#NM device not available",
    "#DF double fault",
    "coprocessor segment overrun",
    "#TS invalid TSS",
    "#NP segment not present",
    "#SS stack-segment fault",
    "#GP general protection",
    "#PF page fault",
    "vector 15",
    "#MF x87 floating-point error",
    "#AC alignment check",
    "#MC machine check",
    "#XM SIMD floating-point error",
    "#VE virtualization exception",
    "#CP control protection",
];

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
        f.write_str(NAMES.get(vector as usize).unwrap_or(&"reserved vector"))?;
        write!(f, " (vector {vector})")?;
        let Some(code) = self.saved.error_code() else {
            return Ok(());
        };
        write!(f, ", error code {code:X}h")?;
        if vector == 14 {
            // SDM vol. 3, 4.7.
            let choose = |bit: u64, set, clear| if code >> bit & 1 != 0 { set } else { clear };
            write!(
                f,
                " ({} of {}{})",
                if code >> 4 & 1 != 0 {
                    "execution"
                } else {
                    choose(1, "write", "read")
                },
                choose(0, "a protected page", "an unmapped page"),
                choose(3, ", reserved bit", ""),
            )?;
        }
        Ok(())
    }
}

/// Called by the stubs in `switch.rs`, on the fault stack and with the loader's tables.
pub unsafe extern "sysv64" fn report(saved: &Saved) -> ! {
    let kernel = KERNEL_RUNS.with(|runs| *runs);
    let [rip, cs, rflags, rsp, ss] = saved.interrupted();
    console::alarm();
    say!("\n{}", Report(&Exception { saved, kernel }));
    say!("RIP {rip:016X}  CS  {cs:04X}  SS {ss:04X}  RFLAGS {rflags:08X}");
    say!(
        "RSP {rsp:016X}  CR2 {:016X}  CR3 {:016X}",
        saved.cr2,
        saved.cr3
    );
    say!(
        "RAX {:016X}  RBX {:016X}  RCX {:016X}",
        saved.rax,
        saved.rbx,
        saved.rcx
    );
    say!(
        "RDX {:016X}  RSI {:016X}  RDI {:016X}",
        saved.rdx,
        saved.rsi,
        saved.rdi
    );
    say!(
        "RBP {:016X}  R8  {:016X}  R9  {:016X}",
        saved.rbp,
        saved.r8,
        saved.r9
    );
    say!(
        "R10 {:016X}  R11 {:016X}  R12 {:016X}",
        saved.r10,
        saved.r11,
        saved.r12
    );
    say!(
        "R13 {:016X}  R14 {:016X}  R15 {:016X}",
        saved.r13,
        saved.r14,
        saved.r15
    );
    offer_reboot()
}

/// Why a step failed. Each kind of error names itself; this only carries it to the report.
pub enum Failure {
    Memory(NoMemoryMap),
    OutOfMemory(OutOfMemory),
    Disk(DiskError),
    Partition(PartitionError),
    Fat(FatError),
    EntryFile(EntryFileError),
    Missing(Missing),
    Kernel(KernelError),
    Paging(PagingError),
}

macro_rules! failure {
    ($($variant:ident($error:ty))*) => {
        $(
            impl From<$error> for Failure {
                fn from(error: $error) -> Self {
                    Failure::$variant(error)
                }
            }
        )*

        impl Failure {
            fn named(&self) -> &dyn Named {
                match self {
                    $(Failure::$variant(error) => error,)*
                }
            }
        }
    };
}

failure! {
    Memory(NoMemoryMap)
    OutOfMemory(OutOfMemory)
    Disk(DiskError)
    Partition(PartitionError)
    Fat(FatError)
    EntryFile(EntryFileError)
    Missing(Missing)
    Kernel(KernelError)
    Paging(PagingError)
}

/// A step failed: says why.
pub fn fail(failure: &Failure) -> ! {
    end(failure.named())
}

/// Prints an error and offers to reboot.
fn end(error: &dyn Named) -> ! {
    console::alarm();
    say!("{}", Report(error));
    offer_reboot()
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
            write!(f, "{}:{}: ", location.file(), location.line())?;
        }
        write!(f, "{}", self.0.message())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    end(&Panic(info))
}

/// Waits for a key and resets the machine.
///
/// In the kernel's time the BIOS is not called any more: interrupt controllers and devices may be
/// the kernel's. The keyboard controller is polled instead.
fn offer_reboot() -> ! {
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
            if now != 0xFF && now & 0x21 == 1 && data.read() & 0x80 == 0 {
                return;
            }
        }
        core::hint::spin_loop();
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
