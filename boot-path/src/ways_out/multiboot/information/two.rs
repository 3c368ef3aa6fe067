//! The information of version 2: tags.

use zerocopy::IntoBytes as _;

use crate::ways_out::multiboot::information::writer::Writer;
use crate::ways_out::multiboot::information::{
    ALIGNMENT, Framebuffer, Information, MEMORY_ENTRY_BYTES, RGB, RSDP_1_BYTES, Screen, Vbe,
    basic_memory, ends, tag, take_region,
};

impl Writer<'_> {
    /// Begins a tag of version 2; returns its position, for [`Writer::end`].
    #[inline(never)]
    fn begin(&mut self, kind: u32) -> usize {
        self.align(ALIGNMENT);
        let start = self.length;
        self.word(kind);
        self.word(0);
        start
    }

    /// Ends a tag: writes its size.
    #[inline(never)]
    fn end(&mut self, start: usize) {
        let size = self.length.saturating_sub(start) as u32;
        self.put_at(start + 4, &size.to_le_bytes());
    }

    /// Writes a tag of version 2 with these bytes.
    #[inline(never)]
    fn tag(&mut self, kind: u32, bytes: &[u8]) {
        let start = self.begin(kind);
        self.put(bytes);
        self.end(start);
    }

    /// Writes a tag of version 2 with these words.
    #[inline(never)]
    fn word_tag(&mut self, kind: u32, words: &[u32]) {
        let start = self.begin(kind);
        self.words(words);
        self.end(start);
    }
}

/// Writes the information of version 2 to `bytes`, which lie at a multiple of 8. Returns its
/// length. `None`: the information does not fit.
pub fn multiboot2(info: &Information<'_>, bytes: &mut [u8]) -> Option<usize> {
    let mut out = Writer::new(bytes, 0);
    out.words(&[0, 0]); // length, and a zero

    put_texts(&mut out, info);
    put_memory(&mut out, info);
    if let Some(screen) = &info.screen {
        put_screen(&mut out, screen);
    }
    if let Some(sections) = info.sections {
        let start = out.begin(tag::SECTIONS);
        // 32 bits each, as in GRUB and its header file; the text of the specification has 16.
        out.words(&sections.numbers());
        out.put(sections.headers);
        out.end(start);
    }
    put_firmware(&mut out, info);
    if let Some(base) = info.load_base {
        out.word_tag(tag::LOAD_BASE, &[base]);
    }
    out.tag(tag::END, &[]);

    let length = out.length as u32;
    out.put_at(0, &length.to_le_bytes());
    out.finish()
}

/// The command line, the loader's name, and the modules.
fn put_texts(out: &mut Writer<'_>, info: &Information<'_>) {
    let start = out.begin(tag::COMMAND_LINE);
    out.command_line(info.entry);
    out.end(start);
    let start = out.begin(tag::LOADER_NAME);
    out.text(info.loader);
    out.end(start);
    for (module, loaded) in info.entry.modules().zip(info.modules) {
        let start = out.begin(tag::MODULE);
        out.words(&ends(loaded));
        out.path_and_text(module.path, module.string);
        out.end(start);
    }
}

/// The boot device, the memory map, and the sizes of memory. Kernels read tags in the order in
/// which they come, and some take the map for the first that says how much memory there is: other
/// loaders write it in front of the two sizes.
fn put_memory(out: &mut Writer<'_>, info: &Information<'_>) {
    const NONE: u32 = u32::MAX;

    if let Some(drive) = info.drive {
        let partition = u32::from(info.partition).checked_sub(1).unwrap_or(NONE);
        out.word_tag(tag::BOOT_DEVICE, &[drive.into(), partition, NONE]);
    }
    let start = out.begin(tag::MEMORY_MAP);
    out.words(&[MEMORY_ENTRY_BYTES, 0]);
    let mut memory = info.memory;
    while let Some((start, end, kind)) = take_region(&mut memory) {
        out.quadword(start);
        out.quadword(end - start);
        out.words(&[kind, 0]);
    }
    out.end(start);
    out.word_tag(tag::BASIC_MEMORY, &basic_memory(info.memory));
}

fn put_screen(out: &mut Writer<'_>, screen: &Screen<'_>) {
    let (framebuffer, colors) = Framebuffer::of(screen);
    let start = out.begin(tag::FRAMEBUFFER);
    out.put(framebuffer.as_bytes());
    out.room(2); // reserved: 16 bits, as the crates and GRUB have it
    if framebuffer.kind == RGB {
        out.put(&colors);
    }
    out.end(start);
    if let Screen::Graphics {
        mode,
        controller,
        info,
        interface,
    } = screen
    {
        let start = out.begin(tag::VBE);
        out.put(Vbe::of(mode, *interface).as_bytes());
        out.put(controller);
        out.put(info);
        out.end(start);
    }
}

/// The tables of the APM BIOS, of SMBIOS and of ACPI.
fn put_firmware(out: &mut Writer<'_>, info: &Information<'_>) {
    if let Some(apm) = info.apm {
        out.tag(tag::APM, apm.as_bytes());
    }
    // The version is in a different place in the 64-bit and the 32-bit entry point structure.
    let is_64_bit = info.smbios.starts_with(b"_SM3_");
    let version = if is_64_bit { 7..9 } else { 6..8 };
    if let Some(version) = info.smbios.get(version) {
        let start = out.begin(tag::SMBIOS);
        out.put(version);
        out.room(6);
        out.put(info.smbios);
        out.end(start);
    }
    if let Some(old) = info.rsdp.get(..RSDP_1_BYTES) {
        out.tag(tag::OLD_RSDP, old);
    }
    if info.rsdp.len() > RSDP_1_BYTES {
        out.tag(tag::NEW_RSDP, info.rsdp);
    }
}
