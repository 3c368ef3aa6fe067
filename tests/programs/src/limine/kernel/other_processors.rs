//! The other processors: where they wait, and how they arrive.

use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use limine::mp::{Cpu, RequestFlags, ResponseFlags};

use crate::entry::{RDI, State, enter};
use crate::interrupt_controllers::wrong_apic;
use crate::memory::{at, reclaimable};
use crate::outcome::check;
use crate::processor::{good_stack, read_msr, stack_end, wrong_registers};
use crate::report::say;
use crate::requests::{MP, STACK_SIZE};

static ARRIVED: AtomicU64 = AtomicU64::new(0);

/// Bits of checks that failed on another processor.
static COMPLAINTS: AtomicU64 = AtomicU64::new(0);

/// Their stacks: all different.
static STACKS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

pub fn check_processors() {
    let Some(processors) = MP.get_response() else {
        return check("processors", false);
    };
    let x2apic = processors.flags().contains(ResponseFlags::X2APIC);
    let asked = MP.flags().contains(RequestFlags::X2APIC);
    say!("{} processors, x2APIC {x2apic}", processors.cpus().len());
    check("no x2APIC but when asked", asked || !x2apic);
    check(
        "mode of the APIC",
        (read_msr(0x1B) & 1 << 10 != 0) == x2apic,
    );
    let bootstrap = processors.bsp_lapic_id();
    let own = core::arch::x86_64::__cpuid(1).ebx >> 24;
    check("this processor", bootstrap == own);
    let mut good = true;
    let mut others = 0;
    for (index, cpu) in (0_u64..).zip(processors.cpus()) {
        say!("processor {}, APIC ID {}", cpu.id, cpu.lapic_id);
        good &= reclaimable(at(*cpu)) && cpu.extra.load(Ordering::Relaxed) == 0;
        // SAFETY: the field before the last one is the address.
        good &= unsafe { *((at(*cpu) + 16) as *const u64) } == 0;
        if cpu.lapic_id != bootstrap {
            cpu.extra.store(index, Ordering::Relaxed);
            cpu.goto_address.write(processor_start);
            others += 1;
        }
    }
    check("structures of the processors", good);
    for _ in 0..u64::MAX {
        if ARRIVED.load(Ordering::Acquire) == others {
            break;
        }
        core::hint::spin_loop();
    }
    check("all of them come", true);
    let complaints = COMPLAINTS.load(Ordering::Relaxed);
    if complaints != 0 {
        say!("  {complaints:#b}");
    }
    check("their state", complaints == 0);
    let stacks = || {
        STACKS
            .iter()
            .map(|stack| stack.load(Ordering::Relaxed))
            .filter(|&end| end != 0)
    };
    let apart = stacks().enumerate().all(|(index, end)| {
        good_stack(end)
            && stacks()
                .skip(index + 1)
                .all(|other| end.abs_diff(other) >= STACK_SIZE)
    });
    check("their stacks", apart && stacks().count() as u64 == others);
}

/// Where the other processors are sent.
#[unsafe(naked)]
unsafe extern "C" fn processor_start(_: &Cpu) -> ! {
    enter!(processor)
}

extern "C" fn processor(state: &State) -> ! {
    let rdi = state.general[RDI];
    // SAFETY: the protocol's promise; a wrong address faults, and the test fails.
    let cpu = unsafe { &*(rdi as *const Cpu) };
    let mut complaints = wrong_registers(state, rdi);
    complaints |= u64::from(core::arch::x86_64::__cpuid(1).ebx >> 24 != cpu.lapic_id) << 16;
    complaints |= u64::from((read_msr(0x1B) ^ base_of_first()) & 1 << 10 != 0) << 17;
    complaints |= wrong_apic(0xFFFF << 48 | 300 << 39) << 20;
    COMPLAINTS.fetch_or(complaints, Ordering::Relaxed);
    let index = cpu.extra.load(Ordering::Relaxed) as usize;
    STACKS[index % STACKS.len()].store(stack_end(state), Ordering::Relaxed);
    ARRIVED.fetch_add(1, Ordering::Release);
    loop {
        // SAFETY: only waits.
        unsafe { asm!("hlt") }
    }
}

/// IA32_APIC_BASE as the response reports it.
fn base_of_first() -> u64 {
    let x2apic = MP
        .get_response()
        .is_some_and(|response| response.flags().contains(ResponseFlags::X2APIC));
    u64::from(x2apic) << 10
}
