//! What a kernel can ask for.

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $first:literal, $second:literal;)*) => {
        /// What a kernel can ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Feature {
            $($(#[$doc])* $name),*
        }
        /// All of them, by the two words that name them.
        pub const FEATURES: &[(Feature, [u64; 2])] =
            &[$((Feature::$name, [$first, $second])),*];
    };
}

features! {
    /// Name and version of the loader.
    BootloaderInfo = 0xF550_38D8_E2A1_202F, 0x2794_26FC_F5F5_9740;
    /// The command line.
    CommandLine = 0x4B16_1536_E598_651E, 0xB390_AD4A_2F1F_303A;
    /// BIOS, EFI or SBI.
    FirmwareType = 0x8C2F_75D9_0BEF_28A8, 0x7045_A468_8EAC_00C3;
    /// A stack of this size.
    StackSize = 0x224E_F046_0A8E_8926, 0xE1CB_0FC2_5F46_EA3D;
    /// Where the higher half direct map is.
    Hhdm = 0x48DC_F1CB_8AD2_B852, 0x6398_4E95_9A98_244B;
    /// A framebuffer.
    Framebuffer = 0x9D58_27DC_D881_DD75, 0xA314_8604_F6FA_B11B;
    /// Levels of page tables.
    PagingMode = 0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A;
    /// All processors, started.
    Processors = 0x95A6_7B81_9A1B_857E, 0xA0B6_1B72_3B6A_73E0;
    /// For RISC-V; never answered.
    HartId = 0x1369_359F_0255_25F9, 0x2FF2_A561_7839_1BB6;
    /// The memory map.
    MemoryMap = 0x67CF_3D9D_378A_806F, 0xE304_ACDF_C50C_3C62;
    /// Another entry point than that of the ELF header.
    EntryPoint = 0x13D8_6C03_5A1C_D3E1, 0x2B0C_AA89_D8F3_026A;
    /// The kernel's file, whole.
    ExecutableFile = 0xAD97_E90E_83F1_ED67, 0x31EB_5D1C_5FF2_3B69;
    /// Modules.
    Modules = 0x3E7E_2797_02BE_32AF, 0xCA1C_4F3B_D128_0CEE;
    /// ACPI's root.
    Rsdp = 0xC5E7_7B6B_397E_7B43, 0x2763_7845_ACCD_CF3C;
    /// SMBIOS' entry points.
    Smbios = 0x9E90_46F1_1E09_5391, 0xAA4A_520F_EFBD_E5EE;
    /// For EFI; never answered.
    EfiSystemTable = 0x5CEB_A516_3EAA_F6D6, 0x0A69_8161_0CF6_5FCC;
    /// For EFI; never answered.
    TpmEventLog = 0x98E0_94FC_7E76_E979, 0xEE8D_8775_C54E_1D1F;
    /// For EFI; never answered.
    EfiMemoryMap = 0x7DF6_2A43_1D68_72D5, 0xA4FC_DFB3_E573_06C8;
    /// The real-time clock.
    Date = 0x5027_46E1_84C0_88AA, 0xFBC5_EC83_E632_7893;
    /// Where the kernel lies.
    ExecutableAddress = 0x71BA_7686_3CC5_5F63, 0xB264_4A48_C516_A487;
    /// A device tree; never answered.
    DeviceTree = 0xB40D_DB48_FB54_BAC7, 0x5450_8149_3F81_FFB7;
    /// When the loader began and ended.
    Performance = 0x6B50_AD9B_F36D_13AD, 0xDC4C_7E88_FC75_9E17;
    /// Keep enabled IOMMUs enabled.
    KeepIommu = 0x8EBA_ABE5_1F49_0179, 0x2AA8_6A59_FFB4_AB0F;
    /// The frequency of the time-stamp counter.
    TscFrequency = 0x10F2_EE1D_87D1_95E4, 0xF747_A2B7_8F6D_DB31;
    /// A terminal on a framebuffer; never answered.
    Flanterm = 0x3259_399F_E7C5_F126, 0xE01C_1C8C_5DB9_D1A9;
    /// Random words.
    Entropy = 0x65EA_8025_5D56_82C5, 0x9117_2407_23F4_93EB;
}

/// Number of features.
pub const COUNT: usize = FEATURES.len();
