//! The parts of the disk, as the tables name them.

/// A part of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`name` says it")]
pub enum Region {
    MbrEntry,
    MbrPrinting,
    MbrBpbArea,
    MbrChecked,
    MbrRest,
    MbrTable,
    MbrChained,
    MbrSignature,
    Stage2,
    Stage2Filling,
    Stage2Way,
    Stage2Parts,
    BootSector,
    ReservedSectors,
    FirstFat,
    SecondFat,
    Directories,
    Configuration,
    KernelHeaders,
    KernelProtocol,
    KernelBytes,
    KernelPayload,
    KernelSymbols,
    KernelRest,
    KernelPacked,
    Modules,
    ModulesPacked,
    ChainedSector,
    Unused,
}

/// What can find a wrong bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The loader, if it does any harm.
    Checked,
    /// Nothing: it runs before anything is checked.
    RunsFirst,
    /// Nothing: others write it, and the loader hands it over as it is.
    HandedOver,
}

impl Region {
    /// All of them, in the order of the disk.
    pub const ALL: [Self; 29] = [
        Self::MbrEntry,
        Self::MbrPrinting,
        Self::MbrBpbArea,
        Self::MbrChecked,
        Self::MbrRest,
        Self::MbrTable,
        Self::MbrChained,
        Self::MbrSignature,
        Self::Stage2,
        Self::Stage2Filling,
        Self::Stage2Way,
        Self::Stage2Parts,
        Self::BootSector,
        Self::ReservedSectors,
        Self::FirstFat,
        Self::SecondFat,
        Self::Directories,
        Self::Configuration,
        Self::KernelHeaders,
        Self::KernelProtocol,
        Self::KernelBytes,
        Self::KernelPayload,
        Self::KernelSymbols,
        Self::KernelRest,
        Self::KernelPacked,
        Self::Modules,
        Self::ModulesPacked,
        Self::ChainedSector,
        Self::Unused,
    ];

    /// What it is called in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::MbrEntry => "MBR: what runs before it is checked",
            Self::MbrPrinting => "MBR: printing of errors",
            Self::MbrBpbArea => "MBR: BPB area",
            Self::MbrChecked => "MBR: all other code, parameters",
            Self::MbrRest => "MBR: disk signature, free partition entries",
            Self::MbrTable => "MBR: entry of the boot partition",
            Self::MbrChained => "MBR: entry of the partition that is started",
            Self::MbrSignature => "MBR: 55 AA",
            Self::Stage2 => "stage2, and its manifest",
            Self::Stage2Filling => "stage2: what it is filled up with",
            Self::Stage2Way => "stage2: its part for this protocol",
            Self::Stage2Parts => "stage2: all its other parts",
            Self::BootSector => "volume: BPB in the boot sector",
            Self::ReservedSectors => "volume: all other reserved sectors",
            Self::FirstFat => "first FAT, as far as in use",
            Self::SecondFat => "second FAT, as far as in use",
            Self::Directories => "directories",
            Self::Configuration => "kernel.conf",
            Self::KernelHeaders => "kernel: ELF headers and notes",
            Self::KernelProtocol => "kernel: header of its protocol",
            Self::KernelBytes => "kernel: bytes that are loaded",
            Self::KernelPayload => "kernel: payload that it checks itself",
            Self::KernelSymbols => "kernel: section headers and symbols",
            Self::KernelRest => "kernel: bytes that are not loaded",
            Self::KernelPacked => "kernel, compressed",
            Self::Modules => "modules",
            Self::ModulesPacked => "modules, compressed",
            Self::ChainedSector => "the boot sector that is started",
            Self::Unused => "all the rest",
        }
    }

    /// What can find a wrong bit in it.
    pub fn coverage(self) -> Coverage {
        match self {
            Self::MbrEntry => Coverage::RunsFirst,
            Self::MbrChained | Self::ChainedSector => Coverage::HandedOver,
            _ => Coverage::Checked,
        }
    }
}
