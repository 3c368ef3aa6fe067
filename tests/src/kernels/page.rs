//! `docs/kernels.md`.

use std::fmt::Write as _;

use super::{ALL, Answer, rows};
use crate::book::wrap::wrap;
use crate::compare::Loader;
use crate::linkers::{self, Layout, Linker};

/// `docs/kernels.md`.
pub fn page() -> String {
    let mut text = String::from(
        "<!-- Made by `./run.sh kernels`. -->\n# Kernels\n\n\
         Each of these kernels was booted in QEMU, by each of the protocols and in each of the ways that the table shows. \
         A Linux kernel had to reach its first process, which prints the command line and the memory that it sees and switches the machine off; \
         memtest86+, games and other loaders had to reach their screen, Debian's installer its first question, and Xen its own last line, when Linux had switched off; the others had to print their `OKAY`, which most of them do when they have checked \
         what the protocol promises. `./run.sh kernels` repeats this; Debian's kernels come from its packages.\n\n\
         The protocols are those of an [entry](09-entry.md). *Named* means that the entry names the protocol; otherwise the loader recognises the kernel by its file. \
         *MBR* means from a disk. In the other columns another loader starts [`bootpath.elf`](multiboot-in.md): \
         *QEMU* by `-kernel` and `-initrd`, *GRUB* 2.06 by `multiboot` and `module` (1) or `multiboot2` and `module2` (2), \
         *SYSLINUX* 6 by `mboot.c32`. There, no entry can name a protocol, and there is no disk.\n\n\
         | kernel | protocol | MBR | QEMU | GRUB (1) | GRUB (2) | SYSLINUX |\n\
         | --- | --- | :-: | :-: | :-: | :-: | :-: |\n",
    );
    for row in rows() {
        let named = if row.named { ", named" } else { "" };
        let _ = write!(text, "| {} | `{}`{named} |", row.name, row.protocol_name());
        for way in ALL {
            text += if row.ways.contains(way) {
                " ✓ |"
            } else {
                " |"
            };
        }
        text.push('\n');
    }
    text += &others();
    text += &linked();
    wrap(&text)
}

/// The other loaders' part.
fn others() -> String {
    let mut text = String::from(
        "\n## Who else boots them\n\n\
         The same files, started by other loaders without this one: *GRUB* 2.06 from the same disk, and *QEMU* by `-kernel`. \
         The kernels had to show the same as above. Where they do not, the table says why. \
         [`./run.sh compare`](compare.md) asks this of any file.\n\n\
         | kernel | protocol | Bootpath | GRUB | QEMU |\n\
         | --- | --- | :-: | --- | --- |\n",
    );
    for row in rows().iter().filter(|row| !row.peers.is_empty()) {
        let _ = write!(text, "| {} | `{}` | ✓ |", row.name, row.protocol_name());
        for loader in [Loader::Grub, Loader::Qemu] {
            let mut answers = row.peers.iter();
            let answer = answers.find(|(peer, _)| *peer == loader);
            let _ = match answer {
                Some((_, Answer::Boots)) => write!(text, " ✓ |"),
                Some((_, Answer::Not(why))) => write!(text, " no: {why} |"),
                None => write!(text, " |"),
            };
        }
        text.push('\n');
    }
    text
}

/// The linkers' part.
fn linked() -> String {
    let mut text = String::from(
        "\n## By any linker\n\n\
         A [small kernel](../tests/programs/linked/kernel.S) for each of the protocols %PROTOCOLS% was linked by each linker. \
         It looks at its sections' bytes and at a pointer that may have to be relocated. *A script* is what people's kernels have. \
         *An address* is a flag: `-Ttext=0x100000` for Multiboot and `-Ttext-segment=0xffffffff80000000` for the others, or `--image-base`. \
         With *nothing*, a kernel for Multiboot lies where the linker puts programs, and another one is position-independent (`-pie`).\n\n\
         | linker | a script | an address | nothing |\n\
         | --- | :-: | :-: | :-: |\n",
    );
    let protocols = linkers::PROTOCOLS.map(|name| format!("`{name}`"));
    text = text.replace("%PROTOCOLS%", &protocols.join(", "));
    for linker in Linker::ALL {
        let _ = write!(text, "| {} |", linker.name());
        for layout in [Layout::Script, Layout::Address, Layout::Default] {
            text += match linker.layouts().contains(&layout) {
                true => " ✓ |",
                false => " it has none |",
            };
        }
        text.push('\n');
    }
    text
}
