//! The ways to boot, and the functions that each leads through.

/// A way to boot that leads through some of the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// The demo kernel ends with success.
    Okay,
    /// The same, by the direct road to long mode, and with A20 off at first.
    Direct,
    /// A kernel executes UD2: 12A.
    KernelFault,
    /// A BIOS spoils the loader's stack: 5A.
    LoaderFault,
    /// A BIOS executes UD2: 4A.
    RealModeFault,
    /// The gate executes UD2 in protected mode: 4A.
    FaultBetweenModes,
    /// The last byte of stage2 is wrong: 1C, by the CPU's instruction and by the table.
    Damaged,
    /// A CPU without long mode: 3B.
    NoLongMode,
    /// A boot sector is started.
    Chain,
    /// Linux by each of its entries.
    Linux,
    /// A Limine kernel with two processors, with five levels of page tables and with four.
    Limine,
    /// The demo kernel once more, started by QEMU through Multiboot.
    ByMultiboot,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Okay,
        Self::Direct,
        Self::KernelFault,
        Self::LoaderFault,
        Self::RealModeFault,
        Self::FaultBetweenModes,
        Self::Damaged,
        Self::NoLongMode,
        Self::Chain,
        Self::Linux,
        Self::Limine,
        Self::ByMultiboot,
    ];

    /// The scenarios that lead through a function, which is known by its path.
    pub fn through(function: &str) -> Vec<Self> {
        use Scenario::*;

        const MODULES: [(&str, &[Scenario]); 12] = [
            ("switch::", &[Okay, KernelFault, LoaderFault]),
            ("bios::", &[Okay, FaultBetweenModes]),
            ("exceptions::", &[RealModeFault, FaultBetweenModes]),
            ("long_mode::", &[Okay, Direct, FaultBetweenModes]),
            ("leave::", &[Chain, Linux]),
            ("report::", &[NoLongMode]),
            ("limine::", &[Limine]),
            ("take_over::", &[Okay, NoLongMode, ByMultiboot]),
            ("self_check::", &[Okay, Damaged]),
            ("a20::", &[Okay, Direct]),
            ("cpu::", &[Okay, NoLongMode]),
            ("stage1_multiboot::", &[ByMultiboot]),
        ];
        let module = MODULES.iter().find(|(module, _)| function.contains(module));
        module.map_or(vec![Okay], |(_, scenarios)| scenarios.to_vec())
    }
}
