//! bzImages of nothing but a setup header, as boot.rst lays it out.

/// Offsets in the file.
pub const SETUP_SECTS: usize = 0x1F1;
pub const SYSSIZE: usize = 0x1F4;
pub const JUMP: usize = 0x200;
pub const VERSION: usize = 0x206;
pub const LOADFLAGS: usize = 0x211;
pub const CODE32_START: usize = 0x214;
pub const INITRD_ADDR_MAX: usize = 0x22C;
pub const KERNEL_ALIGNMENT: usize = 0x230;
pub const RELOCATABLE_KERNEL: usize = 0x234;
pub const MIN_ALIGNMENT: usize = 0x235;
pub const XLOADFLAGS: usize = 0x236;
pub const CMDLINE_SIZE: usize = 0x238;
pub const PAYLOAD_OFFSET: usize = 0x248;
pub const PAYLOAD_LENGTH: usize = 0x24C;
pub const PREF_ADDRESS: usize = 0x258;
pub const INIT_SIZE: usize = 0x260;

/// A relocatable 64-bit kernel of protocol 2.15 with `bytes` of protected-mode code.
pub fn bzimage(bytes: usize) -> Vec<u8> {
    let mut file = vec![0; 5 * 512 + bytes];
    set(&mut file, SETUP_SECTS, &[4]);
    set(
        &mut file,
        SYSSIZE,
        &(bytes.div_ceil(16) as u32).to_le_bytes(),
    );
    set(&mut file, 0x1FA, &0xFFFD_u16.to_le_bytes());
    set(&mut file, 0x1FE, &[0x55, 0xAA]);
    set(&mut file, JUMP, &[0xEB, 0x6A]);
    set(&mut file, 0x202, b"HdrS");
    set(&mut file, VERSION, &0x020F_u16.to_le_bytes());
    set(&mut file, LOADFLAGS, &[1]);
    set(&mut file, CODE32_START, &0x10_0000_u32.to_le_bytes());
    set(&mut file, INITRD_ADDR_MAX, &0x7FFF_FFFF_u32.to_le_bytes());
    set(&mut file, KERNEL_ALIGNMENT, &0x20_0000_u32.to_le_bytes());
    set(&mut file, RELOCATABLE_KERNEL, &[1, 21]);
    set(&mut file, XLOADFLAGS, &1_u16.to_le_bytes());
    set(&mut file, CMDLINE_SIZE, &2047_u32.to_le_bytes());
    set(&mut file, PREF_ADDRESS, &0x100_0000_u64.to_le_bytes());
    set(&mut file, INIT_SIZE, &0x40_0000_u32.to_le_bytes());
    file
}

/// Overwrites bytes.
pub fn set(file: &mut [u8], offset: usize, bytes: &[u8]) {
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}
